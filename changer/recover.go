package changer

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Recover deals with what a died process left: ltfs processes on our devices are synced, unmounted
// and awaited, dead mounts taken away. Call it first; drives whose lease is held are left alone, and
// so is an ltfs that mounts elsewhere: somebody's own, it makes the drive busy.
func (l *Library) Recover(ctx context.Context) error {
	var errs []error
	for _, d := range l.drives() {
		if err := l.recoverFree(ctx, d); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("recover drives: %w", errors.Join(errs...))
	}
	return nil
}

// recoverTries is how often a lock is tried: one that a probe holds is free the next moment.
const recoverTries = 4

func (l *Library) recoverFree(ctx context.Context, d DriveConfig) error {
	p := newPoll()
	for range recoverTries {
		f, err := tryLock(l.driveLock(d.Serial), unix.LOCK_EX)
		if err != nil {
			return err
		}
		if f != nil {
			defer f.Close()
			err := l.recoverDrive(ctx, d)
			if errors.Is(err, ErrBusy) || errors.Is(err, ErrStuck) {
				l.log.Warn("drive is used by somebody else", "drive", d.Serial, "err", err)
				return nil
			}
			return err
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// recoverDrive clears a drive whose lock we hold: a leftover ltfs of ours is synced, unmounted and
// awaited, a dead mount taken away. ErrBusy when the ltfs on it is not ours.
func (l *Library) recoverDrive(ctx context.Context, d DriveConfig) error {
	dir := l.mountPoint(d)
	procs, err := l.ltfsProcesses(d)
	if err != nil {
		return err
	}
	for _, p := range procs {
		if canonical(p.mountPoint) != dir {
			where := p.mountPoint // as it was named to the program, in a directory that it has left
			if m, err := driveMount(d); err == nil && m != nil {
				where = m.Mountpoint
			}
			return fail("use drive "+d.Serial, fmt.Errorf("%w: ltfs (pid %d) has it mounted on %s", ErrBusy, p.pid, where), "unmount it: umount "+where)
		}
		if err := l.stuck(d); err != nil {
			return err
		}
		if owner := l.livingOwner(p); owner != 0 {
			return fail("use drive "+d.Serial, fmt.Errorf("%w: ltfs (pid %d) belongs to tapefs (pid %d), which is alive and has lost its lock on the drive", ErrBusy, p.pid, owner),
				"wait until that process has noticed and given the drive back")
		}
		l.log.Warn("an ltfs process was left behind: it is unmounted and awaited", "drive", d.Serial, "pid", p.pid)
		if err := l.endLeftover(ctx, d, p, dir); err != nil {
			return fail("recover drive "+d.Serial, err, fmt.Sprintf("ltfs (pid %d) must end by itself; never kill it", p.pid))
		}
	}
	return l.clearDead(ctx, dir)
}

// endLeftover syncs and unmounts the volume of a process that is not our child, and waits for its end.
// One that has not mounted yet is unmounted when it has. At the limits of mounting and unmounting it is ErrStuck.
func (l *Library) endLeftover(ctx context.Context, d DriveConfig, p ltfsProcess, dir string) error {
	synced, began, limit := false, time.Now(), l.cfg.MountTimeout
	var told time.Time
	for w := newPoll(); l.alive(p); {
		shortenLog(l.ltfsLog(d))
		m, err := mountAt(dir)
		if err != nil {
			return err
		}
		if m != nil && strings.HasPrefix(m.Source, ltfsSource) {
			if !synced && !readOnlyMount(m) {
				_, err := within(ctx, func() (struct{}, error) { return struct{}{}, setSync(dir) })
				if err != nil { // unmounting writes the index as well
					l.log.Warn("sync a leftover volume", "dir", dir, "err", err)
				}
			}
			if !synced {
				synced, began, limit = true, time.Now(), l.cfg.UnmountTimeout
			}
			if err := unmountDir(ctx, dir, false); err != nil {
				return err
			}
		}
		switch past := time.Since(began) > limit; {
		case past && !synced && told.IsZero():
			l.terminate(d, p.pid)
			told = time.Now()
		case past && (synced || time.Since(told) > leaveGrace):
			l.noteStuck(d.Serial, p.pid)
			return l.stuckError(d, p.pid)
		}
		if err := w.wait(ctx); err != nil {
			return fmt.Errorf("wait for ltfs (pid %d): %w: %w", p.pid, ErrUnknown, err)
		}
	}
	l.endedLeftover(d)
	return nil
}

// statTimeout bounds how long a mount may take to say whether it is dead.
const statTimeout = 30 * time.Second

// clearDead takes away mounts whose process is gone: "transport endpoint is not connected".
func (l *Library) clearDead(ctx context.Context, dir string) error {
	for {
		m, err := mountAt(dir)
		if err != nil || m == nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, statTimeout)
		_, err = within(limited, func() (struct{}, error) {
			var st unix.Statfs_t
			return struct{}{}, unix.Statfs(dir, &st)
		})
		cancel()
		if !errors.Is(err, unix.ENOTCONN) {
			return nil // it lives, or nobody can tell
		}
		l.log.Warn("a dead mount is taken away", "dir", filepath.Clean(dir))
		if err := unmountDir(ctx, dir, true); err != nil {
			return err
		}
	}
}
