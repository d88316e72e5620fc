package archiver

import (
	"context"
	"errors"
	"fmt"

	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/changer"
)

// takenOutLimit is how often a tape may be taken out of its drive while one run writes to it, before the run leaves it alone.
const takenOutLimit = 2

// ltfsKilled reports, after an error, whether the ltfs of a tape was killed. The volume is nil if it was not mounted.
func ltfsKilled(v *changer.Volume, why error) bool {
	return errors.Is(why, changer.ErrKilled) || v != nil && v.Killed(why)
}

// takenOut deals with a tape that somebody took out of the drive, by hand or past us with the robot, while it was written or about to be,
// or whose ltfs was killed. That is no fault of the tape or of the drive: nobody is blamed. What was not synced is proved when the tape
// can be had, now or in a later run; false: it lies in the drive still, and its ltfs was not killed. The volume is nil if it was not mounted.
func (w *writer) takenOut(ctx context.Context, t catalog.Tape, v *changer.Volume, why error) (bool, error) {
	if w.lease == nil {
		return false, nil
	}
	killed := ltfsKilled(v, why)
	if !killed && !w.lease.TakenOut(ctx, volume.BarcodeOf(t)) {
		return false, nil
	}
	w.removed[volume.BarcodeOf(t)]++
	if w.removed[volume.BarcodeOf(t)] >= takenOutLimit {
		w.tried[volume.BarcodeOf(t)] = true
	}
	what := "tape %s was taken out of drive %d while it was used; it"
	if killed {
		what = "the ltfs of tape %s in drive %d was killed; the tape"
	}
	w.noted.Add("", "", fmt.Errorf(what+" is not blamed, and what was written since its last sync is looked for: %w", t.Barcode, w.lease.Drive().Element, why))
	if err := w.giveUp(ctx); err != nil {
		w.a.env.Log.Warn("the tape was not given up in order", "tape", t.Barcode, "error", err)
	}
	if err := w.proveTape(ctx, t); err != nil {
		if ctx.Err() != nil || errors.Is(err, ErrOlder) {
			return true, fmt.Errorf("prove what tape %s holds: %w", t.Barcode, err)
		}
		w.tried[volume.BarcodeOf(t)] = true // a later run reads it, or asks for it
		w.noted.Add("", "", fmt.Errorf("tape %s holds parts that nobody proved: %w", t.Barcode, err))
	}
	return true, nil
}
