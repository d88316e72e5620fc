package archiver

import (
	"context"
	"errors"
	"fmt"

	"tapefs/catalog"
	"tapefs/changer"
)

// takenOutLimit is how often a tape may be taken out of its drive while one run writes to it, before the run leaves it alone.
const takenOutLimit = 2

// takenOut deals with a tape that somebody took out of the drive, by hand or past us with the robot, while it was written, or whose
// ltfs was killed. That is no fault of the tape or of the drive: nobody is blamed. What was not synced is proved when the tape can be
// had, now or in a later run; false: it lies in the drive still, and its ltfs was not killed.
func (w *writer) takenOut(ctx context.Context, t catalog.Tape, why error) (bool, error) {
	if w.lease == nil {
		return false, nil
	}
	killed := w.volume != nil && w.volume.Killed(why)
	if !killed && !w.lease.TakenOut(ctx, barcodeOf(t)) {
		return false, nil
	}
	w.removed[barcodeOf(t)]++
	if w.removed[barcodeOf(t)] >= takenOutLimit {
		w.tried[barcodeOf(t)] = true
	}
	what := "tape %s was taken out of drive %d while it was written; it"
	if killed {
		what = "the ltfs of tape %s in drive %d was killed while it was written; the tape"
	}
	w.noted.add("", "", fmt.Errorf(what+" is not blamed, and what was written since its last sync is looked for: %w", t.Barcode, w.lease.Drive().Element, why))
	if err := w.giveUp(ctx); err != nil {
		w.a.log.Warn("the tape was not given up in order", "tape", t.Barcode, "error", err)
	}
	err := w.proveTape(ctx, t)
	if errors.Is(err, changer.ErrNotInLibrary) || errors.Is(err, changer.ErrNoMedium) {
		w.tried[barcodeOf(t)] = true
		w.noted.add("", "", fmt.Errorf("tape %s holds parts that nobody proved: %w", t.Barcode, err))
		return true, nil // a later run has it, or asks for it
	}
	if err != nil {
		return true, fmt.Errorf("prove what tape %s holds: %w", t.Barcode, err)
	}
	return true, nil
}
