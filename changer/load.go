package changer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Load brings the tape into the drive: nothing to do when it is there; another tape goes home first.
// A tape in another drive is brought home from there once that drive's lease can be had. Waits until
// the drive is ready. Refuses cleaning cartridges and tapes that this drive cannot read.
func (le *Lease) Load(ctx context.Context, b Barcode) (err error) {
	op := "load tape " + string(b)
	defer func() { le.deny(err) }()
	if err := le.settle(ctx); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	switch {
	case b == "":
		return fail(op, errors.New("no barcode given"), "a tape without a readable label cannot be asked for: put a label on it")
	case b.Cleaning():
		return fail(op, fmt.Errorf("it is a cleaning cartridge: %w", ErrIncompatible), "clean a drive with: tapefs drive clean")
	case le.vol != nil:
		return fail(op, fmt.Errorf("%w: a volume is mounted", ErrBusy), "")
	}
	if le.l.none() {
		le.tape = b // what the operator was asked for
		return le.noneLoad(ctx, b)
	}
	if _, err := le.l.NamesAgree(ctx, le.d); err != nil {
		return fail(op, err, rightHint)
	}
	ejected, began := false, time.Now()
	le.loading = time.Time{}
	for {
		there, err := le.bring(ctx, op, b)
		if err != nil {
			return err
		}
		err = le.ready(ctx, there && !ejected)
		if errors.Is(err, errEjected) { // in the drive's mouth, not threaded: only the robot can push it in again
			ejected = true
			if err := le.Unload(ctx); err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		le.tape = b
		if !there {
			le.loading = began
		}
		return nil
	}
}

// bring moves until the tape is in the drive; there tells that nothing had to.
func (le *Lease) bring(ctx context.Context, op string, b Barcode) (there bool, err error) {
	for {
		inv, err := le.l.Inventory(ctx)
		if err != nil {
			return false, fmt.Errorf("%s: %w", op, err)
		}
		e, ok := inv.element(le.d.Element)
		if !ok {
			return false, fail(op, fmt.Errorf("the changer has no drive element %d: %w", le.d.Element, ErrNoDrive), "see mtx status, and set the element of drive "+le.d.Serial)
		}
		if inv.count(b) > 1 {
			return false, fail(op, fmt.Errorf("%d cartridges carry this barcode: %w", inv.count(b), ErrUnknown), "take one of them out of the library")
		}
		other, elsewhere := inv.FindDrive(b)
		_, stored := inv.FindSlot(b)
		switch {
		case e.Full && e.Barcode == b:
			return true, nil
		case elsewhere:
			if err := le.fetchFrom(ctx, op, other); err != nil {
				return false, err
			}
			continue
		case !stored:
			return false, fail(op, ErrNotInLibrary, "put it into a mail slot and import it: tapefs tape import")
		}
		if g := le.l.driveGeneration(ctx, le.d); !readable(g, b) {
			return false, b.cannot(op, g, false)
		}
		if e.Full {
			if err := le.Unload(ctx); err != nil {
				return false, fmt.Errorf("%s: %w", op, err)
			}
			continue
		}
		loaded := false
		err = le.filling(ctx, op, func() (err error) {
			loaded, err = le.fill(ctx, op, b)
			return err
		})
		if err != nil || loaded {
			return false, err
		}
	}
}

// fill lets the robot bring a tape from its slot into our empty drive. false without an error: somebody was faster.
func (le *Lease) fill(ctx context.Context, op string, b Barcode) (loaded bool, err error) {
	empty, err := le.nodeEmpty(ctx, op)
	if err != nil {
		return false, err
	}
	err = le.move(ctx, op, func(inv *Inventory) (step, error) {
		s, stored := inv.FindSlot(b)
		if e, ok := inv.element(le.d.Element); !stored || !ok || e.Full {
			return step{}, nil
		}
		loaded = true
		return step{
			args: []string{"load", strconv.Itoa(s.Number), strconv.Itoa(le.d.Element)},
			done: func(inv *Inventory) bool {
				e, _ := inv.element(le.d.Element)
				return e.Full && e.Barcode == b
			},
		}, nil
	})
	le.right = loaded && err == nil && empty // once the node holds a tape
	return loaded, err
}

// fetchFrom brings a tape home from another drive, whose lease must be had for it. Two holders that want
// each other's tape would wait for ever: the wait has a limit.
func (le *Lease) fetchFrom(ctx context.Context, op string, e DriveElement) error {
	if e.Serial == "" {
		return fail(op, fmt.Errorf("it is in drive element %d, which is not configured: %w", e.Number, ErrNoDrive), "unload it there: mtx unload")
	}
	limited, cancel := context.WithTimeout(ctx, le.l.cfg.MoveTimeout)
	defer cancel()
	other, err := le.l.Lease(limited, Request{Drive: e.Serial, Purpose: "unload"})
	if err != nil {
		if ctx.Err() == nil && limited.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrBusy, err)
		}
		return fail(op, fmt.Errorf("it is in drive %s: %w", e.Serial, err), "lease the drive that holds the tape")
	}
	err = other.Unload(ctx)
	if rerr := other.Release(ctx); err == nil {
		err = rerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// Unload brings the tape back to its slot, or a free one. An empty drive is fine.
func (le *Lease) Unload(ctx context.Context) error {
	_, err := le.unload(ctx)
	return err
}

// unload is Unload, and tells to which slot the tape went; 0 when there was none.
func (le *Lease) unload(ctx context.Context) (to int, err error) {
	op := "unload drive " + le.d.Serial
	if err := le.settle(ctx); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	if le.vol != nil {
		return 0, fail(op, fmt.Errorf("%w: a volume is mounted", ErrBusy), "unmount it first")
	}
	if err := le.l.unused(le.d); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	le.tape, le.proved, le.right = "", "", false
	if le.l.none() || le.l.cfg.EjectBeforeUnload {
		if err := le.eject(ctx); err != nil {
			return 0, fmt.Errorf("%s: %w", op, err)
		}
	}
	if le.l.none() {
		return 0, nil
	}
	err = le.move(ctx, op, func(inv *Inventory) (step, error) {
		e, ok := inv.element(le.d.Element)
		if !ok {
			return step{}, fail(op, fmt.Errorf("the changer has no drive element %d: %w", le.d.Element, ErrNoDrive), "see mtx status, and set the element of drive "+le.d.Serial)
		}
		if !e.Full {
			return step{}, nil
		}
		slot, ok := inv.home(e)
		if !ok {
			return step{}, fail(op, ErrLibraryFull, "take a tape out: tapefs tape export")
		}
		to = slot
		return step{
			args: []string{"unload", strconv.Itoa(slot), strconv.Itoa(le.d.Element)},
			done: func(inv *Inventory) bool {
				e, ok := inv.element(le.d.Element)
				s, found := inv.slot(slot)
				return ok && !e.Full && found && s.Full
			},
		}, nil
	})
	return to, err
}

// eject unthreads the tape with mt offline; one that is not threaded is left as it is: mt would wait two
// minutes for a drive that is not ready.
func (le *Lease) eject(ctx context.Context) error {
	st, err := le.l.mtStatus(ctx, le.d)
	if err != nil || !st.Online {
		return err
	}
	_, _, err = le.act(ctx, le.l.cfg.MoveTimeout, le.l.cfg.Programs.Mt, "-f", le.d.Tape, "offline")
	if err != nil {
		return fail("eject", err, notFound(err))
	}
	return nil
}

// Loaded says what the changer reports in this drive, "" for nothing or no barcode. Without a changer
// it is what the last Load proved.
func (le *Lease) Loaded(ctx context.Context) (Barcode, bool, error) {
	if le.l.none() {
		st, err := le.l.mtStatus(ctx, le.d)
		if err != nil || st.DoorOpen {
			return "", false, err
		}
		return le.proved, true, nil
	}
	inv, err := le.l.Inventory(ctx)
	if err != nil {
		return "", false, err
	}
	e, ok := inv.element(le.d.Element)
	if !ok {
		return "", false, fail("look into drive "+le.d.Serial, fmt.Errorf("the changer has no drive element %d: %w", le.d.Element, ErrNoDrive), "see mtx status")
	}
	return e.Barcode, e.Full, nil
}

// errEjected: the changer has a cartridge in the drive, the drive has none.
var errEjected = errors.New("the tape is ejected")

// ejectedAfter is how long a drive that the changer calls full may say that it is empty before its tape
// counts as ejected.
const ejectedAfter = 3 * time.Second

// ready waits until the drive has threaded its tape: mt status shows ONLINE. A bare IM_REP_EN is a drive
// that is becoming ready or a cleaning tape. reload: an ejected tape is worth another load.
func (le *Lease) ready(ctx context.Context, reload bool) error {
	op := "wait for drive " + le.d.Serial
	begin, limit := time.Now(), le.readyTimeout(ctx)
	notices, unsaid := le.becomingReady(ctx)
	defer unsaid()
	open := time.Time{} // since when the drive says that it is empty
	for p := newPoll(); ; {
		st, err := le.l.mtStatus(ctx, le.d)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if st.Online {
			return nil
		}
		if !st.DoorOpen {
			open = time.Time{}
		} else if open.IsZero() {
			open = time.Now()
		}
		if !open.IsZero() && time.Since(open) > ejectedAfter {
			if reload {
				return errEjected
			}
			switch gone, err := le.takenOut(ctx); {
			case err != nil: // it may be busy with the very tape
				le.l.log.Debug("ask the changer for a tape that the drive does not have yet", "err", err)
			case gone:
				return fail(op, ErrNoMedium, "somebody took the tape out of the drive while it was loaded: look at the library")
			}
			if err := le.misplaced(ctx); err != nil {
				return fail(op, err, rightHint)
			}
			open = time.Now()
		}
		notices()
		if time.Since(begin) > limit {
			if st.DoorOpen {
				return fail(op, fmt.Errorf("%w after %s", ErrNoMedium, limit), "the changer calls the drive full: look at the library; is the element of this drive right?")
			}
			return fail(op, fmt.Errorf("%w: not ready after %s", ErrUnknown, limit), "the drive may be cleaning, or refuse the cartridge: see tapefs drive status")
		}
		if err := p.wait(ctx); err != nil {
			return fail(op, fmt.Errorf("%w: not ready: %w", ErrUnknown, err), "")
		}
	}
}

// takenOut tells whether the changer calls the drive empty, too. Without a changer nobody can.
func (le *Lease) takenOut(ctx context.Context) (bool, error) {
	if le.l.none() {
		return false, nil
	}
	inv, err := le.l.Inventory(ctx)
	if err != nil {
		return false, err
	}
	e, ok := inv.element(le.d.Element)
	return !ok || !e.Full, nil
}

// mtStatus asks a drive for its state. It does not block, whatever the drive does.
func (l *Library) mtStatus(ctx context.Context, d DriveConfig) (MTStatus, error) {
	res, err := l.query(ctx, l.cfg.Programs.Mt, "-f", d.Tape, "status")
	if err != nil {
		hint := notFound(err)
		if hint == "" && ctx.Err() == nil {
			hint = "is the drive switched on and its tape device right? see: lsscsi -g"
		}
		return MTStatus{}, fail("read status of drive "+d.Serial, err, hint)
	}
	st, err := parseMT(res.stdout)
	if err != nil {
		return st, fail("read status of drive "+d.Serial, err, "")
	}
	if st.DoorOpen && l.none() {
		l.sawAlone("")
	}
	return st, nil
}

// DriveState is what mt status and the lease say.
type DriveState struct {
	DriveConfig
	Proof   Proof  // that it is the drive which the changer fills; zero when nothing proves it
	Holder  string // who holds the lease, "" free
	Status  MTStatus
	Barcode Barcode
	Mounted bool
	Problem string // why Status is not known, "" when it is
	Away    bool   // it is not there at all
}

// Drives tells the state of every configured drive. It waits for no lease. When the changer cannot be
// read, the states come without barcodes and with the error.
func (l *Library) Drives(ctx context.Context) ([]DriveState, error) {
	l.lookForDrives()
	inv, invErr := l.Inventory(ctx)
	if invErr != nil {
		inv = &Inventory{}
	}
	var out []DriveState
	for _, d := range l.drives() {
		s := DriveState{DriveConfig: d}
		s.Proof, _ = l.Proof(d)
		path := l.driveLock(d.Serial)
		f, err := tryLock(path, unix.LOCK_SH)
		if err != nil {
			return nil, err
		}
		if f != nil {
			f.Close()
		} else {
			s.Holder = holderOf(path)
		}
		if pid := l.stuckPid(d); pid != 0 {
			s.Holder = fmt.Sprintf("%s (pid %d), given up on", l.programOf(pid), pid)
		}
		if err := l.awayError(d); err != nil {
			s.Away, s.Problem = true, err.Error()
		} else if s.Status, err = l.mtStatus(ctx, d); err != nil {
			s.Problem = err.Error()
		}
		if e, ok := inv.element(d.Element); ok && e.Full {
			s.Barcode = e.Barcode
		}
		m, err := driveMount(d)
		if err != nil {
			return nil, err
		}
		s.Mounted = m != nil
		out = append(out, s)
	}
	return out, invErr
}
