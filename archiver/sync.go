package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/changer"
)

// sync makes what was written to the mounted tape durable: manifest, index, proof, catalog. A tape
// that fails here is given up and its unsafe parts are proved or owed again; that is no error. A manifest that this
// machine could not put together is one: the parts are synced all the same, and not durable before another names them.
func (w *tapeWriter) sync(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	pending, err := w.pending(ctx)
	if err != nil || !pending {
		return err
	}
	w.a.env.Activity.Set(fmt.Sprintf("syncing %s: its journal, then its index", w.session.tape.Barcode))
	job.Failpoint("manifest")
	unnamed := w.journal.write(ctx)
	if volume.BlamesTape(unnamed) {
		unnamed = w.session.volume.WriteFault(unnamed)
		if !volume.IsFull(unnamed) {
			w.noted.Add("", "", fmt.Errorf("tape %s: its manifest could not be written: %w", w.session.tape.Barcode, unnamed))
		}
		return w.tapeFailed(ctx, volume.IsFull(unnamed), unnamed)
	}
	if unnamed == nil {
		if err := w.journal.snapshot(ctx, false); err != nil {
			if volume.BlamesTape(err) {
				err = w.session.volume.WriteFault(err)
				return w.tapeFailed(ctx, volume.IsFull(err), err)
			}
			w.noted.Add("", "", err)
		}
	}
	job.Failpoint("sync")
	generation, err := w.session.volume.Sync(ctx)
	if changer.BlamesNoTape(err) {
		return errors.Join(unnamed, err) // what was written stays unproved; the next run reads it back
	}
	if err != nil {
		err = w.session.volume.WriteFault(err)
		if !volume.IsFull(err) {
			w.noted.Add("", "", fmt.Errorf("tape %s: its index could not be written: %w", w.session.tape.Barcode, err))
		}
		return errors.Join(unnamed, w.tapeFailed(ctx, volume.IsFull(err), err))
	}
	return errors.Join(unnamed, w.durable(ctx, generation))
}

// durable records a proved sync and lets go of what is safe everywhere.
func (w *tapeWriter) durable(ctx context.Context, generation int64) error {
	job.Failpoint("durable")
	free, err := w.session.volume.Free()
	if err != nil {
		free = w.session.tape.Free
	}
	if err := w.a.env.DB.MarkDurable(ctx, w.session.tape.ID, generation, free, time.Now().UTC()); err != nil {
		return fmt.Errorf("record the sync of tape %s: %w", w.session.tape.Barcode, err)
	}
	t, err := w.a.env.DB.TapeByBarcode(ctx, w.session.tape.Barcode)
	if err != nil {
		return err
	}
	volume.NoteWritten(w.a.env, t.Barcode, t.UUID, t.IndexGeneration)
	w.session.tape, w.session.unsynced, w.session.synced = t, 0, time.Now()
	if w.session.lease != nil {
		if err := volume.DriveWorked(ctx, w.a.env, w.session.lease.Drive().Serial); err != nil {
			return err
		}
	}
	return w.stock.release(ctx)
}
