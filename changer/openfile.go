package changer

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenFile opens a file of a mounted volume, below root. Reads and writes of it fail when the volume does:
// of a cartridge that was taken away LTFS says EAGAIN, and a file that root opened by itself
// would wait for ever until it is ready.
func OpenFile(root *os.Root, name string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
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

// SaysGone tells an error of a read or write that is the volume's and not the file's: ltfs died, or the cartridge was taken away from
// under it (EAGAIN, as recorded).
func SaysGone(err error) bool {
	for _, gone := range []error{unix.ENOTCONN, unix.ECONNABORTED, unix.ENODEV, unix.EAGAIN} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
