package localfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"
)

// WorkName is what the work directories in the spool are called, with MkdirTemp's number behind it.
var WorkName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\.list-.+-[0-9]{1,20}$`) })

// WorkDir is a fresh directory below the spool for sorted runs of a source. It is locked as long as its owner lives, so that what
// a killed run left can be told from one in use; done removes it.
func WorkDir(spool, source string) (dir string, done func(*error), err error) {
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return "", nil, fmt.Errorf("make the spool: %w", err)
	}
	for {
		dir, err := os.MkdirTemp(spool, ".list-"+source+"-")
		if err != nil {
			return "", nil, fmt.Errorf("make a place to sort in: %w", err)
		}
		held, err := holdDir(dir)
		if err != nil {
			return "", nil, fmt.Errorf("make a place to sort in: %w", err)
		}
		if held != nil {
			return dir, func(err *error) { RemoveAll(dir, err); held.Close() }, nil
		} // else it was cleaned away before it was locked
	}
}

// holdDir locks a directory until the file is closed. Nil: somebody else has it, or it is gone.
func holdDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = os.Lstat(dir)
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}

// CleanWork removes a work directory unless its owner lives.
func CleanWork(dir string) error {
	held, err := holdDir(dir)
	if held == nil || err != nil {
		return err
	}
	defer held.Close()
	return os.RemoveAll(dir)
}
