package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// spoolFree is what may be put into the spool now, bytes: a tenth of its file system stays free. all is what is free. A spool on a disk that is
// nearly full of other things still takes a little: a tenth of that.
func (s *Spool) spoolFree() (free, all int64, err error) {
	if err := os.MkdirAll(s.env.Config.SpoolDir, 0o700); err != nil {
		return 0, 0, fmt.Errorf("make the spool: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.env.Config.SpoolDir, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the spool's file system: %w", err)
	}
	all = int64(st.Bavail) * st.Bsize
	return max(all-int64(st.Blocks)/10*st.Bsize, all/10), all, nil
}

// Has is what the spool could hold if nothing were in it, bytes.
func (s *Spool) Has(ctx context.Context) (int64, error) {
	free, _, err := s.spoolFree()
	if err != nil {
		return 0, err
	}
	open, err := s.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, err
	}
	for _, b := range open {
		free += s.onDisk(b)
	}
	return free, nil
}

// onDisk is what a batch takes of the disk now, bytes; what cannot be looked at takes nothing.
func (s *Spool) onDisk(b catalog.Batch) (total int64) {
	dir, err := s.BatchRoot(b)
	if err != nil || b.Local {
		return 0
	}
	for _, top := range []string{dir, dir + FetchSuffix} {
		_ = filepath.WalkDir(top, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if info, err := d.Info(); err == nil {
				if st, ok := info.Sys().(*syscall.Stat_t); ok {
					total += st.Blocks * 512
				}
			}
			return nil
		})
	}
	return total
}

// Max is what the spool may hold in all, bytes: what was configured, or what leaves 10 % of its file system free.
func (s *Spool) Max(ctx context.Context) (int64, error) {
	if s.env.Config.SpoolMax > 0 {
		return s.env.Config.SpoolMax, nil
	}
	return s.Has(ctx)
}

// Fits reports whether a batch may be fetched now: it has room on the disk beside what else is being fetched, and either the
// spool may hold it beside the other batches, or there is none to wait for. Ask again whenever a batch was released or fetched.
func (s *Spool) Fits(ctx context.Context, b catalog.Batch) (bool, error) {
	if b.Local {
		return true, nil
	}
	use, err := s.spoolUseBut(ctx, b.ID)
	if err != nil || s.env.Config.SpoolMax > 0 && use > 0 && use+b.Bytes > s.env.Config.SpoolMax {
		return false, err
	}
	return s.diskFits(ctx, b)
}

// MayGoOn is Fits for a batch that waits while nothing is being fetched and nothing can be released: of those that were begun
// the oldest goes on though the spool may hold less than it did then, for otherwise each would wait for the other one.
func (s *Spool) MayGoOn(ctx context.Context, b catalog.Batch) (bool, error) {
	open, err := s.env.DB.OpenBatches(ctx)
	if err != nil {
		return false, err
	}
	begun := false
	for _, o := range open {
		if o.Local || o.State != catalog.Fetching || !s.begun(o) {
			continue
		}
		if o.ID < b.ID {
			return s.Fits(ctx, b)
		}
		begun = begun || o.ID == b.ID
	}
	if !begun {
		return s.Fits(ctx, b)
	}
	return s.diskFits(ctx, b)
}

// begun reports whether something of a batch was fetched.
func (s *Spool) begun(b catalog.Batch) bool {
	dir, err := s.BatchRoot(b)
	if err != nil {
		return false
	}
	_, err = os.Lstat(dir)
	return !errors.Is(err, fs.ErrNotExist)
}

// diskFits reports whether the spool's disk has room for what is missing of a batch, beside what is missing of those that are being fetched.
func (s *Spool) diskFits(ctx context.Context, b catalog.Batch) (bool, error) {
	free, _, err := s.spoolFree()
	if err != nil {
		return false, err
	}
	others, err := s.fetchedElsewhere(ctx)
	if err != nil {
		return false, err
	}
	for id, o := range s.Fetching.All() {
		if id != b.ID {
			others += max(0, o.Bytes-s.onDisk(o))
		}
	}
	return b.Bytes-s.onDisk(b) <= free-others, nil
}

// fetchedElsewhere is what other processes are still about to bring into the spool, bytes.
func (s *Spool) fetchedElsewhere(ctx context.Context) (total int64, err error) {
	open, err := s.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, err
	}
	sources, err := s.env.DB.Sources(ctx)
	if err != nil {
		return 0, err
	}
	names := map[int64]string{}
	for _, s := range sources {
		names[s.ID] = s.Name
	}
	busy := map[int64]bool{}
	for _, b := range open {
		name := names[b.Source]
		if s.env.HoldsSource(name) || b.Local || b.State != catalog.Fetching {
			continue
		}
		has := s.onDisk(b)
		if has == 0 {
			continue // not begun
		}
		if _, asked := busy[b.Source]; !asked {
			unlock, err := s.env.LockSource(name)
			if err == nil {
				unlock() // a run that died left it
			}
			busy[b.Source] = errors.Is(err, job.ErrLocked)
		}
		if busy[b.Source] {
			total += max(0, b.Bytes-has)
		}
	}
	return total, nil
}

// TooLargeError is what one fetch brings and an empty spool could not hold.
type TooLargeError struct{ need, has int64 } // bytes

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("it needs %s in the spool, whose disk has room for %s", humanize.IBytes(uint64(e.need)), humanize.IBytes(uint64(max(e.has, 0))))
}

// TooLarge says of what one fetch brings, bytes, that it could not even lie in an empty spool.
func TooLarge(need, has int64) error {
	if need <= has {
		return nil
	}
	return &TooLargeError{need, has}
}

// GiveUpBatch gives up what is still to be fetched of a batch that the spool cannot hold. The next listing plans it anew, as the
// spool is now.
func (s *Spool) GiveUpBatch(ctx context.Context, run catalog.Run, b catalog.Batch) error {
	f := fetcher{s}
	w, err := f.batchWork(ctx, b)
	if err != nil {
		return err
	}
	files := make([]catalog.Fetched, len(w.files))
	for i, it := range w.files {
		files[i] = catalog.Fetched{Version: it.ID, Gone: true}
	}
	if err := s.env.DB.MarkFetched(ctx, run.ID, b.ID, files, time.Now()); err != nil {
		return err
	}
	if err := f.dropEmpty(ctx, w, files); err != nil {
		return err
	}
	if len(w.marked) == 0 {
		if err := s.RemoveBatch(b); err != nil {
			return err
		}
	} else if dir, err := s.BatchRoot(b); err != nil {
		return err
	} else if err := os.RemoveAll(dir + FetchSuffix); err != nil {
		return fmt.Errorf("remove what a fetch left: %w", err)
	}
	return s.env.DB.SetBatchState(ctx, b.ID, catalog.Synced, w.bytes)
}

// spareDisk is what a failed fetch must leave free of the spool's disk, bytes, to stay there to be gone on with.
const spareDisk = 16 << 20

// ErrNoRoom: the spool is full, and stays so in this run.
var ErrNoRoom = errors.New("the spool is full, and what is in it cannot be written")
