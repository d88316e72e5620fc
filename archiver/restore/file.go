package restore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// partedKey names a file that comes in several pieces.
type partedKey struct {
	id  catalog.ID
	arg int
}

// assembly is a file on its way: under a temporary name beside its own.
type assembly struct {
	key        partedKey
	v          catalog.Version
	dest, temp string
	file       *os.File
	of         int
	sum        hash.Hash
	refused    error // what it will lack beside what the target refuses
	left       atomic.Int64
	failed     atomic.Bool
	drop       sync.Once
}

// done notes that a piece was tried, and tells whether it was the last.
func (as *assembly) done(piece) bool { return as.left.Add(-1) == 0 }

// assembly opens the temporary file of a piece's file, or finds it when other pieces came before. It is
// never nil.
func (r *restoration) assembly(p piece, dest string, v *catalog.Version) (*assembly, error) {
	key := partedKey{p.id, p.arg}
	r.mu.Lock()
	defer r.mu.Unlock()
	if as := r.parted[key]; as != nil {
		return as, nil
	}
	dir, _ := path.Split(dest)
	as := &assembly{key: key, v: *v, dest: dest, temp: dir + fmt.Sprintf(".tapefs-%d.part", v.ID), of: p.of, sum: sha256.New()}
	as.left.Store(int64(p.of))
	if p.of > 1 {
		r.parted[key] = as
	}
	var err error
	as.file, err = r.openTemp(as.temp)
	if err != nil {
		return as, fmt.Errorf("make a file beside it: %w", err)
	}
	return as, nil
}

// openTemp makes a temporary file, or takes over what a killed restore left. The lock keeps two restores
// apart; it goes with the file.
func (r *restoration) openTemp(temp string) (*os.File, error) {
	dir, name, err := r.dirs.parent(temp)
	if err != nil {
		return nil, err
	}
	defer dir.release()
	f, err := openIn(dir, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
	made := err == nil
	if errors.Is(err, os.ErrExist) {
		f, err = openIn(dir, name, unix.O_RDWR|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && !cannotLock(err) {
		err = fmt.Errorf("another restore is at it: %w", err)
	} else if err = nil; !made {
		err = takeOver(f, dir, name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openIn opens a file by its name in a directory. A symlink there is an error.
func openIn(dir *heldDir, name string, flags int, mode uint32) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), name), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// takeOver empties a temporary file that was there already, once it is sure that it is one.
func takeOver(f *os.File, dir *heldDir, name string) error {
	var mine, named unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &mine); err != nil {
		return err
	}
	if err := unix.Fstatat(int(dir.Fd()), name, &named, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if mine.Mode&unix.S_IFMT != unix.S_IFREG || mine.Dev != named.Dev || mine.Ino != named.Ino || mine.Nlink != 1 {
		return fmt.Errorf("%s is no file of a restore", name)
	}
	return f.Truncate(0)
}

// cannotLock reports whether a file system has no locks, as some network mounts: two restores into it are nobody's plan.
func cannotLock(err error) bool {
	return errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)
}

// stretch gives the file its size where it ends in a hole.
func (as *assembly) stretch() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(as.file.Fd()), &st); err == nil && st.Size == as.v.Size {
		return nil
	}
	return as.file.Truncate(as.v.Size)
}

// drop gives a file up and takes its temporary name away.
func (r *restoration) drop(as *assembly) {
	if as == nil {
		return
	}
	as.drop.Do(func() {
		if as.file != nil {
			if err := r.root.Remove(as.temp); err != nil && !errors.Is(err, os.ErrNotExist) {
				r.env.Log.Warn("remove temporary file", "file", as.temp, "err", err)
			}
			as.file.Close()
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.parted, as.key)
	})
}

// dropParted takes away what an interrupted restore has not finished.
func (r *restoration) dropParted() {
	r.mu.Lock()
	var left []*assembly
	for _, as := range r.parted {
		left = append(left, as)
	}
	r.mu.Unlock()
	for _, as := range left {
		r.drop(as)
	}
}

// place gives a whole file its attributes and its name.
func (r *restoration) place(as *assembly) (err error) {
	defer func() {
		if err != nil {
			r.drop(as)
			return
		}
		as.drop.Do(func() {
			err = as.file.Close()
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.parted, as.key)
		})
	}()
	dir, tempName, err := r.dirs.parent(as.temp)
	if err != nil {
		return err
	}
	defer dir.release()
	refused := r.attributes(as.file, dir, tempName, &as.v)
	switch {
	case refused == nil:
		refused = as.refused
	case as.refused != nil:
		refused = refusals([]error{as.refused, refused})
	}
	if err := r.rename(dir, tempName, path.Base(as.dest)); err != nil {
		return err
	}
	r.without(as.dest, refused)
	return nil
}

// rename gives a temporary name in dir its own. Unless it was told to, it replaces nothing.
func (r *restoration) rename(dir *heldDir, from, to string) error {
	fd := int(dir.Fd())
	flags := uint(unix.RENAME_NOREPLACE)
	if r.o.Overwrite {
		flags = 0
	}
	err := unix.Renameat2(fd, from, fd, to, flags)
	if (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS)) && flags != 0 { // the file system cannot
		var st unix.Stat_t
		if serr := unix.Fstatat(fd, to, &st, unix.AT_SYMLINK_NOFOLLOW); serr == nil {
			return fmt.Errorf("name it: %w", unix.EEXIST)
		}
		err = unix.Renameat(fd, from, fd, to)
	}
	if err != nil {
		return fmt.Errorf("name it: %w", err)
	}
	return nil
}
