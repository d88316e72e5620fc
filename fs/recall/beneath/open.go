// Package beneath opens files below a directory that other people may write to, without ever following a symlink: whoever
// owns a directory in there must not choose which file is read in place of his own. The directory itself is trusted, and
// may be reached by a symlink.
package beneath

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrNotRegular: what stands at the path is a directory, a fifo, a socket or a device.
var ErrNotRegular = errors.New("no regular file")

// walks is set once the kernel is known to lack openat2 (Linux before 5.6, or a filter of system calls).
var walks atomic.Bool

// Open opens a regular file for reading. path is relative to dir, with slashes, and holds no "..". A symlink on the way, or
// in the file's place, is ELOOP or ENOTDIR; anything else that is no regular file is ErrNotRegular, and is not waited for.
func Open(dir, path string) (*os.File, error) {
	bad := func(err error) error { return &fs.PathError{Op: "open", Path: path, Err: err} }
	if !proper(path) {
		return nil, bad(unix.EINVAL)
	}
	top, err := retry(func() (int, error) { return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(top)
	fd, err := openAt(top, path)
	if err != nil {
		return nil, bad(err)
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = ErrNotRegular
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		unix.Close(fd)
		return nil, bad(err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// flags: without O_NONBLOCK the opening of a fifo would wait for its writer.
const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func openAt(top int, path string) (int, error) {
	if walks.Load() {
		return walk(top, path)
	}
	how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := retry(func() (int, error) { return unix.Openat2(top, path, &how) })
	// A filter of system calls may say EPERM, which is also said of files: the other way tells which it is.
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EAGAIN {
		if err == unix.ENOSYS {
			walks.Store(true)
		}
		return walk(top, path)
	}
	return fd, err
}

// walk opens one component after the other. Each is opened, never looked at and opened later, so that nobody can exchange it
// in between.
func walk(top int, path string) (int, error) {
	at := top
	defer func() {
		if at != top {
			unix.Close(at)
		}
	}()
	for {
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return retry(func() (int, error) { return unix.Openat(at, name, flags, 0) })
		}
		next, err := retry(func() (int, error) {
			return unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		})
		if err != nil {
			return -1, err
		}
		if at != top {
			unix.Close(at)
		}
		at, path = next, rest
	}
}

// retry calls open again when a signal interrupted it.
func retry(open func() (int, error)) (int, error) {
	for {
		fd, err := open()
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// proper reports whether a path has only names in it.
func proper(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0 {
			return false
		}
	}
	return true
}
