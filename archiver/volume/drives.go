package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// DriveLimit is how many tapes fail in one drive in a row until the drive is blamed and not the tapes.
const DriveLimit = 3

// DriveFailed counts a tape that failed in a drive. When several did in a row the drive is suspect, and
// the tapes that were blamed until then are not any more.
func DriveFailed(ctx context.Context, env *job.Env, serial, barcode string, why error) (suspect bool, err error) {
	d, err := env.DB.UpdateDrive(ctx, serial, func(d *catalog.Drive) error {
		if !slices.Contains(d.Failed, barcode) {
			d.Failed = append(d.Failed, barcode)
		}
		d.Note = strings.Join(d.Failed, " ") + " failed in a row: " + why.Error()
		if len(d.Failed) >= DriveLimit {
			d.State = catalog.DriveSuspect
		}
		return nil
	})
	if err != nil || d.State != catalog.DriveSuspect {
		return false, err
	}
	for _, b := range d.Failed {
		t, err := env.DB.TapeByBarcode(ctx, b)
		if err != nil {
			return true, fmt.Errorf("look for tape %s: %w", b, err)
		}
		_, err = env.DB.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
			if t.Suspect() {
				t.State, t.Note = catalog.TapeOpen, "failed in drive "+serial+", which is suspect"
			}
			return nil
		})
		if err != nil {
			return true, fmt.Errorf("record tape %s: %w", b, err)
		}
	}
	return true, nil
}

// DriveWorked ends a row of failures: a tape was synced in it.
func DriveWorked(ctx context.Context, env *job.Env, serial string) error {
	_, err := env.DB.UpdateDrive(ctx, serial, func(d *catalog.Drive) error {
		if len(d.Failed) == 0 || d.State != catalog.DriveOK {
			return catalog.ErrUnchanged
		}
		d.Failed, d.Note = nil, ""
		return nil
	})
	return err
}

// SetAside lists the suspect drives of the library. When there is no other ErrNeedsOperator says so.
func SetAside(ctx context.Context, env *job.Env) ([]string, error) {
	drives, err := env.DB.Drives(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for suspect drives: %w", err)
	}
	var suspect []string
	var why error
	for _, d := range drives {
		if d.State == catalog.DriveSuspect {
			suspect = append(suspect, d.Serial)
			why = errors.Join(why, fmt.Errorf("drive %s is suspect: %s", d.Serial, d.Note))
		}
	}
	if len(suspect) == 0 || slices.ContainsFunc(env.Lib.Present(), func(d changer.DriveConfig) bool { return !slices.Contains(suspect, d.Serial) }) {
		return suspect, nil
	}
	return nil, &changer.Error{Op: "choose a drive", Err: fmt.Errorf("%w: %w", job.ErrNeedsOperator, why),
		Hint: "clean the drive or have it looked at, then: tapefs drive trust " + suspect[0]}
}
