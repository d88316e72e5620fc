package recall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall/beneath"
)

var errChanged = errors.New("the file is not the catalogued version any more")

// errUnsummed: what an older program fetched, and what has no recorded sum, is proved when it is written to tape.
var errUnsummed = errors.New("nobody summed it when it was fetched: it can be read when it is on tape")

// openSpool opens the bytes that wait in the spool, or lie in a source that is read in place.
// It returns nil without an error when no batch has them.
func (q *Queue) openSpool(loc catalog.Location) (*os.File, error) {
	b := loc.Batch
	if b == nil || b.State != catalog.Synced {
		return nil, nil
	}
	dir, path := b.Dir, loc.Path
	if !b.Local {
		if q.o.SpoolDir == "" {
			return nil, fmt.Errorf("open batch %d: no spool folder is configured", b.ID)
		}
		dir, path = q.o.SpoolDir, b.Dir+"/"+loc.Path
		if len(loc.Version.SHA256) == 0 {
			return nil, errUnsummed
		}
	}
	f, err := beneath.Open(dir, path)
	if err == nil {
		err = unchanged(f, loc.Version.Size, loc.Version.MTime)
		if err == nil && b.Local {
			err = sameInode(f, &loc.Version)
		}
		if err != nil {
			f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open spool copy: %w", err)
	}
	return f, nil
}

// unchanged checks that an open file has a version's size and modification time, to the nanosecond if its file system can hold it.
func unchanged(f *os.File, size int64, mtime catalog.Time) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	found := catalog.Time{Sec: st.ModTime().Unix(), Nsec: int32(st.ModTime().Nanosecond())}
	if !st.Mode().IsRegular() || st.Size() != size || !mtime.KeptAs(found) {
		return errChanged
	}
	return nil
}

// sameInode checks that a file of a source that is read in place is the very one that was listed: whoever owns its directory
// may have put another one in its place, be it a hard link to somebody's private file.
func sameInode(f *os.File, v *catalog.Version) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	switch {
	case st.Uid != v.Owner.UID || st.Gid != v.Owner.GID:
		return fmt.Errorf("%w: it has another owner", errChanged)
	case v.Ino != 0 && st.Ino != v.Ino:
		return fmt.Errorf("%w: it was replaced", errChanged)
	case !v.CTime.IsZero() && !v.CTime.Equal(time.Unix(st.Ctim.Unix())):
		return fmt.Errorf("%w: something was done to it", errChanged)
	}
	return nil
}

// readSpool fills p from the spool copy. ok is false when there is none, or no longer: a file that
// changed after it was opened, or that rotted, is not served, the caller goes on with the object.
func (f *File) readSpool(ctx context.Context, p []byte, off int64) (ok bool, err error) {
	f.mu.Lock()
	spool := f.spool
	f.mu.Unlock()
	if spool == nil {
		return false, nil
	}
	err = f.q.readShared(ctx, spool, p, off)
	if err == nil || spool.local && errors.Is(err, io.EOF) {
		// What was read counts only if the file is still the version now.
		if cerr := unchanged(spool.File, f.size, f.spoolTime); cerr != nil {
			err = cerr
		} else if err == nil {
			return true, nil
		}
	}
	if passing := changer.FaultOf(err).Passing(); ctx.Err() != nil || passing && !spool.local {
		return false, err // the file is as good as before
	} else if damaged := !spool.local && changer.FaultOf(err).OfFile() && unchanged(spool.File, f.size, f.spoolTime) == nil; damaged {
		f.q.noteRot(spool, off, err)
		if f.leaveSpool(ctx, spool) != nil { // what else is in it is good, and is still served
			return false, fmt.Errorf("%w: the copy in the spool is damaged: %w", ErrDamaged, err)
		}
		return false, nil
	} else if lerr := f.leaveSpool(ctx, spool); lerr != nil && passing {
		return false, err
	} else {
		f.q.log.Warn("spool copy no longer used", "version", f.id, "err", err)
		return false, lerr
	}
}

// leaveSpool makes the file read from its object from now on.
func (f *File) leaveSpool(ctx context.Context, spool *spoolFile) error {
	loc, err := f.q.db.Locate(ctx, f.id)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.spool != spool { // another reader was first
		return nil
	}
	if err := f.useObject(loc); err != nil {
		return err
	}
	f.spool = nil
	// Others may be reading from it: it is closed with the file.
	f.left = spool
	return nil
}
