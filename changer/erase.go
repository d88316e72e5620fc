package changer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// eraseTimeout bounds the wait for a long erase: writing over an LTO-9 tape of 18 TB takes about half a day.
const eraseTimeout = 24 * time.Hour

// EraseRequest names the tape that is to be made blank.
type EraseRequest struct {
	Barcode Barcode
	Volume  bool // it holds an LTFS volume: its partitions go first
	Unasked bool // whatever barcode the cartridge's own memory holds
	Long    bool // write over all of it: hours. Otherwise the end of data is put at the beginning
}

// Erase makes a blank tape of the loaded one, as mt erase does, and proves it blank. Partitions of LTFS are taken off
// first, because mt erase would leave all but one of them. Refuses another tape than named and a write-protected one.
func (le *Lease) Erase(ctx context.Context, r EraseRequest) (err error) {
	op := "erase tape " + string(r.Barcode)
	if err := le.settle(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := le.MayErase(ctx, r.Barcode, r.Unasked); err != nil {
		return err
	}
	if err := le.l.unused(le.d); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	le.proved = ""
	defer func() {
		if err == nil {
			le.l.forgetOthers(r.Barcode, "")
		}
	}()
	if r.Volume {
		if err := le.unpartition(ctx, op, r.Barcode); err != nil {
			return err
		}
	}
	if _, err := le.mt(ctx, "rewind"); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	limit, how := le.l.cfg.MountTimeout, "0"
	if r.Long {
		limit, how = eraseTimeout, "1"
	}
	if _, err := le.mtWithin(ctx, limit, "erase", how); err != nil {
		hint := ""
		if le.pending != nil {
			hint = "mt goes on; the drive stays in use until it ends"
		}
		return fail(op, err, hint)
	}
	switch content, err := le.Look(ctx); {
	case err != nil:
		return fmt.Errorf("%s: look whether it is blank: %w", op, err)
	case content != ContentBlank:
		return fail(op, fmt.Errorf("%w: it holds %s still", ErrUnknown, content), "clean the drive, or take the tape out of use: tapefs tape retire "+string(r.Barcode))
	}
	return nil
}

// unpartition has mkltfs take the partitions off. It exits 1 on success too: only its message tells.
func (le *Lease) unpartition(ctx context.Context, op string, b Barcode) error {
	const unformatted = "15040I"
	device, err := le.l.ltfsDevice(ctx, le.d)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	res, pending, err := le.act(ctx, le.l.cfg.MountTimeout, le.l.cfg.Programs.Mkltfs, "-w", "-d", device)
	if pending != nil {
		return fail(op, err, "mkltfs goes on; look at the tape again when it has ended")
	}
	log := res.stdout + res.stderr
	if slices.Contains(ltfsCodes(log), unformatted) {
		return nil
	}
	if err == nil {
		err = errors.New("mkltfs did not say that it unformatted the medium")
	}
	return le.ltfsFail(ctx, op, err, log, b)
}

// MayErase refuses, before anything is lost, what cannot be erased: another tape than named, a write-protected one, one that
// the drive cannot write. With unasked the cartridge's memory may name another tape.
func (le *Lease) MayErase(ctx context.Context, b Barcode, unasked bool) error {
	op := "erase tape " + string(b)
	switch {
	case le.vol != nil:
		return fail(op, fmt.Errorf("%w: a volume is mounted", ErrBusy), "")
	case b.Cleaning():
		return fail(op, fmt.Errorf("it is a cleaning cartridge: %w", ErrIncompatible), "")
	case b.WriteOnce():
		return fail(op, fmt.Errorf("it is write-once media: %w", ErrIncompatible), "")
	}
	return le.mayOverwrite(ctx, op, b, unasked)
}

// mayOverwrite proves that the named tape is loaded, and that tape and drive are such that it can be written.
func (le *Lease) mayOverwrite(ctx context.Context, op string, want Barcode, unasked bool) error {
	if g := le.l.driveGeneration(ctx, le.d); !writable(g, want) {
		return want.cannot(op, g, true)
	}
	b, full, err := le.Loaded(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", op, err)
	case !full:
		return fail(op, ErrNoMedium, "load the tape first")
	case b != want && !(le.l.none() && b == ""):
		return fail(op, fmt.Errorf("%w: %q is loaded", ErrWrongVolume, b), "load the tape first")
	}
	st, err := le.l.mtStatus(ctx, le.d)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", op, err)
	case !st.Online:
		return fail(op, fmt.Errorf("%w: the drive is not ready", ErrUnknown), "it may be cleaning; see tapefs drive status")
	case st.WriteProtected:
		return fail(op, ErrWriteProtected, writeProtectedHint)
	}
	if err := le.proveRight(ctx, op); err != nil || unasked {
		return err
	}
	return le.memoryAgrees(ctx, op, want)
}
