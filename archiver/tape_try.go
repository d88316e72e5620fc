package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// A candidate is tried in steps: what it holds is proved, it is loaded, and then formatted, if it is blank, or mounted and held against the
// catalog. Each step reports false where the candidate does not do, and has noted why; an error is the end of the run.

// try loads and mounts one candidate; false: it does not do, and why is noted.
func (w *tapeWriter) try(ctx context.Context, p Pool, c volume.Candidate) (bool, error) {
	if err := w.a.mayWrite(ctx); err != nil {
		return false, err
	}
	if c.Known {
		if ok, err := w.tryLeft(ctx, c); !ok {
			return false, err
		}
	}
	if ok, err := w.tryLoad(ctx, c); !ok {
		return false, err
	}
	if !c.Known {
		return w.tryFormat(ctx, p, c)
	}
	return w.tryMount(ctx, p, c)
}

// pass notes why a candidate is passed over.
func (w *tapeWriter) pass(c volume.Candidate, why error) {
	w.noted.Add("", "", fmt.Errorf("tape %s is passed over: %w", c.Barcode, why))
}

// tryLeft proves what is on the candidate and not safe. A session before this one, also of this run, may have ended badly: the sync of
// this one must not make safe what was lost with that.
func (w *tapeWriter) tryLeft(ctx context.Context, c volume.Candidate) (bool, error) {
	err := w.prover.left(ctx, c.Tape)
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, ErrOlder):
		return false, err
	}
	w.pass(c, fmt.Errorf("it holds parts that nobody proved: %w", err))
	return false, nil
}

// tryLoad brings the candidate into a drive that can write it.
func (w *tapeWriter) tryLoad(ctx context.Context, c volume.Candidate) (bool, error) {
	err := w.session.takeDrive(ctx, c.Barcode, true)
	switch {
	case err == nil:
		return true, nil
	case !c.Known && errors.Is(err, changer.ErrIncompatible):
		w.a.env.Log.Warn("a tape is passed over", "tape", c.Barcode, "err", err) // its label does not say what it is, the drive does
		return false, nil
	case errors.Is(err, changer.ErrNotInLibrary), errors.Is(err, changer.ErrIncompatible), errors.Is(err, changer.ErrNoDrive),
		errors.Is(err, changer.ErrStuck):
		w.pass(c, err)
		return false, nil
	}
	return false, err
}

// tryFormat formats the loaded candidate, which the catalog does not know.
func (w *tapeWriter) tryFormat(ctx context.Context, p Pool, c volume.Candidate) (bool, error) {
	t, err := w.a.format(ctx, w.session.lease, c.Barcode, p, FormatOptions{})
	if err == nil {
		w.session.take(p, t, 0)
		return true, nil
	}
	if errors.Is(err, ErrOlder) {
		return false, err
	}
	if ltfsKilled(w.session.lease.Volume(), err) {
		c.Tape.Barcode = string(c.Barcode)
		_, err = w.takenOut(ctx, c.Tape, nil, err)
		return false, err
	}
	failed, ferr := w.a.formatFailed(ctx, c.Barcode, err)
	if ferr != nil {
		return false, ferr
	}
	var program *changer.ProgramError
	if failed && (errors.As(err, &program) || errors.Is(err, volume.ErrLabelFailed)) {
		if err := w.blameAndLeave(ctx, c, err); err != nil {
			return false, err
		}
	}
	if failed || errors.Is(err, changer.ErrNotBlank) || errors.Is(err, changer.ErrUnknown) || errors.Is(err, changer.ErrWriteProtected) ||
		errors.Is(err, changer.ErrReadOnly) || errors.Is(err, changer.ErrIncompatible) || errors.Is(err, changer.ErrStuck) || errors.Is(err, changer.ErrOtherCartridge) {
		w.pass(c, err)
		return false, nil
	}
	return false, err
}

// blameAndLeave counts a candidate that failed in the drive, and gives it up. An error ends the run.
func (w *tapeWriter) blameAndLeave(ctx context.Context, c volume.Candidate, why error) error {
	if _, err := w.session.blameDrive(ctx, string(c.Barcode), why); err != nil {
		return err
	}
	if err := w.session.giveUpFailed(ctx, c.Barcode); err != nil {
		return errors.Join(why, err)
	}
	return nil
}

