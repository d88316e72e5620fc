package archiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// closeTape syncs, unmounts and gives the drive back.
func (w *tapeWriter) closeTape(ctx context.Context) error {
	if w.session.volume == nil {
		return w.session.giveUp(ctx)
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	if w.session.volume == nil {
		return nil // the sync failed and the tape was dealt with
	}
	w.a.env.Note("unmounting %s", w.session.tape.Barcode)
	barcode := w.session.tape.Barcode
	err := w.session.giveUp(ctx)
	if errors.Is(err, changer.ErrKilled) { // after the sync: nothing was lost with it
		w.noted.Add("", "", fmt.Errorf("the ltfs of tape %s was killed after its last sync: %w", barcode, err))
		return nil
	}
	return err
}

// yield lets another process have the drive. The next openTape waits until it is done.
func (w *tapeWriter) yield(ctx context.Context) error {
	w.a.env.Note("another process wants the drive of %s", w.session.tape.Barcode)
	return w.closeTape(ctx)
}

// fillTape closes a tape that takes no more.
func (w *tapeWriter) fillTape(ctx context.Context) error {
	tape := w.session.tape.ID
	if err := w.sync(ctx); err != nil {
		return err
	}
	if w.session.volume != nil {
		if err := w.journal.snapshot(ctx, true); err != nil {
			w.noted.Add("", "", err)
		}
	}
	if err := w.closeTape(ctx); err != nil {
		return err
	}
	_, err := w.a.env.DB.UpdateTape(ctx, tape, func(t *catalog.Tape) error {
		if t.State == catalog.TapeOpen {
			t.State = catalog.TapeFull
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record a full tape: %w", err)
	}
	return nil
}

// tapeFailed deals with an error of the tape: it is not written again. What was written to it and
// is not safe is proved or becomes owed again.
func (w *tapeWriter) tapeFailed(ctx context.Context, full bool, why error) error {
	ctx = context.WithoutCancel(ctx)
	t := w.session.tape
	w.mail.failures.Add(1)
	if out, err := w.takenOut(ctx, t, w.session.volume, why); out || err != nil {
		return err
	}
	w.a.env.Log.Warn("tape failed", "tape", t.Barcode, "err", why)
	state := catalog.TapeSuspect
	if full {
		state = catalog.TapeFull
	}
	_, err := w.a.env.DB.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
		t.State, t.Note = state, why.Error()
		return nil
	})
	if err != nil {
		return fmt.Errorf("record that tape %s failed: %w", t.Barcode, err)
	}
	aside := false
	if !full && w.session.lease != nil {
		if aside, err = w.session.blameDrive(ctx, t.Barcode, why); err != nil {
			return err
		}
	}
	if full { // what was closed before is intact, if the index can still be written
		generation, err := w.session.volume.Sync(ctx)
		if err == nil {
			if err := w.durable(ctx, generation); err != nil {
				return err
			}
			return w.session.giveUp(ctx)
		}
		w.a.env.Log.Warn("no index could be written to the full tape", "tape", t.Barcode, "err", err)
	}
	if err := w.session.leave(ctx, aside); err != nil {
		w.a.env.Log.Warn("the failed tape was not given up in order", "tape", t.Barcode, "err", err)
	}
	if err := w.prover.tape(ctx, t); err != nil {
		// Its parts stay unsafe: the next run tries again before it writes anything.
		return fmt.Errorf("prove what tape %s holds: %w", t.Barcode, err)
	}
	return nil
}
