package changer

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenFile opens a file of a mounted volume, below root. Reads and writes of it fail when the volume does:
// of a cartridge that was taken away LTFS says EAGAIN, and a file that root opened by itself
// would wait for ever until it is ready. ErrAltered when what is to be read is no regular file: a pipe
// would wait for ever for its other end.
func OpenFile(root *os.Root, name string, flag int, perm os.FileMode) (*os.File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		info, err := root.Stat(name)
		if err != nil {
			return nil, escaped(err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%w: %s is no regular file", ErrAltered, name)
		}
	}
	f, err := root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, escaped(err)
	}
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	// A second descriptor that the runtime does not poll.
	fd := -1
	cerr := conn.Control(func(polled uintptr) {
		if fd, err = unix.FcntlInt(polled, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, false)
		}
	})
	if err = errors.Join(cerr, err, f.Close()); err == nil {
		return os.NewFile(uintptr(fd), f.Name()), nil
	}
	if fd >= 0 {
		unix.Close(fd)
	}
	return nil, fmt.Errorf("open %s: %w", f.Name(), err)
}

// escaped marks the error of a name that leads out of the volume, by a symlink in place of a file or folder: the kernel did not
// give it, os.Root did.
func escaped(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) || errors.Is(err, os.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAltered, err)
}

// SaysGone reports whether an error of a read or write is the volume's and not the file's: ltfs died, or the cartridge was taken
// away from under it.
func SaysGone(err error) bool { return FaultOf(err) == Gone }
