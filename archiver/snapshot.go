package archiver

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"tapefs/archiver/pack"
	"tapefs/archiver/volume"
	"tapefs/catalog"
)

const (
	// snapshotEvery: a snapshot is due when this many times its size went to the pool since the last.
	snapshotEvery = 20
	// snapshotTime is the time in a snapshot's name, UTC.
	snapshotTime = "20060102T150405.000Z"
	// snapshotPrefix begins the names of scratch folders in the spool.
	snapshotPrefix = "snapshot-"
	// snapshotHeader is the first line under a snapshot's MAC.
	snapshotHeader = "tapefs-catalog 1"
)

// snapshot writes the catalog to the mounted tape when it is due, or the tape is full and lacks one.
func (w *writer) snapshot(ctx context.Context, full bool) (err error) {
	ctx = context.WithoutCancel(ctx)
	pools, err := w.a.env.DB.Pools(ctx)
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	var unsnapped int64
	for _, p := range pools {
		if p.Name == w.pool.Name {
			unsnapped = p.Unsnapped
		}
	}
	if unsnapped == 0 && !w.mustSnap {
		return nil
	}
	dir, err := os.MkdirTemp(w.a.env.Config.SpoolDir, snapshotPrefix)
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if !full { // the size of the file is a guide good enough to decide without a copy of it
		if size, err := w.a.catalogSize(ctx); err == nil && unsnapped <= snapshotEvery*size {
			return nil
		}
	}
	file := filepath.Join(dir, "catalog.db")
	if err := w.a.env.DB.Snapshot(ctx, file); err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	if !full && unsnapped <= snapshotEvery*info.Size() {
		return nil
	}
	free, err := w.volume.Free()
	if err != nil || free < info.Size()+info.Size()/8+volume.MaxReserve/volume.ReserveDivide {
		w.a.env.Log.Warn("no room for a catalog snapshot", "tape", w.tape.Barcode, "free", free, "size", info.Size())
		return nil
	}
	return w.putSnapshot(ctx, file, info.Size())
}

// catalogSize is about how many bytes a snapshot takes.
func (a *Archiver) catalogSize(ctx context.Context) (int64, error) {
	files, _, err := a.env.DB.Totals(ctx)
	return files * 200, err // docs/measured.md: 132 bytes a row and its indexes
}

// putSnapshot seals a catalog file onto the mounted tape, with its MAC beside it.
func (w *writer) putSnapshot(ctx context.Context, file string, size int64) error {
	now := time.Now().UTC()
	key, row, err := w.a.env.SealKey(ctx)
	if err != nil {
		return err
	}
	salt, err := w.a.env.DB.DrawSalt(ctx, row.ID, "snapshot")
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	stream, err := key.Stream(salt)
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	name := "tapefs/" + row.Fingerprint + "/catalog-" + now.Format(snapshotTime) + ".tar.enc"
	text := snapshotText(w.a.env.DB.UUID(), w.tape.UUID, now)
	mac := key.ManifestMAC(text)
	w.a.env.Note("writing the catalog to %s", w.tape.Barcode)
	var written int64
	_, err = w.putFile(ctx, name, func(f *os.File) (catalog.Part, error) {
		out := &countWriter{w: f}
		sealed, err := stream.NewWriter(io.MultiWriter(out, mac))
		if err == nil {
			err = tarFile(sealed, file, "catalog.db", size, now)
		}
		written = out.n
		if err != nil && out.err != nil {
			err = &pack.WriteError{Err: err}
		}
		return catalog.Part{}, err
	})
	if err != nil {
		return fmt.Errorf("write a catalog snapshot to tape %s: %w", w.tape.Barcode, err)
	}
	sum := mac.Sum(nil)
	_, err = w.putFile(ctx, macName(name), func(f *os.File) (catalog.Part, error) {
		_, err := f.Write(fmt.Appendf(text, "mac=%x\n", sum))
		if err != nil {
			err = &pack.WriteError{Err: err}
		}
		return catalog.Part{}, err
	})
	if err != nil {
		return fmt.Errorf("write the MAC of a catalog snapshot to tape %s: %w", w.tape.Barcode, err)
	}
	if err := w.a.env.DB.AddSnapshot(ctx, w.tape.ID, name, written, sum); err != nil {
		return fmt.Errorf("record a catalog snapshot: %w", err)
	}
	w.unsynced += written
	w.mustSnap = false
	return nil
}

// snapshotText is what a snapshot's MAC is over, before the sealed bytes: an older snapshot under a newer
// one's name does not hold.
func snapshotText(catalog, volume string, at time.Time) []byte {
	return fmt.Appendf(nil, "%s\ncatalog=%s\nvolume=%s\ntime=%s\n", snapshotHeader, catalog, volume, at.UTC().Format(snapshotTime))
}

// tarFile writes one file as a whole tar archive.
func tarFile(w io.Writer, path, name string, size int64, at time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header, err := pack.TarHeader(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size, ModTime: at})
	if err == nil {
		_, err = w.Write(header)
	}
	if err == nil {
		_, err = io.CopyN(w, f, size)
	}
	if err == nil {
		_, err = w.Write(bytes.Repeat([]byte{0}, int(pack.Padded(size)-size)+pack.TarEnd))
	}
	return err
}

// countWriter counts what went through and remembers the writer's error.
type countWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
