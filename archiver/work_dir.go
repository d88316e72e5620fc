package archiver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"golang.org/x/sys/unix"

	"tapefs/archiver/localfs"
)

// workName is what the work directories in the spool are called, with MkdirTemp's number behind it.
var workName = regexp.MustCompile(`^\.list-.+-[0-9]{1,20}$`)

// workDir is a fresh directory below the spool for sorted runs. It is locked as long as its owner lives, so that what
// a killed run left can be told from one in use; done removes it.
func (a *Archiver) workDir(src Source) (dir string, done func(*error), err error) {
	if err := os.MkdirAll(a.env.Config.SpoolDir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make the spool: %w", err)
	}
	for {
		dir, err := os.MkdirTemp(a.env.Config.SpoolDir, ".list-"+src.Name+"-")
		if err != nil {
			return "", nil, fmt.Errorf("make a place to sort in: %w", err)
		}
		held, err := holdDir(dir)
		if err != nil {
			return "", nil, fmt.Errorf("make a place to sort in: %w", err)
		}
		if held != nil {
			return dir, func(err *error) { localfs.RemoveAll(dir, err); held.Close() }, nil
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

// cleanWork removes a work directory unless its owner lives.
func cleanWork(dir string) error {
	held, err := holdDir(dir)
	if held == nil || err != nil {
		return err
	}
	defer held.Close()
	return os.RemoveAll(dir)
}
