package changer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// Request says what a lease is for.
type Request struct {
	Barcode Barcode             // the drive that holds it is preferred; "" any
	Drive   string              // only this serial
	Avoid   []string            // none of these serials
	Write   bool                // one that can write it
	Purpose string              // "archive", "read", "format": shown to others who wait
	Wait    func(holder string) // called once when it has to wait; may be nil
	Told    bool                // Wait tells a person: Config.Waits only tells of what lasts longer
}

// Lease is the right of this process to use one drive. Not safe for concurrent use.
type Lease struct {
	l       *Library
	d       DriveConfig
	lock    *os.File        // nil once given back
	vol     *Volume         // mounted, or nil
	doing   []string        // the program that pending is about
	pending <-chan struct{} // closed when a program that we no longer waited for is gone; or nil
	tape    Barcode         // that Load or LoadSlot brought; "" when it was here before
	proved  Barcode         // without a changer: the tape that a mount proved to be in the drive
	left    bool            // pending is an ltfs that nobody waits for any more
	ended   <-chan struct{} // closed when the command that leased the drive is told to end
	waited  bool            // others had the drive when it was asked for
	turn    time.Time       // since when it can be used: had, or mounted
	loading time.Time       // when the Load began that moved the robot for the tape; zero: none did, or it was mounted since
	right   bool            // the tape that is loaded was proved to be in this very drive, see proveRight
}

const (
	// inventoryAge is how old a reading of the changer may get while a lease waits.
	inventoryAge = 5 * time.Second
	// deferLimit bounds how long a free drive is left to those whose turn it is: one that cannot take it (stopped, or served
	// elsewhere) must not keep it idle.
	deferLimit = time.Minute
)

// Lease waits for a drive: the one that holds the barcode, whoever has it now; else an empty free one;
// else a free one with an idle tape. It holds an flock until Release; a died owner's is free at once.
// Who waits longest comes first. A drive that this Library had last is left to all others who wait for it. One that they leave idle is
// taken after a minute.
// What a died owner left mounted is synced, unmounted and awaited first.
func (l *Library) Lease(ctx context.Context, r Request) (*Lease, error) {
	op := "lease a drive"
	if r.Barcode != "" {
		op = "lease a drive for " + string(r.Barcode)
	}
	w := &waiting{l: l, began: time.Now(), wants: map[string]*want{}, passed: map[string]time.Time{}, notices: NewNotices(r.waitsFor(), r.Told, l.cfg.Waits)}
	defer w.end()
	broken := map[string]error{} // drives that cannot be used, and why
	var inv *Inventory
	var read time.Time
	for p, rounds := newPoll(), 0; ; rounds++ {
		if inv == nil || time.Since(read) > inventoryAge {
			var err error
			if inv, err = l.leaseInventory(ctx, r); err != nil {
				return nil, fmt.Errorf("%s: %w", op, err)
			}
			read = time.Now()
		}
		drives, err := l.candidates(ctx, inv, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		drives = slices.DeleteFunc(drives, func(d DriveConfig) bool { return broken[d.Serial] != nil })
		if len(drives) == 0 {
			var all []error
			for _, err := range broken {
				all = append(all, err)
			}
			return nil, fmt.Errorf("%s: %w", op, errors.Join(all...))
		}
		again := false
		for _, d := range drives {
			le, err := w.try(ctx, d, r)
			if err != nil {
				if ctx.Err() != nil {
					return nil, fmt.Errorf("%s: %w", op, err)
				}
				broken[d.Serial], again = err, true
				continue
			}
			if le == nil {
				continue
			}
			// while the lock was not ours the tapes may have moved
			if inv, err = l.leaseInventory(ctx, r); err == nil {
				read = time.Now()
				var now []DriveConfig
				if now, err = l.candidates(ctx, inv, r); slices.Contains(now, d) {
					return le, nil
				}
			}
			le.unlock()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", op, err)
			}
			again = true
			break
		}
		if again {
			continue
		}
		if rounds > 0 { // a lock that somebody only looked at is free the next moment
			w.announce(drives, r)
		}
		if err := p.wait(ctx); err != nil {
			return nil, fail(op, fmt.Errorf("wait for %s: %w", holderOf(l.driveLock(drives[0].Serial)), err), "")
		}
	}
}

