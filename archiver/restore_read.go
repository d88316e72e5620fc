package archiver

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

	"tapefs/catalog"
	"tapefs/fs/recall"
)

// read works the tapes off, as many at once as there are drives; those in a drive come first.
func (r *restoration) read(ctx context.Context) (err error) {
	var tapes []*tapeList
	for _, t := range r.tapes {
		if err := t.list.sort(); err != nil {
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
	r.queue, err = recall.New(r.a.db, r.a.keys, r.a.lib, recall.Options{CacheMax: -1, SpoolDir: r.a.cfg.SpoolDir, Log: r.a.log,
		Surveyed: func(s catalog.Surveyed) {
			if err := r.a.db.RecordSurvey(context.WithoutCancel(ctx), s); err != nil {
				r.a.log.Warn("record sums of an imported file", "error", err)
			}
		},
		SpoolDamaged: func(id catalog.ID, why error) {
			if err := r.a.db.NoteSpoolRot(context.WithoutCancel(ctx), id, why); err != nil {
				r.a.log.Warn("record damage in the spool", "error", err)
			}
		},
		Damaged: func(cp catalog.CopyPart, lost bool, why error) {
			if err := r.a.db.FoundDamaged(context.WithoutCancel(ctx), cp, lost, cp.Size, why); err != nil {
				r.a.log.Warn("record damage", "error", err)
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
			buf := make([]byte, catalog.ExtentSize)
			for t := range todo {
				if err := r.readTape(ctx, t, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (r *restoration) readTape(ctx context.Context, t *tapeList, buf []byte) error {
	if t.barcode != "" {
		r.a.note("reading %d files (%d bytes) from %s", t.pieces, t.bytes, t.barcode)
	}
	read, parts := int64(0), 0
	for {
		_, val, ok, err := t.list.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		p, err := decodePiece(val)
		if err != nil {
			return err
		}
		n, err := r.readPiece(ctx, t, p, buf)
		if err != nil {
			return err
		}
		if read += n; n > 0 {
			parts++
		}
		r.a.stage("restore "+t.barcode, read, t.bytes)
	}
	if t.barcode == "" || parts == 0 {
		return nil
	}
	r.mu.Lock()
	r.sum.Tapes = append(r.sum.Tapes, t.barcode)
	r.mu.Unlock()
	tape, err := r.a.db.TapeByBarcode(ctx, t.barcode)
	if err != nil {
		return err
	}
	if err := r.a.db.Unwant(ctx, t.barcode, "restore"); err != nil {
		return err
	}
	return r.a.db.AddRunTape(ctx, r.run.ID, tape.ID, read, parts)
}

// readPiece reads a range of a file. What is wrong with the file is recorded; an error ends the restore.
func (r *restoration) readPiece(ctx context.Context, t *tapeList, p piece, buf []byte) (int64, error) {
	v, err := r.a.db.Get(ctx, p.id)
	if err != nil {
		return 0, err
	}
	dest, err := r.destOf(ctx, p.arg, p.id)
	if err != nil {
		return 0, err
	}
	as, err := r.assembly(p, dest, &v)
	if err == nil {
		err = r.copyPiece(ctx, as, p, buf)
	}
	if ctx.Err() != nil {
		r.drop(as)
		return 0, ctx.Err()
	}
	n := p.size
	if err != nil {
		n = 0
	}
	fatal := fatalWrite(err)
	if errors.Is(err, recall.ErrOffline) && t.barcode != "" {
		if !as.failed.Swap(true) {
			r.miss(t.barcode, &v)
		}
		err = nil
	}
	if as != nil && as.done(p) && !as.failed.Load() && err == nil {
		err = r.complete(as)
		fatal = fatal || fatalWrite(err)
	} else if as != nil && as.left.Load() == 0 {
		r.drop(as)
	}
	if err != nil {
		if as == nil || !as.failed.Swap(true) {
			r.fail(dest, err)
		}
		if as != nil && as.left.Load() == 0 {
			r.drop(as)
		}
	}
	if fatal {
		return 0, fmt.Errorf("write to %s: %w", r.o.To, err)
	}
	return n, nil
}

// fatalWrite: no other file will fare better.
func fatalWrite(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

func (r *restoration) copyPiece(ctx context.Context, as *assembly, p piece, buf []byte) error {
	if as.failed.Load() {
		return nil
	}
	in, err := r.queue.Open(ctx, p.id)
	if err != nil {
		return err
	}
	defer in.Close()
	for at, end := p.from, p.from+p.size; at < end; {
		part := buf[:min(int64(len(buf)), end-at)]
		n, err := in.ReadAt(ctx, part, at)
		if n < len(part) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := writeSparse(as.file, part, at); err != nil {
			return fmt.Errorf("write %s: %w", as.temp, err)
		}
		if p.of == 1 {
			as.sum.Write(part)
		}
		at += int64(n)
	}
	return nil
}

// complete checks the bytes' sum, gives the file its attributes and its name.
func (r *restoration) complete(as *assembly) error {
	if err := as.file.Truncate(as.v.Size); err != nil { // it may end in a hole
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

// present reports whether dest is the file already: it has the right size and sum or, where the catalog has no sum, the right time.
func (r *restoration) present(dest string, v *catalog.Version) (bool, error) {
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
