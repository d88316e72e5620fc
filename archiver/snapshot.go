package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// snapshotEvery: a snapshot is due when this many times its size went to the pool since the last.
const snapshotEvery = 20

// snapshot writes the catalog to the mounted tape when it is due, or the tape is full and lacks one.
func (j *journal) snapshot(ctx context.Context, full bool) (err error) {
	ctx = context.WithoutCancel(ctx)
	pools, err := j.env.DB.Pools(ctx)
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	var unsnapped int64
	for _, p := range pools {
		if p.Name == j.session.pool.Name {
			unsnapped = p.Unsnapped
		}
	}
	if unsnapped == 0 && !j.mustSnap {
		return nil
	}
	dir, err := os.MkdirTemp(j.env.Config.SpoolDir, spool.SnapshotPrefix)
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if !full { // the size of the file is a guide good enough to decide without a copy of it
		if size, err := catalogSize(ctx, j.env.DB); err == nil && unsnapped <= snapshotEvery*size {
			return nil
		}
	}
	file := filepath.Join(dir, "catalog.db")
	if err := j.env.DB.Snapshot(ctx, file); err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	if !full && unsnapped <= snapshotEvery*info.Size() {
		return nil
	}
	free, err := j.session.volume.Free()
	if err != nil || free < info.Size()+info.Size()/8+volume.MaxReserve/volume.ReserveDivide {
		j.env.Log.Warn("no room for a catalog snapshot", "tape", j.session.tape.Barcode, "free", free, "size", info.Size())
		return nil
	}
	return j.putSnapshot(ctx, file, info.Size())
}

// catalogSize is about how many bytes a snapshot takes.
func catalogSize(ctx context.Context, db *catalog.DB) (int64, error) {
	files, _, err := db.Totals(ctx)
	return files * 200, err // docs/measured.md: 132 bytes a row and its indexes
}

// putSnapshot seals a catalog file onto the mounted tape, with its MAC beside it.
func (j *journal) putSnapshot(ctx context.Context, file string, size int64) error {
	key, row, err := j.env.SealKey(ctx)
	if err != nil {
		return err
	}
	salt, err := j.env.DB.DrawSalt(ctx, row.ID, "snapshot")
	if err != nil {
		return fmt.Errorf("write a catalog snapshot: %w", err)
	}
	s := manifest.Snapshot{File: file, Size: size, Catalog: j.env.DB.UUID(), Volume: j.session.tape.UUID, At: time.Now().UTC()}
	name := s.Name(row.Fingerprint)
	j.env.Note("writing the catalog to %s", j.session.tape.Barcode)
	var written int64
	var mac []byte
	_, err = j.session.putFile(ctx, name, func(f *os.File) (_ catalog.Part, err error) {
		written, mac, err = s.Seal(f, key, salt)
		return catalog.Part{}, err
	})
	if err != nil {
		return fmt.Errorf("write a catalog snapshot to tape %s: %w", j.session.tape.Barcode, err)
	}
	_, err = j.session.putFile(ctx, manifest.MacName(name), func(f *os.File) (catalog.Part, error) {
		_, err := f.Write(s.Proof(mac))
		if err != nil {
			err = &pack.WriteError{Err: err}
		}
		return catalog.Part{}, err
	})
	if err != nil {
		return fmt.Errorf("write the MAC of a catalog snapshot to tape %s: %w", j.session.tape.Barcode, err)
	}
	if err := j.env.DB.AddSnapshot(ctx, j.session.tape.ID, name, written, mac); err != nil {
		return fmt.Errorf("record a catalog snapshot: %w", err)
	}
	j.session.unsynced += written
	j.mustSnap = false
	return nil
}
