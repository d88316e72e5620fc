package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// mountType is the type of our mounts in mountinfo.
const mountType = "fuse.tapefs"

// statLimit is how long a mount point may take to say whether it is dead.
const statLimit = 10 * time.Second

// mountPoint returns the absolute path of the directory to mount on. A dead mount of ours is taken away from it first. What would be
// hidden by the mount is refused, unless the flag insists.
func (c *mountCmd) mountPoint(a *app) (string, error) {
	dir, err := filepath.Abs(c.Mountpoint)
	if err != nil {
		return "", usagef("mount point: %w", err)
	}
	if err := clearDeadMounts(a, dir); err != nil {
		return "", err
	}
	if info, err := os.Stat(dir); err != nil {
		return "", usagef("mount point: %w", err)
	} else if !info.IsDir() {
		return "", usagef("mount point %s is not a directory", dir)
	}
	return dir, nil
}

// mayMountOn reports, as an error, what stands against mounting on a directory.
func (c *mountCmd) mayMountOn(conf *settings, dir string) error {
	real := realPath(dir)
	state := realPath(conf.State)
	if isWithin(state, real) {
		return withHint(usagef("mount point %s holds the state folder %s, which the mount would hide", dir, conf.State), "mount on another directory")
	}
	for _, used := range []string{conf.Keys.Dir, conf.Spool.Dir, conf.Cache.Dir, conf.RunDir()} {
		if used = realPath(used); isWithin(used, real) || isWithin(real, used) {
			return withHint(usagef("mount point %s is over or inside %s, where tapefs keeps files of its own", dir, used), "mount on another directory")
		}
	}
	if c.AllowNonEmpty {
		return nil
	}
	const insist = "mount on an empty directory, or insist with --allow-non-empty"
	if isWithin(real, state) {
		return withHint(usagef("mount point %s is inside the state folder %s", dir, conf.State), insist)
	}
	for name, src := range conf.Sources {
		if at, ok := archiver.LocalPath(src.URL); ok && isWithin(realPath(at), real) {
			return withHint(usagef("mount point %s holds source %s (%s), which the mount would hide", dir, name, at), insist)
		}
	}
	if m, err := topMount(dir); err != nil {
		return err
	} else if m != nil && m.FSType == mountType {
		return withHint(usagef("an archive is mounted on %s already", dir), "umount %s ends that mount; or insist with --allow-non-empty", dir)
	}
	f, err := os.Open(dir)
	if err != nil {
		return usagef("mount point: %w", err)
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		return withHint(usagef("mount point %s is not empty: it holds %s, which the mount would hide", dir, ui.Printable(names[0])), insist)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return usagef("mount point: %w", err)
	}
	return nil
}

// realPath resolves symlinks, as far as the path exists.
func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return abs
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// isWithin reports whether a clean path is dir, or lies below it.
func isWithin(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// maxLinks is how many symlinks the kernel follows in one path.
const maxLinks = 40

// topMount is what is mounted on a directory, the topmost; nil for nothing.
func topMount(dir string) (*mountinfo.Info, error) {
	// A dead mount has no real path, but its parent has one.
	for range maxLinks {
		to, err := os.Readlink(dir)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(dir), to)
		}
		dir = to
	}
	dir = filepath.Join(realPath(filepath.Dir(dir)), filepath.Base(dir))
	all, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("read mountinfo: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[len(all)-1], nil
}

// clearDeadMounts takes mounts of ours away whose process was killed, so that a service that is started again finds its directory.
// Mounts that live, and those of others, stay.
func clearDeadMounts(a *app, dir string) error {
	for {
		m, err := topMount(dir)
		if err != nil || m == nil || m.FSType != mountType {
			return err
		}
		err = statWithin(dir, statLimit)
		if errors.Is(err, context.DeadlineExceeded) {
			return withHint(fmt.Errorf("an archive is mounted on %s and does not answer", dir), "its process hangs, or another one holds it open; umount -l %s takes it away", dir)
		}
		if !errors.Is(err, unix.ENOTCONN) {
			return nil
		}
		a.log.Warn("a dead mount is taken away", "dir", dir)
		if err := detach(dir); err != nil {
			return withHint(fmt.Errorf("take a dead mount away from %s: %w", dir, err), "umount -l %s", dir)
		}
	}
}

// statWithin asks a file system for its state, and waits no longer than limit for the answer.
func statWithin(dir string, limit time.Duration) error {
	answer := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(dir, &st)
	}()
	select {
	case err := <-answer:
		return err
	case <-time.After(limit):
		return context.DeadlineExceeded
	}
}

// detach unmounts a dead mount, also when somebody stands in it. Who is not root needs fusermount.
func detach(dir string) error {
	err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	var out changer.Clip
	cmd := exec.Command("fusermount3", "-u", "-z", "--", dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("fusermount3: %w: %.1000s", err, strings.TrimSpace(out.String()))
	}
	return nil
}
