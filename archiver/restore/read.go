package restore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall"
)

// read works the tapes off, as many at once as there are drives; those in a drive come first.
func (r *restoration) read(ctx context.Context) (err error) {
	var tapes []*tapeList
	for _, t := range r.tapes {
		if err := t.list.Sort(); err != nil {
			return err
		}
		tapes = append(tapes, t)
	}
	if len(tapes) == 0 {
		return nil
	}
	slices.SortFunc(tapes, func(a, b *tapeList) int {
		return cmp.Or(cmp.Compare(a.near, b.near), cmp.Compare(a.barcode, b.barcode))
	})
	// No cache on disk: what is restored once is not read again, and would push out what is.
	r.queue, err = recall.New(r.env.DB, r.env.Keys, r.env.Lib, recall.Options{CacheMax: -1, SpoolDir: r.env.Config.SpoolDir, Log: r.env.Log,
		Surveyed: func(s catalog.Surveyed) {
			if err := r.env.DB.RecordSurvey(context.WithoutCancel(ctx), s); err != nil {
				r.env.Log.Warn("record sums of an imported file", "err", err)
			}
		},
		Moved: func(moves []catalog.Move) {
			if err := r.env.DB.Moves().Record(context.WithoutCancel(ctx), moves); err != nil {
				r.env.Log.Warn("record what motions of a tape took", "err", err)
			}
		},
		SpoolDamaged: func(id catalog.ID, why error) {
			if err := r.env.DB.NoteSpoolRot(context.WithoutCancel(ctx), id, why); err != nil {
				r.env.Log.Warn("record damage in the spool", "err", err)
			}
		},
		Timed: func(list ...catalog.Timed) {
			if err := r.env.DB.AddTimed(context.WithoutCancel(ctx), list...); err != nil {
				r.env.Log.Debug("record how long the library took", "err", err)
			}
		},
		Damaged: func(cp catalog.CopyPart, lost bool, why error) {
			if err := r.env.DB.FoundDamaged(context.WithoutCancel(ctx), cp, lost, cp.Size, why); err != nil {
				r.env.Log.Warn("record damage", "err", err)
			}
		}})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() {
		err = errors.Join(err, r.queue.Close(context.WithoutCancel(ctx)))
		r.dropParted()
	}()
	workers := 1
	if r.inv != nil {
		workers = max(1, len(r.inv.Drives))
	}
	todo := make(chan *tapeList)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(todo)
		for _, t := range tapes {
			select {
			case todo <- t:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(workers, len(tapes)) {
		g.Go(func() error {
			for t := range todo {
				if err := r.readTape(ctx, t); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// Files that lie in one extent or two are read by several goroutines at once: to make a small file takes longer than to read
// it. Larger ones go alone, so that the drive never runs to and fro between two of them.
const (
	smallPiece  = catalog.ExtentSize // bytes
	smallAtOnce = 4
)

// planAhead is how many pieces of a tape's list are looked up in the catalog at once.
const planAhead = 256

// readTape reads what is wanted of one tape, or of the spool, in the order in which it lies there.
func (r *restoration) readTape(ctx context.Context, t *tapeList) error {
	if t.barcode != "" {
		r.env.Note("reading %d files (%d bytes) from %s", t.pieces, t.bytes, t.barcode)
	}
	reading := &tapeReading{r: r, t: t, where: newPlacements(r.env.DB), dirs: map[dirKey]string{}, bufs: make(chan []byte, smallAtOnce)}
	for range smallAtOnce {
		reading.bufs <- nil // made when it is first needed
	}
	for {
		some, err := t.nextPieces(planAhead)
		if err == nil && len(some) > 0 {
			err = reading.pieces(ctx, some)
		}
		if err != nil {
			return err
		}
		if len(some) < planAhead {
			break
		}
	}
	if t.barcode == "" || reading.count.Load() == 0 {
		return nil
	}
	r.mu.Lock()
	r.sum.Tapes = append(r.sum.Tapes, t.barcode)
	r.mu.Unlock()
	tape, err := r.env.DB.TapeByBarcode(ctx, t.barcode)
	if err != nil {
		return err
	}
	if err := r.env.DB.Unwant(ctx, t.barcode, "restore"); err != nil {
		return err
	}
	return r.env.DB.AddRunTape(ctx, r.run.ID, tape.ID, reading.bytes.Load(), int(reading.count.Load()))
}

func (t *tapeList) nextPieces(n int) ([]piece, error) {
	var some []piece
	for len(some) < n {
		_, val, ok, err := t.list.Next()
		if err != nil || !ok {
			return some, err
		}
		p, err := decodePiece(val)
		if err != nil {
			return some, err
		}
		some = append(some, p)
	}
	return some, nil
}

// fatalWrite: no other file will fare better.
func fatalWrite(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// complete checks the bytes' sum, gives the file its attributes and its name.
func (r *restoration) complete(as *assembly) error {
	if err := as.stretch(); err != nil {
		return fmt.Errorf("give %s its size: %w", as.temp, err)
	}
	if len(as.v.SHA256) > 0 {
		if as.of > 1 { // its pieces came in another order
			if _, err := io.Copy(as.sum, io.NewSectionReader(as.file, 0, as.v.Size)); err != nil {
				return fmt.Errorf("read %s again: %w", as.temp, err)
			}
		}
		if !bytes.Equal(as.sum.Sum(nil), as.v.SHA256) {
			return errors.New("its SHA-256 differs from the catalog's: it is not restored")
		}
	}
	if err := r.place(as); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Files++
	r.sum.Bytes += as.v.Size
	r.linkable(&as.v)
	return nil
}

// linkable notes that a hard-linked file's first name is there. Called with the lock held.
func (r *restoration) linkable(v *catalog.Version) {
	if p := r.primaries[v.Inode]; p != nil && p.id == v.ID {
		p.done = true
	}
}

// absent reports whether nothing stands at dest, as is usual. False does not mean that something does.
func (r *restoration) absent(dest string) bool {
	dir, name, err := r.dirs.parent(dest)
	if err != nil {
		return false
	}
	defer dir.release()
	var st unix.Stat_t
	return errors.Is(unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW), unix.ENOENT)
}

// present reports whether dest is the file already: it has the right size and sum or, where the catalog has no sum, the right time.
func (r *restoration) present(dest string, v *catalog.Version) (bool, error) {
	if r.absent(dest) {
		return false, nil
	}
	info, err := r.root.Lstat(dest)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t := info.ModTime()
	same := info.Mode().IsRegular() && info.Size() == v.Size
	switch {
	case !same || v.Size == 0:
	case len(v.SHA256) == 0:
		same = t.Unix() == v.MTime.Sec && t.Nanosecond() == int(v.MTime.Nsec)
	default:
		f, err := r.openThere(dest, info)
		if err != nil {
			return false, err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, f); err != nil {
			return false, err
		}
		same = bytes.Equal(sum.Sum(nil), v.SHA256)
	}
	if !same && info.IsDir() {
		return false, errors.New("a directory is in its place")
	}
	if !same && !r.o.Overwrite {
		return false, errors.New("another file is in its place; --overwrite replaces it")
	}
	return same, nil
}