// tryMount mounts the loaded candidate, holds it against the catalog and makes it the tape that is written.
func (w *tapeWriter) tryMount(ctx context.Context, p Pool, c volume.Candidate) (bool, error) {
	w.a.env.Note("mounting %s", c.Barcode)
	v, err := w.session.lease.Mount(ctx, changer.MountRequest{UUID: c.Tape.UUID})
	if err == nil && v.ReadOnly {
		return false, w.mountedReadOnly(ctx, c)
	}
	last := 0
	if err == nil {
		last, err = w.compare(ctx, v, c)
	}
	if errors.Is(err, changer.ErrWrongVolume) {
		if is, ierr := w.a.whoIs(ctx, w.session.lease); ierr == nil {
			if serr := w.a.stranger(ctx, string(c.Barcode), is); serr != nil {
				return false, serr
			}
		}
	}
	if err != nil {
		return false, w.mountFailed(ctx, v, c, err)
	}
	t, err := w.a.env.DB.UpdateTape(ctx, c.Tape.ID, func(t *catalog.Tape) error {
		t.Seen = time.Now().UTC()
		t.Loads++
		t.Capacity = v.Capacity
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("record tape %s: %w", c.Barcode, err)
	}
	w.session.take(p, t, last)
	return true, nil
}

// compare holds a mounted candidate against the catalog: its label, its index and its manifests. last is the greatest number of a manifest
// on it.
func (w *tapeWriter) compare(ctx context.Context, v *changer.Volume, c volume.Candidate) (last int, err error) {
	err = volume.CheckLabel(w.a.env, v, c.Tape)
	if errors.Is(err, volume.ErrLabelMissing) && c.Tape.Used == 0 && c.Tape.UUID == v.UUID {
		_, err = volume.WriteLabel(ctx, w.a.env, v, c.Tape) // its format was interrupted after the catalog knew its UUID
	}
	if err != nil {
		return 0, err
	}
	return manifest.Check(ctx, w.a.env, v, c.Tape, true)
}

// mountedReadOnly passes over a candidate that ltfs mounts read-only: it is write-protected or full.
func (w *tapeWriter) mountedReadOnly(ctx context.Context, c volume.Candidate) error {
	why := w.session.lease.WriteProtected(ctx)
	if why == nil {
		_, err := w.a.env.DB.UpdateTape(ctx, c.Tape.ID, func(t *catalog.Tape) error {
			t.State, t.Note = catalog.TapeFull, "mounted read-only: full"
			return nil
		})
		if err != nil {
			return err
		}
		why = changer.ErrReadOnly
	}
	w.pass(c, why)
	return nil
}

// mountFailed deals with a candidate that could not be mounted, or is not what the catalog says. v is nil if it was not mounted.
func (w *tapeWriter) mountFailed(ctx context.Context, v *changer.Volume, c volume.Candidate, why error) error {
	switch {
	case ltfsKilled(v, why):
		_, err := w.takenOut(ctx, c.Tape, v, why)
		return err
	case errors.Is(why, volume.ErrLabelFailed):
		if err := volume.MarkSuspect(ctx, w.a.env, c.Tape.ID, why); err != nil {
			return err
		}
		if err := w.blameAndLeave(ctx, c, why); err != nil {
			return err
		}
	case errors.Is(why, changer.ErrWrongVolume) && w.a.env.Lib.Guessed(c.Barcode): // another tape with the same six characters
	case errors.Is(why, changer.ErrWrongVolume), errors.Is(why, changer.ErrNotFormatted),
		errors.Is(why, changer.ErrNeedsCheck), errors.Is(why, ErrNoLabel), errors.Is(why, volume.ErrLabelMissing),
		v != nil && changer.FaultOf(why) == changer.Damaged && !volume.VolumeGone(v, why): // its label or manifests cannot be read
		if err := volume.MarkSuspect(ctx, w.a.env, c.Tape.ID, why); err != nil {
			return err
		}
	case errors.Is(why, changer.ErrWriteProtected), errors.Is(why, changer.ErrStuck), errors.Is(why, changer.ErrNotChecked):
	default:
		if out, err := w.takenOut(ctx, c.Tape, v, why); out || err != nil {
			return err
		}
		return why
	}
	w.pass(c, why)
	return nil
}
