package recall

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"tapefs/catalog"
)

var errChanged = errors.New("the file is not the catalogued version any more")

// openSpool opens the bytes that wait in the spool, or lie in a source that is read in place.
// It returns nil without an error when no batch has them.
func (q *Queue) openSpool(loc catalog.Location) (*os.File, error) {
	b := loc.Batch
	if b == nil || b.State != catalog.Synced {
		return nil, nil
	}
	var root *os.Root
	var err error
	if b.Local {
		root, err = os.OpenRoot(b.Dir)
	} else {
		root, err = openBelow(q.o.SpoolDir, b.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open batch %d: %w", b.ID, err)
	}
	defer root.Close()
	// O_NONBLOCK: a fifo may have taken the place of a local file.
	f, err := root.OpenFile(loc.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open spool copy: %w", err)
	}
	if err := unchanged(f, loc.Version.Size, loc.Version.MTime); err != nil {
		f.Close()
		return nil, fmt.Errorf("open spool copy: %w", err)
	}
	return f, nil
}

func openBelow(dir, sub string) (*os.Root, error) {
	if dir == "" {
		return nil, errors.New("no spool folder is configured")
	}
	outer, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer outer.Close()
	return outer.OpenRoot(sub)
}

// unchanged checks that an open file has a version's size and modification time, to the nanosecond.
func unchanged(f *os.File, size int64, mtime catalog.Time) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	t := st.ModTime()
	if !st.Mode().IsRegular() || st.Size() != size || t.Unix() != mtime.Sec || t.Nanosecond() != int(mtime.Nsec) {
		return errChanged
	}
	return nil
}

// readSpool fills p from the spool copy. ok is false when there is none, or no longer: a file that
// changed after it was opened is not served, the caller goes on with the object.
func (f *File) readSpool(ctx context.Context, p []byte, off int64) (ok bool, err error) {
	f.mu.Lock()
	spool := f.spool
	f.mu.Unlock()
	if spool == nil {
		return false, nil
	}
	_, err = spool.ReadAt(p, off)
	if err == nil || errors.Is(err, io.EOF) {
		// What was read counts only if the file is still the version now.
		if cerr := unchanged(spool, f.size, f.spoolTime); cerr != nil {
			err = cerr
		} else if err == nil {
			return true, nil
		}
	}
	f.q.log.Warn("spool copy no longer used", "version", f.id, "err", err)
	return false, f.leaveSpool(ctx, spool)
}

// leaveSpool makes the file read from its object from now on.
func (f *File) leaveSpool(ctx context.Context, spool *os.File) error {
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
