package restore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
)

// maxWithout is how many paths are named whose owner, mode or time was refused; of more only the number is told. On a file
// system without owners that is every path there is.
const maxWithout = 1000

// without records that a path was restored, but not with all its attributes. The content is what counts: it stays.
func (r *restoration) without(dest string, refused error) {
	if refused == nil {
		return
	}
	r.mu.Lock()
	r.sum.Without++
	n := r.sum.Without
	r.mu.Unlock()
	if n <= maxWithout {
		r.noted.Add("", dest, fmt.Errorf("it is restored, but its attributes are not those of the archive: %w", refused))
		return
	}
	r.noted.Partial()
}

// attributes sets mode, time and owner of an open file or directory that lies in dir under name, as far as they differ.
// What was refused it returns, and goes on with the rest. The owner comes after mode and time: who may give a file
// away need not be allowed to change it then.
func (r *restoration) attributes(f *os.File, dir *heldDir, name string, v *catalog.Version) error {
	var was unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &was); err != nil {
		return fmt.Errorf("look at it: %w", err)
	}
	mode := v.Mode & 0o7777
	uid, gid := int(was.Uid), int(was.Gid)
	give := false
	if r.super {
		uid, gid = ownerOf(r.names, v.Owner)
		give = uid != int(was.Uid) || gid != int(was.Gid)
	} else if r.strange(v.Owner) {
		mode &^= 0o6000 // set-id bits are for another owner
	}
	var refused []error
	said := false
	chmod := func(mode uint32) {
		if err := unix.Fchmod(int(f.Fd()), mode); err != nil {
			refused, said = append(refused, fmt.Errorf("set mode: %w", err)), true
		}
	}
	if lent := mode & 0o6000; !give {
		if was.Mode&0o7777 != mode {
			chmod(mode)
		}
	} else if was.Mode&0o7777 != mode&^lent {
		chmod(mode &^ lent)
	}
	if was.Mtim.Sec != v.MTime.Sec || was.Mtim.Nsec != int64(v.MTime.Nsec) {
		if err := localfs.SetTime(dir.File, name, v.MTime); err != nil {
			refused = append(refused, err)
		}
	}
	if give {
		if err := giveTo(f, uid, gid); err != nil {
			refused = append(refused, fmt.Errorf("set owner: %w", err))
			mode &^= 0o6000
		} else if mode&0o6000 != 0 { // giving it away took the bits
			chmod(mode)
		}
	}
	var now unix.Stat_t // some file systems say yes and do nothing
	if err := unix.Fstat(int(f.Fd()), &now); err == nil && now.Mode&0o7777 != mode && !said {
		refused = append(refused, fmt.Errorf("set mode: it is still %04o", now.Mode&0o7777))
	}
	return refusals(refused)
}

// giveTo changes an owner, and looks whether that has happened.
func giveTo(f *os.File, uid, gid int) error {
	if err := f.Chown(uid, gid); err != nil {
		return bare(err)
	}
	var now unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &now); err != nil {
		return err
	}
	if int(now.Uid) != uid || int(now.Gid) != gid {
		return fmt.Errorf("it is still %d:%d", now.Uid, now.Gid)
	}
	return nil
}

// refusals are several errors in one line.
func refusals(list []error) (all error) {
	for _, err := range list {
		if all == nil {
			all = err
		} else {
			all = fmt.Errorf("%w; %w", all, err)
		}
	}
	return all
}

// bare takes the name out of an error of package os: it is a temporary one.
func bare(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// mend gives a file that is there already, with the right bytes, the attributes it should have; also is what else it lacks, if anything.
func (r *restoration) mend(dest string, v *catalog.Version, also error) error {
	info, err := r.root.Lstat(dest)
	if err != nil {
		return err
	}
	f, err := r.openThere(dest, info)
	if err != nil {
		return err
	}
	defer f.Close()
	dir, name, err := r.dirs.parent(dest)
	if err != nil {
		return err
	}
	defer dir.release()
	refused := r.attributes(f, dir, name, v)
	switch {
	case refused == nil:
		refused = also
	case also != nil:
		refused = refusals([]error{also, refused})
	}
	r.without(dest, refused)
	return nil
}

// openThere opens a file that is there already. One's own may be closed to oneself: then it is opened up, and mend closes it again.
func (r *restoration) openThere(dest string, info os.FileInfo) (*os.File, error) {
	f, err := r.root.OpenFile(dest, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrPermission) && info.Mode().IsRegular() && r.root.Chmod(dest, info.Mode()|0o400) == nil {
		f, err = r.root.OpenFile(dest, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	return f, err
}

// linkAttributes gives a symlink its owner and time, as far as they differ.
func (r *restoration) linkAttributes(dest string, v *catalog.Version) error {
	dir, name, err := r.dirs.parent(dest)
	if err != nil {
		return err
	}
	defer dir.release()
	var was unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &was, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	var refused []error
	if was.Mtim.Sec != v.MTime.Sec || was.Mtim.Nsec != int64(v.MTime.Nsec) {
		if err := localfs.SetTime(dir.File, name, v.MTime); err != nil {
			refused = append(refused, err)
		}
	}
	if !r.super {
		r.strange(v.Owner)
	} else if uid, gid := ownerOf(r.names, v.Owner); uid != int(was.Uid) || gid != int(was.Gid) {
		if err := r.root.Lchown(dest, uid, gid); err != nil {
			refused = append(refused, fmt.Errorf("set owner: %w", bare(err)))
		}
	}
	r.without(dest, refusals(refused))
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
