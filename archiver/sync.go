package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tapefs/archiver/job"
	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/changer"
)

// sync makes what was written to the mounted tape durable: manifest, index, proof, catalog. A tape
// that fails here is given up and its unsafe parts are proved or owed again; that is no error. A manifest that this
// machine could not put together is one: the parts are synced all the same, and not durable before another names them.
func (w *writer) sync(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	pending, err := w.pending(ctx)
	if err != nil || !pending {
		return err
	}
	w.a.env.Activity.Set(fmt.Sprintf("syncing %s: its journal, then its index", w.tape.Barcode))
	job.Failpoint("manifest")
	unnamed := w.journal(ctx)
	if isTapeError(unnamed) {
		unnamed = w.volume.WriteFault(unnamed)
		if !isFull(unnamed) {
			w.noted.Add("", "", fmt.Errorf("tape %s: its manifest could not be written: %w", w.tape.Barcode, unnamed))
		}
		return w.tapeFailed(ctx, isFull(unnamed), unnamed)
	}
	if unnamed == nil {
		if err := w.snapshot(ctx, false); err != nil {
			if isTapeError(err) {
				err = w.volume.WriteFault(err)
				return w.tapeFailed(ctx, isFull(err), err)
			}
			w.noted.Add("", "", err)
		}
	}
	job.Failpoint("sync")
	generation, err := w.volume.Sync(ctx)
	if changer.BlamesNoTape(err) {
		return errors.Join(unnamed, err) // what was written stays unproved; the next run reads it back
	}
	if err != nil {
		err = w.volume.WriteFault(err)
		if !isFull(err) {
			w.noted.Add("", "", fmt.Errorf("tape %s: its index could not be written: %w", w.tape.Barcode, err))
		}
		return errors.Join(unnamed, w.tapeFailed(ctx, isFull(err), err))
	}
	return errors.Join(unnamed, w.durable(ctx, generation))
}

// durable records a proved sync and lets go of what is safe everywhere.
func (w *writer) durable(ctx context.Context, generation int64) error {
	job.Failpoint("durable")
	free, err := w.volume.Free()
	if err != nil {
		free = w.tape.Free
	}
	if err := w.a.env.DB.MarkDurable(ctx, w.tape.ID, generation, free, time.Now().UTC()); err != nil {
		return fmt.Errorf("record the sync of tape %s: %w", w.tape.Barcode, err)
	}
	t, err := w.a.env.DB.TapeByBarcode(ctx, w.tape.Barcode)
	if err != nil {
		return err
	}
	volume.NoteWritten(w.a.env, t.Barcode, t.UUID, t.IndexGeneration)
	w.tape, w.unsynced, w.synced = t, 0, time.Now()
	if w.lease != nil {
		if err := volume.DriveWorked(ctx, w.a.env, w.lease.Drive().Serial); err != nil {
			return err
		}
	}
	return w.release(ctx)
}

// release removes the spool copies of batches whose copies are all durable.
func (w *writer) release(ctx context.Context) error {
	batches, err := w.a.env.DB.ReleasableBatches(ctx)
	if err != nil {
		return fmt.Errorf("look for batches that are safe: %w", err)
	}
	return w.releaseThese(ctx, batches, w.a.env.DB.ReleaseBatch)
}

// releaseOnce removes, for want of room, also those of which each object has one durable copy. What other pools
// are owed is made from that.
func (w *writer) releaseOnce(ctx context.Context) error {
	batches, err := w.a.env.DB.OnceSafeBatches(ctx)
	if err != nil {
		return fmt.Errorf("look for batches that are safe once: %w", err)
	}
	if len(batches) > 0 {
		w.a.env.Log.Info("the spool is full: files with one durable copy leave it; further copies will be made from tape", "batches", len(batches))
	}
	return w.releaseThese(ctx, batches, w.a.env.DB.ReleaseBatchOnce)
}

func (w *writer) releaseThese(ctx context.Context, batches []catalog.Batch, release func(context.Context, int64) error) error {
	w.a.releasing.Lock()
	defer w.a.releasing.Unlock()
	var errs []error
	for _, b := range batches {
		if _, ours := w.sources[b.Source]; !ours {
			continue
		}
		objects, err := w.a.env.DB.BatchObjects(ctx, b.ID)
		if err != nil {
			return fmt.Errorf("release batch %d: %w", b.ID, err)
		}
		job.Failpoint("release")
		if err := release(ctx, b.ID); err != nil {
			return fmt.Errorf("release batch %d: %w", b.ID, err)
		}
		job.Failpoint("released")
		for _, o := range objects {
			errs = append(errs, w.a.dropLayout(o.OID))
		}
		if err := w.a.removeBatch(b); err != nil {
			errs = append(errs, fmt.Errorf("remove batch %d from the spool: %w", b.ID, err))
		}
	}
	return errors.Join(errs...)
}
