package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall"
)

// tapeReading is the reading of one tape's list.
type tapeReading struct {
	r     *restoration
	t     *tapeList
	where placements
	dirs  map[dirKey]string // where the directories that were met last go to
	bufs  chan []byte       // one for each goroutine; nil until it is first needed

	bytes, count atomic.Int64 // of pieces that were read
}

type dirKey struct {
	arg int
	dir catalog.ID
}

// maxDirs bounds the directories whose places are remembered.
const maxDirs = 1024

// pieces reads some pieces of the list. What is wrong with a file is recorded; an error ends the restore.
func (tr *tapeReading) pieces(ctx context.Context, some []piece) error {
	known := make(map[catalog.ID]catalog.Version, len(some))
	ids := make([]catalog.ID, len(some))
	for i, p := range some {
		ids[i] = p.id
	}
	if err := tr.r.env.DB.GetEach(ctx, ids, func(v *catalog.Version) error { known[v.ID] = *v; return nil }); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(smallAtOnce)
	for _, p := range some {
		v, ok := known[p.id]
		if !ok {
			return errors.Join(g.Wait(), fmt.Errorf("version %d: %w", p.id, catalog.ErrNotFound))
		}
		w, err := tr.wanted(ctx, p, v)
		if err != nil {
			return errors.Join(g.Wait(), err)
		}
		if p.size <= smallPiece && p.of == 1 {
			g.Go(func() error { return tr.one(gctx, w) })
			continue
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := tr.one(ctx, w); err != nil {
			return err
		}
		g, gctx = errgroup.WithContext(ctx)
		g.SetLimit(smallAtOnce)
	}
	return g.Wait()
}

// wantedPiece is a piece with all that is known of it.
type wantedPiece struct {
	piece
	v    catalog.Version
	dest string
	loc  catalog.Location // Object.ID 0: to be looked up when it is opened
}

func (tr *tapeReading) wanted(ctx context.Context, p piece, v catalog.Version) (w wantedPiece, err error) {
	w = wantedPiece{piece: p, v: v}
	if w.dest, err = tr.destOf(ctx, p.arg, &v); err != nil {
		return w, err
	}
	if tr.t.barcode == "" {
		return w, nil // the spool may have released it meanwhile
	}
	if w.loc, err = tr.where.in(ctx, &v, p.object, p.data); err != nil {
		return w, err
	}
	w.loc.Version = v
	w.loc.Version.ID = v.Data
	return w, nil
}

// destOf is where a version goes; directories are asked for once.
func (tr *tapeReading) destOf(ctx context.Context, arg int, v *catalog.Version) (string, error) {
	key := dirKey{arg, v.Parent}
	if dir, ok := tr.dirs[key]; ok && !unsafeName(v.Name) && !strings.Contains(v.Name, "/") {
		return strings.TrimPrefix(dir+"/"+v.Name, "./"), nil
	}
	dest, err := tr.r.destOf(ctx, arg, v.ID)
	if err != nil {
		return "", err
	}
	if len(tr.dirs) >= maxDirs {
		clear(tr.dirs)
	}
	if path.Base(dest) == v.Name {
		tr.dirs[key] = path.Dir(dest)
	}
	return dest, nil
}

// one reads one piece, and makes its file whole if it is the last.
func (tr *tapeReading) one(ctx context.Context, w wantedPiece) error {
	buf := <-tr.bufs
	defer func() { tr.bufs <- buf }()
	if need := int(min(catalog.ExtentSize, w.size)); len(buf) < need {
		buf = make([]byte, need)
	}
	n, err := tr.r.readPiece(ctx, tr.t, &w, buf)
	if err != nil {
		return err
	}
	if n > 0 {
		tr.count.Add(1)
	}
	tr.r.env.Stage("restore "+tr.t.barcode, tr.bytes.Add(n), tr.t.bytes)
	return nil
}

// readPiece reads a range of a file. What is wrong with the file is recorded; an error ends the restore.
func (r *restoration) readPiece(ctx context.Context, t *tapeList, w *wantedPiece, buf []byte) (int64, error) {
	as, err := r.assembly(w.piece, w.dest, &w.v)
	if err == nil {
		err = r.copyPiece(ctx, as, w, buf)
	}
	if ctx.Err() != nil {
		r.drop(as)
		return 0, ctx.Err()
	}
	n := w.size
	if err != nil {
		n = 0
	}
	fatal := fatalWrite(err)
	if errors.Is(err, recall.ErrOffline) && t.barcode != "" {
		if !as.failed.Swap(true) {
			r.miss(t.barcode, &w.v)
		}
		err = nil
	}
	if as.done(w.piece) && !as.failed.Load() && err == nil {
		err = r.complete(as)
		fatal = fatal || fatalWrite(err)
	} else if as.left.Load() == 0 {
		r.drop(as)
	}
	if err != nil {
		if !as.failed.Swap(true) {
			r.fail(w.dest, err)
		}
		if as.left.Load() == 0 {
			r.drop(as)
		}
	}
	if fatal {
		return 0, fmt.Errorf("write to %s: %w", r.o.To, err)
	}
	return n, nil
}

func (r *restoration) copyPiece(ctx context.Context, as *assembly, w *wantedPiece, buf []byte) error {
	if as.failed.Load() {
		return nil
	}
	in, err := r.open(ctx, w)
	if err != nil {
		return err
	}
	defer in.Close()
	for at, end := w.from, w.from+w.size; at < end; {
		part := buf[:min(int64(len(buf)), end-at)]
		n, err := in.ReadAt(ctx, part, at)
		if n < len(part) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := localfs.WriteSparse(as.file, part, at); err != nil {
			return fmt.Errorf("write %s: %w", as.temp, err)
		}
		if w.of == 1 {
			as.sum.Write(part)
		}
		at += int64(n)
	}
	return nil
}

// open opens a piece's version where it was a moment ago, or looks for it anew.
func (r *restoration) open(ctx context.Context, w *wantedPiece) (*recall.File, error) {
	if w.loc.Object.ID != 0 {
		if in, err := r.queue.OpenAt(ctx, w.id, w.loc); err == nil {
			return in, nil
		}
	}
	return r.queue.Open(ctx, w.id)
}