// leaseInventory reads the changer unless the choice of a drive does not depend on it.
func (l *Library) leaseInventory(ctx context.Context, r Request) (*Inventory, error) {
	l.lookForDrives()
	if l.none() || r.Barcode == "" && r.Drive != "" {
		return &Inventory{}, nil
	}
	return l.Inventory(ctx)
}

// candidates lists the drives that may serve a request, the best first.
func (l *Library) candidates(ctx context.Context, inv *Inventory, r Request) ([]DriveConfig, error) {
	if r.Barcode.Cleaning() {
		return nil, fail("choose a drive", fmt.Errorf("%s is a cleaning cartridge: %w", r.Barcode, ErrIncompatible), "clean a drive with: tapefs drive clean")
	}
	var only *DriveConfig
	if r.Drive != "" {
		d, ok := l.drive(r.Drive)
		if !ok {
			return nil, fail("choose a drive", fmt.Errorf("drive %s is not configured: %w", r.Drive, ErrNoDrive), "see library.drives in the configuration")
		}
		if err := l.awayError(d); err != nil {
			return nil, fmt.Errorf("choose a drive: %w", err)
		}
		only = &d
	}
	if l.none() {
		d := l.drives()[0]
		return []DriveConfig{d}, l.awayError(d)
	}
	if r.Barcode != "" {
		if err := inv.unclear("choose a drive", r.Barcode); err != nil {
			return nil, err
		}
		e, loaded := inv.FindDrive(r.Barcode)
		_, stored := inv.FindSlot(r.Barcode)
		switch {
		case !loaded && !stored:
			return nil, fail("choose a drive", ErrNotInLibrary, "put "+string(r.Barcode)+" into a mail slot and import it: tapefs tape import")
		case loaded && e.Serial == "":
			return nil, fail("choose a drive", fmt.Errorf("it is in drive element %d, which is not configured: %w", e.Number, ErrNoDrive), "add the drive to library.drives, or unload it: mtx unload")
		case loaded && only == nil && slices.Contains(r.Avoid, e.Serial):
			return nil, fail("choose a drive", fmt.Errorf("%s is in drive %d, which is set aside: %w", r.Barcode, e.Number, ErrNoDrive), fmt.Sprintf("tapefs tape unload %d", e.Number))
		case loaded && only == nil:
			d, _ := l.drive(e.Serial)
			if err := l.awayError(d); err != nil {
				return nil, fmt.Errorf("choose a drive: the one that holds the tape: %w", err)
			}
			if g := l.driveGeneration(ctx, d); readable(g, r.Barcode) && (!r.Write || writable(g, r.Barcode)) {
				return []DriveConfig{d}, nil
			}
			// somebody put it where it cannot be used: Load brings it from there to one where it can
		}
	}
	var empty, idle []DriveConfig
	for _, d := range l.drives() {
		if only != nil && d.Serial != only.Serial || slices.Contains(r.Avoid, d.Serial) || l.awayError(d) != nil {
			continue
		}
		if g := l.driveGeneration(ctx, d); !readable(g, r.Barcode) || r.Write && !writable(g, r.Barcode) {
			continue
		}
		if e, ok := inv.element(d.Element); ok && e.Full {
			idle = append(idle, d)
		} else {
			empty = append(empty, d)
		}
	}
	if len(empty)+len(idle) == 0 {
		why := fmt.Errorf("%w: %s", ErrNoDrive, l.noDriveFor(ctx, r))
		if len(l.Away()) > 0 {
			why = noDriveError{why}
		}
		return nil, fail("choose a drive", why, "")
	}
	return append(empty, idle...), nil
}

