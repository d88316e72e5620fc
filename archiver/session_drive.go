package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// giveUp unmounts what is mounted without a sync and gives the drive back.
func (s *session) giveUp(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	if s.lease != nil {
		if v := s.lease.Volume(); v != nil {
			s.env.Activity.Set(fmt.Sprintf("unmounting %s (ltfs writes its index)", s.tape.Barcode))
			err = v.Unmount(ctx)
		}
		err = errors.Join(err, s.lease.Release(ctx))
	}
	s.lease, s.volume, s.tape, s.unsynced = nil, nil, catalog.Tape{}, 0
	s.peers.leave(s)
	return err
}

// giveUpFailed gives up a tape on which a write failed before anything counted on it. That its unmount fails, too, is no news: the run
// goes on with another tape. But where the next one would have its drive set aside the run ends instead: what failed twice in a
// row may be over by the next run, and a drive that is set aside waits for a person.
func (s *session) giveUpFailed(ctx context.Context, b changer.Barcode) error {
	serial := s.lease.Drive().Serial
	err := s.giveUp(ctx)
	if err == nil {
		return nil
	}
	drives, derr := s.env.DB.Drives(ctx)
	if derr != nil {
		return errors.Join(err, derr)
	}
	for _, d := range drives {
		if d.Serial == serial && d.State == catalog.DriveOK && len(d.Failed) == volume.DriveLimit-1 {
			return fmt.Errorf("%d tapes in a row failed in drive %s, no other is tried in this run: %w", len(d.Failed), serial, err)
		}
	}
	s.env.Log.Warn("the failed tape was not given up in order", "tape", b, "err", err)
	return nil
}

// leave is giveUp. From a drive that is set aside the tape goes back to its slot: another drive takes it.
func (s *session) leave(ctx context.Context, aside bool) error {
	if !aside || s.lease == nil {
		return s.giveUp(ctx)
	}
	var err error
	if v := s.lease.Volume(); v != nil {
		err = v.Unmount(ctx)
	}
	return errors.Join(err, s.lease.Unload(ctx), s.giveUp(ctx))
}

// takeDrive leases a drive, for write one that can write the tape, and loads the tape into it.
func (s *session) takeDrive(ctx context.Context, b changer.Barcode, write bool) error {
	if s.lease != nil && s.lease.Volume() == nil && s.env.Lib.Alone() { // it knows already what is in the only drive
		return s.lease.Load(ctx, b)
	}
	if s.lease != nil {
		if err := s.giveUp(ctx); err != nil {
			return err
		}
	}
	s.peers.claim(s, b)
	lease, err := s.leaseDrive(ctx, b, write)
	if errors.Is(err, changer.ErrNoDrive) { // one that does may be with a follower
		some, ferr := s.freeDrives()
		if ferr != nil {
			return ferr
		}
		if some {
			lease, err = s.leaseDrive(ctx, b, write)
		}
	}
	if err != nil {
		return fmt.Errorf("take a drive for tape %s: %w", b, err)
	}
	s.lease = lease
	s.peers.drive(s, lease.Drive().Serial)
	s.env.Note("loading %s into drive %d", b, lease.Drive().Element)
	return lease.Load(ctx, b)
}

func (s *session) leaseDrive(ctx context.Context, b changer.Barcode, write bool) (*changer.Lease, error) {
	avoid, err := s.avoid(ctx)
	if err != nil {
		return nil, err
	}
	return s.env.Lib.Lease(ctx, changer.Request{Barcode: b, Avoid: avoid, Write: write, Purpose: "archive",
		Wait: func(holder string) { s.env.Note("waiting for a drive: %s has it", holder) }})
}

// avoid lists the drives that this writer must not take: those that are set aside, and those of other
// writers of this run. When no other is left the followers give theirs back.
func (s *session) avoid(ctx context.Context) ([]string, error) {
	avoid, err := volume.SetAside(ctx, s.env)
	if err != nil {
		return nil, err
	}
	all := append(avoid, s.peers.others(s)...)
	for _, d := range s.env.Lib.Present() {
		if !slices.Contains(all, d.Serial) {
			return all, nil
		}
	}
	if _, err := s.freeDrives(); err != nil {
		return nil, err
	}
	return append(avoid, s.peers.others(s)...), nil
}

// identify looks which tape the operator put into the only drive there is.
func (s *session) identify(ctx context.Context) error {
	if s.lease == nil {
		lease, err := s.leaseDrive(ctx, "", false)
		if err != nil {
			return fmt.Errorf("look which tape is in the drive: %w", err)
		}
		s.lease = lease
		s.peers.drive(s, lease.Drive().Serial)
	}
	s.env.Note("looking which tape is in drive %d", s.lease.Drive().Element)
	_, err := s.lease.Identify(ctx)
	return err
}

// blameDrive counts a tape that failed in the leased drive, and says so when the drive is set aside for it.
func (s *session) blameDrive(ctx context.Context, barcode string, why error) (aside bool, err error) {
	serial := s.lease.Drive().Serial
	if aside, err = volume.DriveFailed(ctx, s.env, serial, barcode, why); aside {
		s.noted.Add("", "", fmt.Errorf("drive %s is set aside: %d tapes in a row failed in it, the last one %s", serial, volume.DriveLimit, barcode))
	}
	return aside, err
}
