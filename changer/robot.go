package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// step is one move of the robot, decided on a fresh inventory.
type step struct {
	args []string              // of mtx; nil: nothing to do
	done func(*Inventory) bool // what status shows when it was done
}

const (
	// rereadTimeout bounds the look after a move, also when the caller's ctx has ended.
	rereadTimeout = time.Minute
	// settleTime is how long status may lag behind a move that mtx calls done.
	settleTime = 10 * time.Second
)

// move makes one move under the robot's lock. decide sees the inventory and says which; the result is
// judged by the inventory after it, not by the exit code alone. The program inherits both locks: they
// stay locked until it ends, whether we wait for it, stop waiting, or die.
func (le *Lease) move(ctx context.Context, op string, decide func(*Inventory) (step, error)) error {
	l := le.l
	robot, err := waitLock(ctx, l.robotLock(), unix.LOCK_EX)
	if err != nil {
		return fail(op, err, "")
	}
	hold := true
	defer func() {
		if hold {
			robot.Close()
		}
	}()
	if err := sign(robot, fmt.Sprintf("%d move %s", os.Getpid(), time.Now().UTC().Format(time.RFC3339))); err != nil {
		return fail(op, err, "")
	}
	inv, err := l.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	s, err := decide(inv)
	if err != nil || s.args == nil {
		return err
	}
	if err := l.unused(le.d); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	args := append([]string{l.cfg.Programs.Mtx, "-f", l.cfg.Changer}, s.args...)
	res, pending, err := l.act(ctx, l.cfg.MoveTimeout, []*os.File{robot, le.lock}, args...)
	if pending != nil {
		hold = false
		le.pending = pending
		go func() {
			<-pending
			robot.Close()
		}()
		return fail(op, err, "the robot has not ended its move; see tapefs library status when it stands still")
	}
	return le.judge(ctx, op, s, res, err)
}

// judge reads the changer again after a move and tells what became of it.
func (le *Lease) judge(ctx context.Context, op string, s step, res result, moved error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rereadTimeout)
	defer cancel()
	begin := time.Now()
	for p := newPoll(); ; {
		inv, err := le.l.Inventory(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", op, ErrUnknown, errors.Join(moved, err))
		}
		if s.done(inv) {
			if moved != nil {
				le.l.log.Warn("mtx failed, but the tape is where it should be", "err", moved)
			}
			return nil
		}
		if moved != nil {
			return mtxFail(op, moved, res.stderr)
		}
		if time.Since(begin) > settleTime {
			return fail(op, fmt.Errorf("%w: mtx reported success, but the inventory shows otherwise", ErrUnknown), "look at the library; see tapefs library status")
		}
		if err := p.wait(ctx); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
}
