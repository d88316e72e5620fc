package changer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Transfer moves the cartridge of one slot into another, mail slots included. want is the barcode that the
// caller saw in from: when another one lies there by now nothing moves. It takes the robot's lock only, since
// no drive is involved.
func (l *Library) Transfer(ctx context.Context, from, to int, want Barcode) error {
	op := fmt.Sprintf("move the tape of slot %d to slot %d", from, to)
	if l.none() {
		return fail(op, errors.New("there is no changer"), "with changer: none the operator moves the tapes")
	}
	_, err := l.moveRobot(ctx, op, nil, nil, func(inv *Inventory) (step, error) {
		s, okFrom := inv.slot(from)
		t, okTo := inv.slot(to)
		switch {
		case !okFrom, !okTo:
			return step{}, fail(op, errors.New("the library has no such slot"), "see the slots with: tapefs library status")
		case from == to:
			return step{}, nil
		case !s.Full:
			return step{}, fail(op, fmt.Errorf("slot %d is empty: %w", from, ErrNotInLibrary), "see where tapes are with: tapefs library status")
		case s.Barcode != want:
			return step{}, fail(op, fmt.Errorf("slot %d holds %q by now, not %q: %w", from, s.Barcode, want, ErrUnknown), "look again with: tapefs library status")
		case t.Full:
			return step{}, fail(op, fmt.Errorf("slot %d holds %q: %w", to, t.Barcode, ErrLibraryFull), "choose an empty slot: tapefs library status")
		}
		return step{
			args: []string{"transfer", strconv.Itoa(from), strconv.Itoa(to)},
			done: func(inv *Inventory) bool {
				s, _ := inv.slot(from)
				t, _ := inv.slot(to)
				return !s.Full && t.Full && t.Barcode == want
			},
		}, nil
	})
	return err
}

