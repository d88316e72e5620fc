package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

func (v *verifier) found(p catalog.VerifyPart, file string, err error) {
	v.sum.Damaged = append(v.sum.Damaged, Damage{Object: p.OID, Pool: p.Pool, Barcode: p.Barcode, File: file, Why: err.Error()})
	v.noted.Add("", "", fmt.Errorf("object %s in pool %s on tape %s is damaged: %w", p.OID, p.Pool, p.Barcode, err))
}

// want records which tapes have to be brought.
func (v *verifier) want(ctx context.Context) error {
	for barcode, why := range v.away {
		if !errors.Is(why, changer.ErrNotInLibrary) && !errors.Is(why, changer.ErrNoMedium) && !errors.Is(why, changer.ErrWrongVolume) {
			v.noted.Add("", "", fmt.Errorf("tape %s could not be verified: %w", barcode, why))
			continue
		}
		if !errors.Is(why, changer.ErrNotInLibrary) {
			v.env.Log.Warn("a tape is taken for missing", "tape", barcode, "err", why)
		}
		if _, err := v.env.DB.Want(ctx, barcode, wantedToVerify); err != nil {
			return err
		}
		v.sum.Wanted = append(v.sum.Wanted, barcode)
	}
	slices.Sort(v.sum.Wanted)
	for key, why := range v.closed {
		v.noted.Add("", "", fmt.Errorf("manifests and snapshots sealed with key %s could not be verified: %w", key, why))
	}
	return nil
}

func (v *verifier) result(ctx context.Context, o Options) error {
	damages, err := v.env.DB.Damages(ctx)
	if err != nil {
		return err
	}
	for _, d := range damages {
		v.sum.Known += d.Copies
	}
	missed, err := v.env.DB.MissedManifests(ctx)
	if err != nil {
		return err
	}
	for _, n := range missed {
		v.sum.Unnamed += n
	}
	if n := len(v.sum.Damaged) + len(v.sum.Lost); n > 0 {
		return fmt.Errorf("%w: %d files on tape are not what was written", job.ErrDamaged, n)
	}
	if v.sum.Known > 0 && o.written.IsZero() { // a run's own reading back is about what it wrote
		return fmt.Errorf("%w earlier, and is not healed (damaged copies: %d)", job.ErrDamaged, v.sum.Known)
	}
	if v.sum.Unnamed > 0 && o.written.IsZero() {
		return fmt.Errorf("%w earlier: no manifest names yet what %d lost ones named", job.ErrDamaged, v.sum.Unnamed)
	}
	if len(v.sum.Wanted) > 0 {
		return fmt.Errorf("%w: tapes to be verified are not in the library: %v", job.ErrNeedsOperator, v.sum.Wanted)
	}
	if err := v.noted.Result(); err != nil {
		return errors.New("some of what is on tape could not be verified")
	}
	return nil
}
