package changer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Locks are flocks on files in the run directory, taken on a descriptor of their own each: two leases
// in one process exclude each other as those of two processes do, and the kernel frees them when
// their last holder is gone. The files stay.

func (l *Library) driveLock(serial string) string {
	return filepath.Join(l.cfg.RunDir, "drive."+serial+".lock")
}
func (l *Library) wantLock(serial string) string {
	return filepath.Join(l.cfg.RunDir, "want."+serial)
}
func (l *Library) robotLock() string { return filepath.Join(l.cfg.RunDir, "robot.lock") }

// tryLock takes a flock (unix.LOCK_EX or LOCK_SH) without waiting; nil without error when others have it.
// A run directory that somebody removed is made anew; so is a file that was removed before it was locked.
func tryLock(path string, how int) (*os.File, error) {
	for {
		f, err := openLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		for {
			err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if err == nil && isAt(f, path) {
			return f, nil
		}
		f.Close()
		switch {
		case err == nil: // nobody else can find that file any more
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, nil
		default:
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// openLock opens a lock's file. os.OpenFile opens with O_CLOEXEC. Only the run directory itself is made where it is missing: without the
// state directory around it, that file system is not there.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// isAt reports whether an open file is still the one that a path names. What cannot be told counts as yes.
func isAt(f *os.File, path string) bool {
	named, err := os.Stat(path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	own, err := f.Stat()
	return err != nil || os.SameFile(own, named)
}

// Held returns ErrLockGone when the lock's file is no longer where other processes look for it: they may believe that the drive is free.
// The holder is to unmount, and to give the drive back.
func (le *Lease) Held() error {
	if le.lock == nil {
		return errors.New("the drive was given back")
	}
	path := le.l.driveLock(le.d.Serial)
	if isAt(le.lock, path) {
		return nil
	}
	return fail("use drive "+le.d.Serial, fmt.Errorf("%w: %s was removed or replaced while the drive was in use", ErrLockGone, path),
		"leave the run folder of the state alone while tapefs works; what was begun is given up in order, and the next run goes on")
}

// waitLock takes a flock, and polls for it until ctx ends.
func waitLock(ctx context.Context, path string, how int, notices *Notices) (*os.File, error) {
	p := newPoll()
	for {
		f, err := tryLock(path, how)
		if f != nil || err != nil {
			return f, err
		}
		notices.Look(func() string { return holderOf(path) })
		if err := p.wait(ctx); err != nil {
			return nil, fmt.Errorf("wait for %s (held by %s): %w", filepath.Base(path), holderOf(path), err)
		}
	}
}

// poll is a wait between looks at the world that grows to 250 ms.
type poll struct{ next time.Duration }

func newPoll() *poll { return &poll{5 * time.Millisecond} }

const maxPoll = 250 * time.Millisecond

func (p *poll) wait(ctx context.Context) error {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(p.next*3/2, maxPoll)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// sign writes who holds a lock into its file, for people and for the next holder.
func sign(f *os.File, text string) error {
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("sign lock: %w", err)
	}
	if _, err := f.WriteAt([]byte(text+"\n"), 0); err != nil {
		return fmt.Errorf("sign lock: %w", err)
	}
	return nil
}

// signature reads a lock's file: PID PURPOSE TIME TOKEN.
func signature(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// holderOf says who signed a lock, as people read it.
func holderOf(path string) string {
	f := strings.Fields(signature(path))
	if len(f) < 3 {
		return "unknown"
	}
	return fmt.Sprintf("%s (pid %s, since %s)", f[1], f[0], f[2])
}