// UnloadTo brings the tape of the drive to a slot that the caller chose. An empty drive is an error, as is
// a slot that is not empty.
func (le *Lease) UnloadTo(ctx context.Context, slot int) error {
	op := fmt.Sprintf("unload drive %s to slot %d", le.d.Serial, slot)
	if err := le.mayUnload(ctx, op); err != nil {
		return err
	}
	if le.l.none() {
		return fail(op, errors.New("there is no changer"), "tapefs tape unload ejects the tape")
	}
	if le.l.cfg.EjectBeforeUnload {
		if err := le.eject(ctx); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return le.move(ctx, op, func(inv *Inventory) (step, error) {
		e, ok := inv.element(le.d.Element)
		s, found := inv.slot(slot)
		switch {
		case !ok:
			return step{}, fail(op, fmt.Errorf("the changer has no drive element %d: %w", le.d.Element, ErrNoDrive), "see mtx status, and set the element of drive "+le.d.Serial)
		case !e.Full:
			return step{}, fail(op, ErrNoMedium, "")
		case !found:
			return step{}, fail(op, errors.New("the library has no such slot"), "see the slots with: tapefs library status")
		case s.Full:
			return step{}, fail(op, fmt.Errorf("slot %d holds %q: %w", slot, s.Barcode, ErrLibraryFull), "choose an empty slot: tapefs library status")
		}
		label := e.Barcode
		return step{
			args: []string{"unload", strconv.Itoa(slot), strconv.Itoa(le.d.Element)},
			done: func(inv *Inventory) bool {
				e, _ := inv.element(le.d.Element)
				s, _ := inv.slot(slot)
				return !e.Full && s.Full && s.Barcode == label
			},
		}, nil
	})
}

// mayUnload is what must hold before a tape leaves the drive; what was proved of it ends then.
func (le *Lease) mayUnload(ctx context.Context, op string) error {
	if err := le.mayUse(ctx, op); err != nil {
		return err
	}
	le.tape, le.proved, le.right = "", "", false
	return nil
}

// mayUse wants the drive unused: nothing of ours is mounted and nobody else uses it.
func (le *Lease) mayUse(ctx context.Context, op string) error {
	if err := le.settle(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if le.vol != nil {
		return fail(op, fmt.Errorf("%w: a volume is mounted", ErrBusy), "unmount it first")
	}
	if err := le.l.unused(le.d); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// LoadSlot brings the cartridge of a slot into the empty drive, whatever its label says or lacks, cleaning
// cartridges as well. It does not wait until the drive is ready: see Ready. want is the barcode that the caller
// saw in the slot; when another one lies there by now nothing moves.
func (le *Lease) LoadSlot(ctx context.Context, slot int, want Barcode) error {
	op := fmt.Sprintf("load the tape of slot %d", slot)
	if err := le.mayUnload(ctx, op); err != nil {
		return err
	}
	if le.l.none() {
		return fail(op, errors.New("there is no changer"), "insert the tape by hand")
	}
	if g := le.l.driveGeneration(ctx, le.d); !want.Cleaning() && !readable(g, want) {
		return want.cannot(op, g, false)
	}
	err := le.filling(ctx, op, func() error { return le.fillFrom(ctx, op, slot, want) })
	if err == nil {
		le.tape = want
	}
	return err
}

// fillFrom lets the robot bring the cartridge of a slot into our empty drive.
func (le *Lease) fillFrom(ctx context.Context, op string, slot int, want Barcode) error {
	empty := false
	err := le.move(ctx, op, func(inv *Inventory) (step, error) {
		e, ok := inv.element(le.d.Element)
		s, found := inv.slot(slot)
		switch {
		case !ok:
			return step{}, fail(op, fmt.Errorf("the changer has no drive element %d: %w", le.d.Element, ErrNoDrive), "see mtx status, and set the element of drive "+le.d.Serial)
		case e.Full:
			return step{}, fail(op, fmt.Errorf("%w: drive %d holds %q", ErrBusy, e.Number, e.Barcode), "unload it first: tapefs tape unload "+strconv.Itoa(e.Number))
		case !found:
			return step{}, fail(op, errors.New("the library has no such slot"), "see the slots with: tapefs library status")
		case !s.Full:
			return step{}, fail(op, fmt.Errorf("slot %d is empty: %w", slot, ErrNotInLibrary), "see where tapes are with: tapefs library status")
		case s.Barcode != want:
			return step{}, fail(op, fmt.Errorf("slot %d holds %q by now, not %q: %w", slot, s.Barcode, want, ErrUnknown), "look again with: tapefs library status")
		}
		var err error
		if empty, err = le.nodeEmpty(ctx, op); err != nil {
			return step{}, err
		}
		return step{
			args: []string{"load", strconv.Itoa(slot), strconv.Itoa(le.d.Element)},
			done: func(inv *Inventory) bool {
				e, _ := inv.element(le.d.Element)
				s, _ := inv.slot(slot)
				return e.Full && !s.Full && e.Barcode == want
			},
		}, nil
	})
	le.right = err == nil && empty // once the node holds a tape
	return err
}

// Ready waits until the drive has threaded its tape, as long as Load does.
func (le *Lease) Ready(ctx context.Context) error {
	if err := le.settle(ctx); err != nil {
		return fmt.Errorf("wait for drive %s: %w", le.d.Serial, err)
	}
	return le.ready(ctx, false)
}

// Eject unthreads the tape, as the button at the drive does. In a library the robot can still take it, and
// the changer still calls the drive full. A drive whose tape is not threaded is ErrNoMedium.
func (le *Lease) Eject(ctx context.Context) error {
	op := "eject the tape of drive " + le.d.Serial
	if err := le.mayUnload(ctx, op); err != nil {
		return err
	}
	st, err := le.l.mtStatus(ctx, le.d)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if !st.Online {
		return fail(op, ErrNoMedium, "see the drive's state with: tapefs drive status")
	}
	if err := le.eject(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// Status asks the leased drive for its state.
func (le *Lease) Status(ctx context.Context) (MTStatus, error) { return le.l.mtStatus(ctx, le.d) }

// Check runs ltfsck over the loaded, unmounted volume and returns its message codes in order. ltfsck repairs
// the index where that loses nothing. deep is its
// --deep-recovery: a volume whose end of data is missing is taken back to its last whole index, and blocks
// behind that may be lost. The caller has to have been asked for that by a person.
func (le *Lease) Check(ctx context.Context, deep bool) (codes []string, err error) {
	op := "check the tape in drive " + le.d.Serial
	if err := le.mayUse(ctx, op); err != nil {
		return nil, err
	}
	if err := le.proveRight(ctx, op); err != nil { // a repair of somebody else's tape is no repair
		return nil, err
	}
	device, err := le.l.ltfsDevice(ctx, le.d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	args := []string{le.l.cfg.Programs.Ltfsck}
	if deep {
		args = append(args, "--deep-recovery")
	}
	args = append(args, device)
	defer le.says("ltfsck of " + string(le.label(ctx)))()
	res, pending, err := le.act(ctx, le.l.cfg.CheckTimeout, args...)
	if pending != nil {
		return nil, le.leaveCheck(ctx, op, err)
	}
	log := res.stdout + res.stderr
	codes = ltfsCodes(log)
	var pe *ProgramError
	ended := err == nil || errors.As(err, &pe) && pe.Err == nil // by itself, and not by a signal
	if ended && le.l.dialect(ctx).consistent(res.code, codes) {
		if uuid, _ := readLabel(res.stdout + "\n" + res.stderr); uuid != "" {
			le.l.forget(uuid) // whatever session died on it
		}
		return codes, nil
	}
	if err == nil { // it exits with 0 whatever it found
		err = &ProgramError{Args: args, Code: res.code, Stderr: lastLines(res.stderr, stderrLines)}
	}
	return codes, le.ltfsFail(ctx, op, err, log, le.label(ctx))
}
