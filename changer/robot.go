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

// move makes one move of this lease's drive under the robot's lock.
func (le *Lease) move(ctx context.Context, op string, decide func(*Inventory) (step, error)) error {
	pending, err := le.l.moveRobot(ctx, op, []*os.File{le.lock}, func() error { return le.l.unused(le.d) }, decide)
	if pending != nil {
		le.pending, le.doing = pending, []string{le.l.cfg.Programs.Mtx}
	}
	return err
}

// moveRobot makes one move under the robot's lock. decide sees the inventory and says which, mayMove (or nil)
// has the last word; the result is judged by the inventory after it, not by the exit code alone. The program
// inherits the robot's lock and those in keep: they stay locked until it ends, whether we wait for it, stop
// waiting, or die. pending is not nil when we stopped waiting, and closed when the program is gone.
func (l *Library) moveRobot(ctx context.Context, op string, keep []*os.File, mayMove func() error, decide func(*Inventory) (step, error)) (pending <-chan struct{}, err error) {
	robot, err := tryLock(l.robotLock(), unix.LOCK_EX)
	if err == nil && robot == nil {
		l.log.Info("waiting for the robot", "used_by", holderOf(l.robotLock()))
		robot, err = waitLock(ctx, l.robotLock(), unix.LOCK_EX, NewNotices("the robot", false, l.cfg.Waits))
	}
	if err != nil {
		return nil, fail(op, err, "")
	}
	hold := true
	defer func() {
		if hold {
			robot.Close()
		}
	}()
	if err := sign(robot, fmt.Sprintf("%d move %s", os.Getpid(), time.Now().UTC().Format(time.RFC3339))); err != nil {
		return nil, fail(op, err, "")
	}
	inv, err := l.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	s, err := decide(inv)
	if err != nil || s.args == nil {
		return nil, err
	}
	if mayMove != nil {
		if err := mayMove(); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	args := append([]string{l.cfg.Programs.Mtx, "-f", l.cfg.Changer}, s.args...)
	acting := ctx
	if tell, ok := ctx.Value(patientKey{}).(func(string)); ok {
		acting = context.WithoutCancel(ctx)
		stop := context.AfterFunc(ctx, func() { tell(op) })
		defer stop()
	}
	res, pending, err := l.act(acting, l.cfg.MoveTimeout, append([]*os.File{robot}, keep...), args...)
	if pending != nil {
		hold = false
		go func() {
			<-pending
			robot.Close()
		}()
		return pending, fail(op, err, "the robot has not ended its move; see tapefs library status when it stands still")
	}
	return nil, l.judge(ctx, op, s, res, err)
}

type patientKey struct{}

// Patient makes moves of the robot that run when ctx ends be waited for, up to Config.MoveTimeout, instead of
// being left to themselves: for commands of a person, who wants to know how it ended. tell is called then,
// from another goroutine, with what is being done. Waits for a drive or for the robot still end with ctx.
func Patient(ctx context.Context, tell func(doing string)) context.Context {
	return context.WithValue(ctx, patientKey{}, tell)
}

// judge reads the changer again after a move and tells what became of it.
func (l *Library) judge(ctx context.Context, op string, s step, res result, moved error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rereadTimeout)
	defer cancel()
	begin := time.Now()
	for p := newPoll(); ; {
		inv, err := l.Inventory(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", op, ErrUnknown, errors.Join(moved, err))
		}
		if s.done(inv) {
			if moved != nil {
				l.log.Warn("mtx failed, but the tape is where it should be", "err", moved)
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
