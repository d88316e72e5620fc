package archiver

import (
	"context"
	"errors"
	"fmt"

	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/changer"
)

// giveUp unmounts what is mounted without a sync and gives the drive back.
func (w *writer) giveUp(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	if w.lease != nil {
		if v := w.lease.Volume(); v != nil {
			w.a.env.Activity.Set(fmt.Sprintf("unmounting %s (ltfs writes its index)", w.tape.Barcode))
			err = v.Unmount(ctx)
		}
		err = errors.Join(err, w.lease.Release(ctx))
	}
	w.lease, w.volume, w.tape, w.unsynced = nil, nil, catalog.Tape{}, 0
	w.peers.leave(w)
	return err
}

// giveUpFailed gives up a tape on which a write failed before anything counted on it. That its unmount fails, too, is no news: the run
// goes on with another tape. But where the next one would have its drive set aside the run ends instead: what failed twice in a
// row may be over by the next run, and a drive that is set aside waits for a person.
func (w *writer) giveUpFailed(ctx context.Context, b changer.Barcode) error {
	serial := w.lease.Drive().Serial
	err := w.giveUp(ctx)
	if err == nil {
		return nil
	}
	drives, derr := w.a.env.DB.Drives(ctx)
	if derr != nil {
		return errors.Join(err, derr)
	}
	for _, d := range drives {
		if d.Serial == serial && d.State == catalog.DriveOK && len(d.Failed) == volume.DriveLimit-1 {
			return fmt.Errorf("%d tapes in a row failed in drive %s, no other is tried in this run: %w", len(d.Failed), serial, err)
		}
	}
	w.a.env.Log.Warn("the failed tape was not given up in order", "tape", b, "error", err)
	return nil
}

// leave is giveUp. From a drive that is set aside the tape goes back to its slot: another drive takes it.
func (w *writer) leave(ctx context.Context, aside bool) error {
	if !aside || w.lease == nil {
		return w.giveUp(ctx)
	}
	var err error
	if v := w.lease.Volume(); v != nil {
		err = v.Unmount(ctx)
	}
	return errors.Join(err, w.lease.Unload(ctx), w.giveUp(ctx))
}

// takeDrive leases a drive, for write one that can write the tape, and loads the tape into it.
func (w *writer) takeDrive(ctx context.Context, b changer.Barcode, write bool) error {
	if w.lease != nil && w.lease.Volume() == nil && w.a.env.Lib.Alone() { // it knows already what is in the only drive
		return w.lease.Load(ctx, b)
	}
	if w.lease != nil {
		if err := w.giveUp(ctx); err != nil {
			return err
		}
	}
	w.peers.claim(w, b)
	lease, err := w.leaseDrive(ctx, b, write)
	if errors.Is(err, changer.ErrNoDrive) && len(w.followers) > 0 { // one that does may be with a follower
		if err := w.stopAll(); err != nil {
			return err
		}
		lease, err = w.leaseDrive(ctx, b, write)
	}
	if err != nil {
		return fmt.Errorf("take a drive for tape %s: %w", b, err)
	}
	w.lease = lease
	w.peers.drive(w, lease.Drive().Serial)
	w.a.env.Note("loading %s into drive %d", b, lease.Drive().Element)
	return lease.Load(ctx, b)
}

func (w *writer) leaseDrive(ctx context.Context, b changer.Barcode, write bool) (*changer.Lease, error) {
	avoid, err := w.avoid(ctx)
	if err != nil {
		return nil, err
	}
	return w.a.env.Lib.Lease(ctx, changer.Request{Barcode: b, Avoid: avoid, Write: write, Purpose: "archive",
		Wait: func(holder string) { w.a.env.Note("waiting for a drive: %s has it", holder) }})
}

// identify looks which tape the operator put into the only drive there is.
func (w *writer) identify(ctx context.Context) error {
	if w.lease == nil {
		lease, err := w.leaseDrive(ctx, "", false)
		if err != nil {
			return fmt.Errorf("look which tape is in the drive: %w", err)
		}
		w.lease = lease
		w.peers.drive(w, lease.Drive().Serial)
	}
	w.a.env.Note("looking which tape is in drive %d", w.lease.Drive().Element)
	_, err := w.lease.Identify(ctx)
	return err
}

// blameDrive counts a tape that failed in the leased drive, and says so when the drive is set aside for it.
func (w *writer) blameDrive(ctx context.Context, barcode string, why error) (aside bool, err error) {
	serial := w.lease.Drive().Serial
	if aside, err = volume.DriveFailed(ctx, w.a.env, serial, barcode, why); aside {
		w.noted.Add("", "", fmt.Errorf("drive %s is set aside: %d tapes in a row failed in it, the last one %s", serial, volume.DriveLimit, barcode))
	}
	return aside, err
}
