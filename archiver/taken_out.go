package archiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// ltfsKilled reports, after an error, whether the ltfs of a tape was killed. The volume is nil if it was not mounted.
func ltfsKilled(v *changer.Volume, why error) bool {
	return errors.Is(why, changer.ErrKilled) || v != nil && v.Killed(why)
}

// takenOut deals with a tape that somebody took out of the drive, by hand or past us with the robot, while it was written or about to be,
// or whose ltfs was killed. That is no fault of the tape or of the drive: nobody is blamed. What was not synced is proved when the tape
// can be had, now or in a later run; false: it lies in the drive still, and its ltfs was not killed. The volume is nil if it was not mounted.
func (w *tapeWriter) takenOut(ctx context.Context, t catalog.Tape, v *changer.Volume, why error) (bool, error) {
	if w.session.lease == nil {
		return false, nil
	}
	killed := ltfsKilled(v, why)
	if !killed && !w.session.lease.TakenOut(ctx, volume.BarcodeOf(t)) {
		return false, nil
	}
	w.known.tookOut(volume.BarcodeOf(t))
	what := "tape %s was taken out of drive %d while it was used; it"
	if killed {
		what = "the ltfs of tape %s in drive %d was killed; the tape"
	}
	w.noted.Add("", "", fmt.Errorf(what+" is not blamed, and what was written since its last sync is looked for: %w", t.Barcode, w.session.lease.Drive().Element, why))
	if err := w.session.giveUp(ctx); err != nil {
		w.a.env.Log.Warn("the tape was not given up in order", "tape", t.Barcode, "err", err)
	}
	if err := w.prover.tape(ctx, t); err != nil {
		if ctx.Err() != nil || errors.Is(err, ErrOlder) {
			return true, fmt.Errorf("prove what tape %s holds: %w", t.Barcode, err)
		}
		w.known.tried[volume.BarcodeOf(t)] = true // a later run reads it, or asks for it
		w.noted.Add("", "", fmt.Errorf("tape %s holds parts that nobody proved: %w", t.Barcode, err))
	}
	return true, nil
}
