package volume

import (
	"context"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// Checked records that a check found a tape's volume consistent, with an index of this generation, and returns the tape as it is
// then: out of suspicion, if nothing else speaks against it. An index older than one that was proved to be on the tape means that
// files are missing: the tape is suspect, and the error says so. What an interrupted run wrote to it is read back by the next
// archive, before anything is added.
func Checked(ctx context.Context, db *catalog.DB, t catalog.Tape, generation int64, at time.Time) (catalog.Tape, error) {
	if generation < t.IndexGeneration {
		why := fmt.Errorf("its index is of generation %d, and %d was proved: files may be missing", generation, t.IndexGeneration)
		lost, err := db.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
			t.State, t.Note, t.FoundDamaged = catalog.TapeSuspect, why.Error(), true
			return nil
		})
		if err != nil {
			return t, err
		}
		return lost, &changer.Error{Op: "check tape " + t.Barcode, Err: why,
			Hint: "somebody took the volume back to an older index; its files have to be read back before they count: tapefs verify --tape " + t.Barcode}
	}
	if err := db.TapeChecked(ctx, t.ID, at.UTC()); err != nil {
		return t, err
	}
	if _, err := db.EndSuspicions(ctx); err != nil {
		return t, err
	}
	return db.TapeByBarcode(ctx, t.Barcode)
}