// noDriveFor says why none of the drives serves a request: which kind the medium needs, and which there are.
func (l *Library) noDriveFor(ctx context.Context, r Request) string {
	away := ""
	for _, d := range l.drives() {
		if l.awayError(d) != nil {
			away += fmt.Sprintf("; %s is not there: is it switched on?", nameOf(d))
		}
	}
	return l.noDriveHere(ctx, r) + away
}

func (l *Library) noDriveHere(ctx context.Context, r Request) string {
	needs := r.Barcode.needs(r.Write)
	if needs == "" || len(r.Avoid) > 0 || r.Drive != "" {
		why := fmt.Sprintf("all drives that could take %s are set aside or not asked for", r.Barcode)
		if needs != "" {
			why += "; " + needs
		}
		return why
	}
	var have []string
	for _, d := range l.drives() {
		kind := "an unknown kind"
		if g := l.driveGeneration(ctx, d); g > 0 {
			kind = fmt.Sprintf("LTO-%d", g)
		}
		if !slices.Contains(have, kind) {
			have = append(have, kind)
		}
	}
	return fmt.Sprintf("%s; those configured are %s", needs, strings.Join(have, ", "))
}

// CanWrite tells whether a drive of the library, of those not to be avoided, writes a tape, as far as label and
// drives say what they are. A fresh one would have to be formatted first.
func (l *Library) CanWrite(ctx context.Context, b Barcode, fresh bool, avoid []string) bool {
	if b.Cleaning() || fresh && !b.formattable() {
		return false
	}
	return slices.ContainsFunc(l.drives(), func(d DriveConfig) bool {
		return !slices.Contains(avoid, d.Serial) && l.awayError(d) == nil && writable(l.driveGeneration(ctx, d), b)
	})
}

