package changer

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// unmountOnce unmounts a directory; one on which nothing is mounted is fine.
func unmountOnce(dir string) error {
	err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL):
		if m, merr := mountAt(dir); merr == nil && m == nil {
			return nil
		}
	case errors.Is(err, unix.EPERM): // users other than root need the helper of FUSE
		return fusermount(dir)
	}
	return err
}

func fusermount(dir string) error {
	var last error = unix.EPERM
	for _, program := range []string{"fusermount3", "fusermount"} {
		var out Clip
		cmd := exec.Command(program, "-u", dir)
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if err == nil {
			return nil
		}
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if m, merr := mountAt(dir); merr == nil && m == nil {
			return nil
		}
		last = &ProgramError{Args: []string{program, "-u", dir}, Code: 1, Stderr: lastLines(out.String(), stderrLines), Err: unix.EBUSY}
	}
	return last
}

// unmountDir unmounts, and tries again for a while when somebody has a file open. When ctx has ended it
// is tried once. Of a dead mount nothing can be lost: it is detached.
func unmountDir(ctx context.Context, dir string, dead bool) error {
	begin := time.Now()
	for p := newPoll(); ; {
		err := unmountOnce(dir)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		if dead {
			if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err == nil {
				return nil
			}
		}
		if time.Since(begin) > busyGrace {
			return fmt.Errorf("unmount %s: somebody uses it: %w", dir, err)
		}
		if cerr := p.wait(ctx); cerr != nil {
			return fmt.Errorf("unmount %s: somebody uses it: %w: %w", dir, err, cerr)
		}
	}
}
