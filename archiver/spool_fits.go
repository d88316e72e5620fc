package archiver

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

	"tapefs/catalog"
)

// spoolFree is what may be put into the spool now, bytes: a tenth of its file system stays free. all is what is free. A spool on a disk that is
// nearly full of other things still takes a little: a tenth of that.
func (a *Archiver) spoolFree() (free, all int64, err error) {
	if err := os.MkdirAll(a.env.Config.SpoolDir, 0o700); err != nil {
		return 0, 0, fmt.Errorf("make the spool: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(a.env.Config.SpoolDir, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the spool's file system: %w", err)
	}
	all = int64(st.Bavail) * st.Bsize
	return max(all-int64(st.Blocks)/10*st.Bsize, all/10), all, nil
}

// spoolHas is what the spool could hold if nothing were in it, bytes.
func (a *Archiver) spoolHas(ctx context.Context) (int64, error) {
	free, _, err := a.spoolFree()
	if err != nil {
		return 0, err
	}
	open, err := a.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, err
	}
	for _, b := range open {
		free += a.onDisk(b)
	}
	return free, nil
}

// onDisk is what a batch takes of the disk now, bytes; what cannot be looked at takes nothing.
func (a *Archiver) onDisk(b catalog.Batch) (total int64) {
	dir, err := a.batchRoot(b)
	if err != nil || b.Local {
		return 0
	}
	for _, top := range []string{dir, dir + fetchSuffix} {
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

// spoolMax is what the spool may hold in all, bytes: what was configured, or what leaves 10 % of its file system free.
func (a *Archiver) spoolMax(ctx context.Context) (int64, error) {
	if a.env.Config.SpoolMax > 0 {
		return a.env.Config.SpoolMax, nil
	}
	return a.spoolHas(ctx)
}

// spoolFits reports whether a batch may be fetched now: it has room on the disk beside what else is being fetched, and either the
// spool may hold it beside the other batches, or there is none to wait for. Ask again whenever a batch was released or fetched.
func (a *Archiver) spoolFits(ctx context.Context, b catalog.Batch) (bool, error) {
	if b.Local {
		return true, nil
	}
	use, err := a.spoolUseBut(ctx, b.ID)
	if err != nil || a.env.Config.SpoolMax > 0 && use > 0 && use+b.Bytes > a.env.Config.SpoolMax {
		return false, err
	}
	return a.diskFits(ctx, b)
}

// mayGoOn is spoolFits for a batch that waits while nothing is being fetched and nothing can be released: of those that were begun
// the oldest goes on though the spool may hold less than it did then, for otherwise each would wait for the other one.
func (a *Archiver) mayGoOn(ctx context.Context, b catalog.Batch) (bool, error) {
	open, err := a.env.DB.OpenBatches(ctx)
	if err != nil {
		return false, err
	}
	begun := false
	for _, o := range open {
		if o.Local || o.State != catalog.Fetching || !a.begun(o) {
			continue
		}
		if o.ID < b.ID {
			return a.spoolFits(ctx, b)
		}
		begun = begun || o.ID == b.ID
	}
	if !begun {
		return a.spoolFits(ctx, b)
	}
	return a.diskFits(ctx, b)
}

// begun reports whether something of a batch was fetched.
func (a *Archiver) begun(b catalog.Batch) bool {
	dir, err := a.batchRoot(b)
	if err != nil {
		return false
	}
	_, err = os.Lstat(dir)
	return !errors.Is(err, fs.ErrNotExist)
}

// diskFits reports whether the spool's disk has room for what is missing of a batch, beside what is missing of those that are being fetched.
func (a *Archiver) diskFits(ctx context.Context, b catalog.Batch) (bool, error) {
	free, _, err := a.spoolFree()
	if err != nil {
		return false, err
	}
	others, err := a.fetchedElsewhere(ctx)
	if err != nil {
		return false, err
	}
	for id, o := range a.fetching.all() {
		if id != b.ID {
			others += max(0, o.Bytes-a.onDisk(o))
		}
	}
	return b.Bytes-a.onDisk(b) <= free-others, nil
}

// fetchedElsewhere is what other processes are still about to bring into the spool, bytes.
func (a *Archiver) fetchedElsewhere(ctx context.Context) (total int64, err error) {
	open, err := a.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, err
	}
	sources, err := a.env.DB.Sources(ctx)
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
		if a.env.HoldsSource(name) || b.Local || b.State != catalog.Fetching {
			continue
		}
		has := a.onDisk(b)
		if has == 0 {
			continue // not begun
		}
		if _, asked := busy[b.Source]; !asked {
			unlock, err := a.env.LockSource(name)
			if err == nil {
				unlock() // a run that died left it
			}
			busy[b.Source] = errors.Is(err, ErrLocked)
		}
		if busy[b.Source] {
			total += max(0, b.Bytes-has)
		}
	}
	return total, nil
}

// tooLargeError is what one fetch brings and an empty spool could not hold.
type tooLargeError struct{ need, has int64 } // bytes

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("it needs %s in the spool, whose disk has room for %s", humanize.IBytes(uint64(e.need)), humanize.IBytes(uint64(max(e.has, 0))))
}

// tooLarge says of what one fetch brings, bytes, that it could not even lie in an empty spool.
func tooLarge(need, has int64) error {
	if need <= has {
		return nil
	}
	return &tooLargeError{need, has}
}

// giveUpBatch gives up what is still to be fetched of a batch that the spool cannot hold. The next listing plans it anew, as the
// spool is now.
func (a *Archiver) giveUpBatch(ctx context.Context, run catalog.Run, b catalog.Batch) error {
	w, err := a.batchWork(ctx, b)
	if err != nil {
		return err
	}
	files := make([]catalog.Fetched, len(w.files))
	for i, it := range w.files {
		files[i] = catalog.Fetched{Version: it.ID, Gone: true}
	}
	if err := a.env.DB.MarkFetched(ctx, run.ID, b.ID, files, time.Now()); err != nil {
		return err
	}
	if err := a.dropEmpty(ctx, w, files); err != nil {
		return err
	}
	if len(w.marked) == 0 {
		if err := a.removeBatch(b); err != nil {
			return err
		}
	} else if dir, err := a.batchRoot(b); err != nil {
		return err
	} else if err := os.RemoveAll(dir + fetchSuffix); err != nil {
		return fmt.Errorf("remove what a fetch left: %w", err)
	}
	return a.env.DB.SetBatchState(ctx, b.ID, catalog.Synced, w.bytes)
}

// spareDisk is what a failed fetch must leave free of the spool's disk, bytes, to stay there to be gone on with.
const spareDisk = 16 << 20

// errNoRoom: the spool is full, and stays so in this run.
var errNoRoom = errors.New("the spool is full, and what is in it cannot be written")