// driveGeneration asks a drive what it is, once. While ltfs has it, it does not say: then what was noted about this serial number
// earlier counts. 0 when that is nothing.
func (l *Library) driveGeneration(ctx context.Context, d DriveConfig) int {
	l.mu.Lock()
	n, ok := l.generation[d.Serial]
	l.mu.Unlock()
	if ok {
		return n
	}
	var res result
	err := l.awayError(d)
	if err == nil {
		res, err = l.query(ctx, l.cfg.Programs.Mtx, "-f", d.Device, "inquiry")
	}
	noted := filepath.Join(l.cfg.RunDir, "generation."+d.Serial)
	if err != nil {
		text, err := os.ReadFile(noted)
		if err != nil {
			return 0
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || n < 0 || n > 20 {
			return 0
		}
		return n
	}
	q, err := parseInquiry(res.stdout)
	if err != nil {
		return 0
	}
	n = q.Generation()
	if err := renameio.WriteFile(noted, fmt.Appendln(nil, n), 0o600); err != nil {
		l.log.Warn("note the generation of a drive", "drive", d.Serial, "err", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation[d.Serial] = n
	return n
}

// Drive tells which drive it is.
func (le *Lease) Drive() DriveConfig { return le.d }

// Wanted tells whether somebody else waits for this drive.
func (le *Lease) Wanted() bool {
	wanted, err := held(le.l.wantLock(le.d.Serial))
	if err != nil {
		le.l.log.Warn("cannot tell who waits for the drive", "drive", le.d.Serial, "err", err)
	}
	return wanted
}

// Due reports whether the drive is to be handed over: somebody else waits for it, and who waited for it as well has had it for slice
// since the volume was mounted. Without that, two who give way to each other would load and mount and do nothing else.
func (le *Lease) Due(slice time.Duration) bool {
	return (!le.waited || time.Since(le.turn) >= slice) && le.Wanted()
}

// Volume returns the mounted volume of this lease, nil when there is none.
func (le *Lease) Volume() *Volume { return le.vol }

// label is the barcode of the loaded tape, for hints: what was loaded for this lease, or what the changer reads; "" unknown.
func (le *Lease) label(ctx context.Context) Barcode {
	if le.tape != "" {
		return le.tape
	}
	b, _, err := le.Loaded(ctx)
	if err != nil {
		le.l.log.Debug("look which tape a hint is about", "drive", le.d.Serial, "err", err)
	}
	return b
}

func (le *Lease) unlock() {
	if le.lock != nil {
		le.lock.Close()
		le.lock = nil
	}
}

// settle begins what is done with the drive: the lock must be ours still, and a program that an earlier call no longer waited for is awaited.
func (le *Lease) settle(ctx context.Context) error {
	if err := le.Held(); err != nil {
		return err
	}
	return le.awaitPending(ctx)
}

// awaitPending waits for a program that an earlier call no longer waited for.
func (le *Lease) awaitPending(ctx context.Context) error {
	if le.pending == nil {
		return nil
	}
	select {
	case <-le.pending:
		le.pending, le.left = nil, false
		return nil
	case <-ctx.Done():
		return fmt.Errorf("an earlier operation on drive %s has not ended (%s): %w: %w", le.d.Serial, commandLine(le.doing), ErrUnknown, context.Cause(ctx))
	}
}

// act runs a program that changes the state of this drive, see Library.act; the drive is not given back before it has ended.
func (le *Lease) act(ctx context.Context, limit time.Duration, args ...string) (res result, pending <-chan struct{}, err error) {
	res, pending, err = le.l.act(ctx, limit, []*os.File{le.lock}, args...)
	le.pending, le.doing = pending, args
	return res, pending, err
}

// settleAtLast is settle before the drive is given back. What was given up on is not waited for, and nothing for ever.
func (le *Lease) settleAtLast(ctx context.Context) error {
	if le.pending == nil {
		return nil
	}
	if le.left {
		select {
		case <-le.pending:
			return nil
		default:
			le.l.log.Warn("the drive stays in use until ltfs has ended", "drive", le.d.Serial)
			return ErrStuck
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, le.l.cfg.UnmountTimeout, fmt.Errorf("no end after %s", le.l.cfg.UnmountTimeout))
	defer cancel()
	timer := time.AfterFunc(leaveGrace, func() {
		le.l.log.Warn("waiting for a program that must not be interrupted", "drive", le.d.Serial, "program", commandLine(le.doing))
	})
	defer timer.Stop()
	return le.awaitPending(limited)
}

// Release gives the drive back; a volume still mounted is synced if needed, unmounted and awaited first.
// The tape stays in the drive. When ctx ends, or the volume is in use, before the drive stands still,
// an error says so and the drive stays leased until it does; the Lease cannot be used any more.
func (le *Lease) Release(ctx context.Context) error {
	if le.lock == nil {
		return nil
	}
	var errs []error
	if v := le.vol; v != nil {
		if !v.ReadOnly && !v.child.gone() {
			if _, err := v.Sync(ctx); err != nil {
				errs = append(errs, err)
			}
		}
		if err := v.Unmount(ctx); err != nil {
			errs = append(errs, err)
		}
		if le.vol != nil { // in use by somebody
			le.vol, le.pending, le.doing = nil, le.l.abandon(v.child, v.Dir), v.child.cmd.Args
		}
	}
	if err := le.settleAtLast(ctx); err != nil {
		if !errors.Is(err, ErrStuck) { // that was said when it was given up on
			errs = append(errs, err)
		}
		lock, pending := le.lock, le.pending
		le.lock = nil
		go func() {
			<-pending
			lock.Close()
		}()
	}
	le.unlock()
	if len(errs) > 0 {
		return fmt.Errorf("release drive %s: %w", le.d.Serial, errors.Join(errs...))
	}
	return nil
}
