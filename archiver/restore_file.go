package archiver

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

	"tapefs/catalog"
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
	as.file, err = openTemp(r.root, as.temp)
	if err != nil {
		return as, fmt.Errorf("make a file beside it: %w", err)
	}
	return as, nil
}

// openTemp makes a temporary file, or takes over what a killed restore left. The lock keeps two restores
// apart; it goes with the file.
func openTemp(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		f, err = root.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, err
	}
	err = func() error {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return fmt.Errorf("another restore is at it: %w", err)
		}
		mine, err := f.Stat()
		if err != nil {
			return err
		}
		named, err := root.Lstat(name)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return err
		}
		if !named.Mode().IsRegular() || !os.SameFile(mine, named) || st.Nlink != 1 {
			return fmt.Errorf("%s is no file of a restore", name)
		}
		return f.Truncate(0)
	}()
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// drop gives a file up and takes its temporary name away.
func (r *restoration) drop(as *assembly) {
	if as == nil {
		return
	}
	as.drop.Do(func() {
		if as.file != nil {
			if err := r.root.Remove(as.temp); err != nil && !errors.Is(err, os.ErrNotExist) {
				r.a.log.Warn("remove temporary file", "file", as.temp, "error", err)
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
	if err := r.attributes(as.file, &as.v); err != nil {
		return err
	}
	dir, tempName, err := r.parent(as.temp)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := setTime(dir, tempName, as.v.MTime); err != nil {
		return err
	}
	return r.rename(dir, tempName, path.Base(as.dest))
}

// rename gives a temporary name in dir its own. Unless it was told to, it replaces nothing.
func (r *restoration) rename(dir *os.File, from, to string) error {
	fd := int(dir.Fd())
	flags := uint(unix.RENAME_NOREPLACE)
	if r.o.Overwrite {
		flags = 0
	}
	err := unix.Renameat2(fd, from, fd, to, flags)
	if errors.Is(err, unix.EINVAL) && flags != 0 { // the file system cannot
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

// parent opens the directory of a name. What is then done by its descriptor and the last part of the name
// stays below the target, and follows no link.
func (r *restoration) parent(dest string) (dir *os.File, name string, err error) {
	dir, err = r.root.Open(path.Dir(dest))
	return dir, path.Base(dest), err
}

// attributes sets owner and mode of an open file or directory.
func (r *restoration) attributes(f *os.File, v *catalog.Version) error {
	mode := v.Mode & 0o7777
	if r.super {
		uid, gid := ownerOf(r.names, v.Owner)
		if err := f.Chown(uid, gid); err != nil {
			return fmt.Errorf("set owner: %w", err)
		}
	} else if r.strange(v.Owner) {
		mode &^= 0o6000 // set-id bits are for another owner
	}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	return nil
}

// strange counts and tells what is restored for somebody else, by a process that may not give it away.
func (r *restoration) strange(o catalog.Owner) bool {
	uid, gid := ownerOf(r.names, o)
	if uid == os.Geteuid() && gid == os.Getegid() {
		return false
	}
	r.kept.Add(1)
	return true
}

func setTime(dir *os.File, name string, t catalog.Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: int64(t.Nsec)}}
	if err := unix.UtimesNanoAt(int(dir.Fd()), name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}
