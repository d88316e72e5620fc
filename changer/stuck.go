package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// An ltfs may never come to an end: it loops over a damaged index, or the drive does not answer it. A program that may be writing is
// never killed, and so nobody can have its drive; but nobody has to wait for it either. It is noted as stuck, and the drive
// counts as busy until the process is gone. One that has nothing to lose, because it never mounted or mounted read-only,
// is told to end before.

// leaveGrace is how long an ltfs with nothing to lose may take to end once nobody waits for it any more.
const leaveGrace = 3 * time.Second

func (l *Library) stuckFile(serial string) string {
	return filepath.Join(l.cfg.RunDir, "stuck."+serial)
}

// noteStuck tells every process that the ltfs or ltfsck on a drive is given up on.
func (l *Library) noteStuck(serial string, pid int) {
	started := l.startTime(pid)
	if started == "" {
		return // it just ended
	}
	if err := renameio.WriteFile(l.stuckFile(serial), fmt.Appendf(nil, "%d %s\n", pid, started), 0o600); err != nil {
		l.log.Warn("note that ltfs is stuck", "drive", serial, "pid", pid, "err", err)
	}
}

// stuck is ErrStuck while an ltfs that was given up on is still there.
func (l *Library) stuck(d DriveConfig) error {
	if pid := l.stuckPid(d); pid != 0 {
		return l.stuckError(d, pid)
	}
	return nil
}

// stuckPid is the process of an ltfs that was given up on and is still there, else 0.
func (l *Library) stuckPid(d DriveConfig) int {
	text, err := os.ReadFile(l.stuckFile(d.Serial))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	if len(f) != 2 {
		return 0
	}
	pid, err := strconv.Atoi(f[0])
	if err != nil || l.startTime(pid) != f[1] {
		return 0
	}
	return pid
}

// programOf is the name of a process that keeps a drive: ltfs, unless it is ltfsck.
func (l *Library) programOf(pid int) string {
	text, err := os.ReadFile(filepath.Join(l.roots.proc, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return "ltfs"
	}
	for _, word := range strings.Split(string(text), "\x00") {
		if name := filepath.Base(word); name == "ltfsck" || name == filepath.Base(l.cfg.Programs.Ltfsck) {
			return "ltfsck"
		}
	}
	return "ltfs"
}

func (l *Library) stuckError(d DriveConfig, pid int) error {
	return fail("use "+nameOf(d), fmt.Errorf("%w: %s (pid %d)", ErrStuck, l.programOf(pid), pid),
		"the drive is used again when that process has ended, which switching the drive off and on may bring about; see "+l.ltfsLog(d))
}

// terminate tells an ltfs that has nothing to lose to end. It unmounts in order if it has mounted after all.
func (l *Library) terminate(d DriveConfig, pid int) {
	l.log.Warn("ltfs is told to end", "drive", d.Serial, "pid", pid)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		l.log.Warn("tell ltfs to end", "pid", pid, "err", err)
	}
}

// abandon sees an ltfs process through to its end: whenever it has mounted, it is unmounted. At its limit it is noted as
// stuck, and told to end if it has nothing to lose. The channel is closed when the process is gone.
func (l *Library) abandon(c *child, dir string) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := &poll{next: 20 * time.Millisecond}
		limit, told := c.started.Add(l.cfg.MountTimeout), time.Time{}
		if c.mounted {
			limit = time.Now().Add(l.cfg.UnmountTimeout)
		}
		noted := false
		for !c.gone() {
			if m, err := mountAt(dir); err == nil && m != nil {
				if !c.mounted {
					c.mounted, limit = true, time.Now().Add(l.cfg.UnmountTimeout)
				}
				if err := unmountWithin(context.Background(), leaveGrace, dir); err != nil {
					l.log.Debug("unmount", "dir", dir, "err", err) // somebody uses it: tried again
				}
			}
			now := time.Now()
			switch {
			case now.Before(limit):
			case told.IsZero() && (!c.mounted || c.readOnly):
				l.terminate(c.drive, c.cmd.Process.Pid)
				told = now
			case !noted && (c.mounted && !c.readOnly || now.Sub(told) > leaveGrace/2):
				l.noteStuck(c.drive.Serial, c.cmd.Process.Pid)
				noted = true
			}
			_ = p.wait(context.Background())
		}
		if err := l.clearDead(context.Background(), dir); err != nil {
			l.log.Warn("unmount", "dir", dir, "err", err)
		}
	}()
	return done
}

// unmountWithin is one try to unmount that may hang in the kernel: it is waited for so long at most.
func unmountWithin(ctx context.Context, limit time.Duration, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := within(ctx, func() (struct{}, error) { return struct{}{}, unmountOnce(dir) })
	return err
}

// leave waits a moment for an ltfs that nobody needs any more. One that is still there then keeps the drive busy, and Release
// does not wait for it.
func (le *Lease) leave(c *child, dir string) (gone bool) {
	pending := le.l.abandon(c, dir)
	timer := time.NewTimer(leaveGrace)
	defer timer.Stop()
	select {
	case <-pending:
		return true
	case <-timer.C:
	}
	le.pending, le.left = pending, true
	return false
}

// told returns a channel that is closed at the limit, or a moment after the command that leased the drive was told to end.
func (le *Lease) told(limit time.Duration) (<-chan struct{}, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	go func() {
		select {
		case <-le.ended:
			timer := time.NewTimer(leaveGrace)
			defer timer.Stop()
			select {
			case <-timer.C:
				cancel()
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	}()
	return ctx.Done(), cancel
}
