package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"

	"tapefs/archiver/job"
	"tapefs/catalog"
)

// errSome ends an iteration that only asks whether there is anything.
var errSome = errors.New("there is one")

// unnamed reports whether a tape has written parts that no manifest names, or other tapes of its pool have safe ones.
func (w *writer) unnamed(ctx context.Context, tape int64) (bool, error) {
	some := func(*catalog.ManifestPart) error { return errSome }
	err := w.a.env.DB.Unmanifested(ctx, tape, some)
	if err == nil {
		err = w.a.env.DB.UnnamedElsewhere(ctx, tape, some)
	}
	if err != nil && !errors.Is(err, errSome) {
		return false, fmt.Errorf("look for parts that no manifest names: %w", err)
	}
	return err != nil, nil
}

// unjournalled tells whether the catalog has changes that the pool's manifests do not name.
func (w *writer) unjournalled(ctx context.Context, after int64) (bool, error) {
	err := w.a.env.DB.Changes(ctx, after, func(*catalog.Change) error { return errSome })
	if err != nil && !errors.Is(err, errSome) {
		return false, fmt.Errorf("look for changes that no manifest names: %w", err)
	}
	return err != nil, nil
}

// poolRow is the mounted tape's pool.
func (w *writer) poolRow(ctx context.Context) (catalog.Pool, error) {
	pool, err := w.a.env.DB.EnsurePool(ctx, w.pool.Name)
	if err != nil {
		return catalog.Pool{}, fmt.Errorf("look for pool %s: %w", w.pool.Name, err)
	}
	return pool, nil
}

// pending tells whether a sync has anything to do: bytes written, or a manifest to write.
func (w *writer) pending(ctx context.Context) (bool, error) {
	if w.volume == nil {
		return false, nil
	}
	if w.unsynced > 0 {
		return true, nil
	}
	return w.toJournal(ctx)
}

// toJournal tells whether the mounted tape wants a manifest.
func (w *writer) toJournal(ctx context.Context) (bool, error) {
	if w.stuck {
		return false, nil
	}
	if w.again != nil {
		return true, nil
	}
	if some, err := w.unnamed(ctx, w.tape.ID); err != nil || some {
		return some, err
	}
	pool, err := w.poolRow(ctx)
	if err != nil {
		return false, err
	}
	return w.unjournalled(ctx, pool.Journalled)
}

// journal writes a manifest of what none names yet to the mounted tape. Errors of the tape are
// *writeError. The manifest is safe after the next sync.
func (w *writer) journal(ctx context.Context) error {
	some, err := w.toJournal(ctx)
	if err != nil || !some {
		return err
	}
	pool, err := w.poolRow(ctx)
	if err != nil {
		return err
	}
	previous, err := w.a.env.DB.LastManifest(ctx, w.tape.ID)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("look for the last manifest of tape %s: %w", w.tape.Barcode, err)
	}
	key, row, err := w.a.env.SealKey(ctx)
	if err != nil {
		return err
	}
	salt, err := w.a.env.DB.DrawSalt(ctx, row.ID, "manifest")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := os.MkdirAll(w.a.env.Config.SpoolDir, 0o700); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if w.lastSeq, err = w.nextSeq(ctx); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	after := pool.Journalled
	if w.again != nil {
		after = min(after, *w.again)
	}
	m, parts, err := writeManifest(ctx, manifestInput{DB: w.a.env.DB, Dir: w.volume.Dir, Key: key, Salt: salt,
		DrawSalt: func() ([]byte, error) { return w.a.env.DB.DrawSalt(ctx, row.ID, "links") },
		Label: TapeLabel{Catalog: w.a.env.DB.UUID(), Volume: w.tape.UUID, Pool: w.pool.Name, Number: w.tape.Number, Barcode: w.tape.Barcode,
			Formatted: w.tape.Formatted, Version: w.a.env.Config.Version},
		Tape: w.tape, Previous: previous, Seq: w.lastSeq, After: after, Scratch: w.a.env.Config.SpoolDir, Version: w.a.env.Config.Version})
	if err != nil {
		err = fmt.Errorf("journal tape %s: %w", w.tape.Barcode, err)
		if !isTapeError(err) {
			w.stuck = true
			if isFull(err) {
				err = job.DiskFull(err, w.a.env.Config.SpoolDir)
			}
		}
		return err
	}
	job.Failpoint("manifest-row")
	if _, err := w.a.env.DB.AddManifest(ctx, m, parts); err != nil {
		return fmt.Errorf("record manifest of tape %s: %w", w.tape.Barcode, err)
	}
	w.again = nil
	return nil
}
