package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"tapefs/archiver/job"
	"tapefs/archiver/pack"
	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/changer"
)

// writer writes owed copies to tapes, one drive at a time. Only its own goroutine uses it, but
// for call, wake, makeRoom and halt.
type writer struct {
	a       *Archiver
	run     catalog.Run
	sources map[int64]Source // whose locks this run holds
	until   time.Time
	now     bool // write however little is owed
	names   bool // write a manifest for changes alone, too

	unlock func() // of the writer lock; nil before it was needed
	lease  *changer.Lease
	volume *changer.Volume // nil when nothing is mounted
	tape   catalog.Tape    // that is mounted
	pool   Pool            // of tape

	lastSeq   int   // greatest number that a manifest on the mounted volume has, or may have had
	stuck     bool  // this machine could not put a manifest together: what is written in this run is named by the next
	unsynced  int64 // bytes written since the last sync
	worked    bool  // a part was written since the tape was mounted
	synced    time.Time
	tried     map[changer.Barcode]bool // tapes that this run will not take again
	removed   map[changer.Barcode]int  // how often a tape was taken out, or its ltfs killed, while this run wrote to it
	blocked   map[string]error         // pools without a tape, and why
	failed    map[int64]bool           // copies that this run gave up
	again     *int64                   // the next manifest names all changes after this one
	mustSnap  bool                     // a snapshot is wanted though nothing was written since the last
	repacked  map[int64]bool           // copies whose object was packed anew in this run
	fromCopy  map[int64]bool           // copies that the spool cannot repeat: another copy must give them
	uncopied  map[int64]bool           // copies that no other copy could give in this run
	shared    map[int64]bool           // objects of other sources that have bytes of this run's files, and lack a copy
	away      map[int64]bool           // sources that could not be read any more in this run
	absent    map[string]error         // tapes that could not be copied from in this run, and why
	worthy    map[string]bool          // pools whose owed bytes were worth a mount in this run
	held      map[string]Held          // pools that are owed too little, as last seen
	written   int64                    // bytes, for the progress: of whole parts
	shown     int64                    // bytes, those of the part in hand included
	expected  int64                    // bytes that will be written, as far as is known
	noted     *job.Problems
	losses    *spoolLosses // shared with followers
	stageName string       // of the progress
	peers     *peers
	followers map[string]*follower       // by pool
	paired    map[string]map[int64]int64 // by pool: copies of the objects at hand that it is owed, by object
	follows   bool                       // it is a follower's own
	beside    []Pool                     // that other drives can write at the same time; not begun yet
	onlyAlone bool                       // write only what no other pool waits for
	halt      atomic.Bool                // begin no further object
	quiet     atomic.Bool                // all that is still to come is from sources that are silent
	rested    bool                       // it stood down for that, and nothing came since
	letGo     func(source string) bool   // gives up the lock of a source that nothing more comes of; nil: they are not its to give

	failures atomic.Int64 // tapes that had to be given up
	closing  error        // what kept the last tape from being closed in order; read when the loop has ended

	calls   chan call
	work    chan struct{} // something new may be owed
	needed  chan struct{} // the spool is full
	done    chan struct{} // closed when nothing new will come
	stopped chan struct{} // closed when the writer ended
	freed   chan bool     // answers needed: whether bytes were released
}

type call struct {
	f    func(context.Context) error
	done chan error
}

// call runs f in the writer's goroutine.
func (w *writer) call(ctx context.Context, f func(context.Context) error) error {
	c := call{f: f, done: make(chan error, 1)}
	select {
	case w.calls <- c:
	case <-w.stopped:
		return errors.New("the tape writer has stopped")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-w.stopped:
		return errors.New("the tape writer has stopped")
	}
}

// openTape mounts a tape of a pool with room for need more bytes, or keeps the one that is.
// ErrNeedsOperator when there is none.
func (w *writer) openTape(ctx context.Context, pool string, need int64) error {
	if err := w.blocked[pool]; err != nil {
		return err
	}
	if w.unlock == nil {
		unlock, err := w.a.env.LockWriter(ctx)
		if err != nil {
			return err
		}
		w.unlock = unlock
	}
	p, err := w.a.env.Pool(pool)
	if err != nil {
		return err
	}
	if f := w.followers[pool]; f != nil {
		w.dismiss(f) // its tape is wanted here
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.volume != nil && w.pool.Name != pool {
			if err := w.closeTape(ctx); err != nil {
				return err
			}
		}
		if w.volume != nil {
			if w.worked && w.lease.Due(w.a.env.Config.WriterSlice) {
				if err := w.yield(ctx); err != nil {
					return err
				}
				continue
			}
			ok, err := w.room(need)
			if isTapeError(err) {
				err = w.volume.WriteFault(err)
				w.noted.Add("", "", err)
				if err := w.tapeFailed(ctx, isFull(err), err); err != nil {
					return err
				}
				continue
			}
			if err != nil || ok {
				return err
			}
			if err := w.fillTape(ctx); err != nil {
				return err
			}
			continue
		}
		if err := w.mountNext(ctx, p); err != nil {
			if errors.Is(err, ErrNeedsOperator) {
				w.blocked[pool] = err // noteBlocked says it, if anything is owed
			}
			return err
		}
	}
}

// errTooSmall: an empty tape of the pool cannot hold the part.
var errTooSmall = errors.New("the part is larger than an empty tape of the pool")

// room tells whether the mounted tape takes need more bytes.
func (w *writer) room(need int64) (bool, error) {
	free, err := w.volume.Free()
	if err != nil {
		return false, &pack.WriteError{Err: fmt.Errorf("ask tape %s for its free space: %w", w.tape.Barcode, err)}
	}
	if free-volume.KeepFree(w.pool, w.volume.Capacity) >= need {
		return true, nil
	}
	if w.tape.Used == 0 && w.tape.Leftover == 0 && w.unsynced == 0 {
		return false, fmt.Errorf("write %d bytes to tape %s: %w", need, w.tape.Barcode, errTooSmall)
	}
	return false, nil
}

// mountNext mounts the next candidate of a pool, formatting a blank one where that is allowed.
// Candidates that do not do are passed over, and the operator is told why.
func (w *writer) mountNext(ctx context.Context, p Pool) error {
	if w.a.env.Lib.Alone() {
		if err := w.identify(ctx); err != nil {
			return errors.Join(err, w.giveUp(ctx))
		}
	}
	inv, err := w.a.env.Lib.Inventory(ctx)
	if err != nil {
		return fmt.Errorf("look for a tape of pool %s: %w", p.Name, err)
	}
	tapes, err := w.a.env.DB.Tapes(ctx)
	if err != nil {
		return fmt.Errorf("look for a tape of pool %s: %w", p.Name, err)
	}
	avoid, err := volume.SetAside(ctx, w.a.env)
	if err != nil {
		return err
	}
	if w.follows { // what only the other writers' drives can write is not for it
		avoid = append(avoid, w.peers.others(w)...)
	}
	for b, all := range inv.Unclear {
		if !w.tried[b] && p.Takes(b) {
			w.tried[b] = true
			w.noted.Add("", "", fmt.Errorf("a tape is passed over: the library reads its label as %s, which may be any of %s; have it read all eight characters", b, all))
		}
	}
	for _, c := range volume.Candidates(p, inv.Barcodes(), tapes) {
		if w.tried[c.Barcode] {
			continue
		}
		if !w.a.env.Lib.CanWrite(ctx, c.Barcode, !c.Known, avoid) {
			w.a.env.Log.Debug("no drive can write the tape", "tape", c.Barcode)
			continue
		}
		if !w.peers.claim(w, c.Barcode) {
			continue
		}
		removed := w.removed[c.Barcode]
		ok, err := w.try(ctx, p, c)
		if err != nil {
			return errors.Join(err, w.giveUp(ctx))
		}
		if ok {
			return nil
		}
		if w.removed[c.Barcode] > removed && !w.tried[c.Barcode] { // it was read back since, and does
			return w.mountNext(ctx, p)
		}
		w.tried[c.Barcode] = true
		if err := w.giveUp(ctx); err != nil {
			return err
		}
	}
	if w.a.env.Lib.Alone() { // the operator needs the drive
		if err := w.giveUp(ctx); err != nil {
			return err
		}
	}
	return w.a.wanted(ctx, p, inv)
}

// try loads and mounts one candidate; false: it does not do, and why is noted.
func (w *writer) try(ctx context.Context, p Pool, c volume.Candidate) (bool, error) {
	if err := w.a.mayWrite(ctx); err != nil {
		return false, err
	}
	pass := func(err error) (bool, error) {
		w.noted.Add("", "", fmt.Errorf("tape %s is passed over: %w", c.Barcode, err))
		return false, nil
	}
	if c.Known {
		// A session before this one, also of this run, may have ended badly: the sync of this one must not make safe what
		// was lost with that.
		if err := w.proveLeft(ctx, c.Tape); err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if errors.Is(err, ErrOlder) {
				return false, err
			}
			return pass(fmt.Errorf("it holds parts that nobody proved: %w", err))
		}
	}
	if err := w.takeDrive(ctx, c.Barcode, true); err != nil {
		switch {
		case !c.Known && errors.Is(err, changer.ErrIncompatible):
			w.a.env.Log.Warn("a tape is passed over", "tape", c.Barcode, "error", err) // its label does not say what it is, the drive does
			return false, nil
		case errors.Is(err, changer.ErrNotInLibrary), errors.Is(err, changer.ErrIncompatible), errors.Is(err, changer.ErrNoDrive),
			errors.Is(err, changer.ErrStuck):
			return pass(err)
		}
		return false, err
	}
	if !c.Known {
		t, err := w.a.format(ctx, w.lease, c.Barcode, p, FormatOptions{})
		if err == nil {
			w.take(p, t, 0)
			return true, nil
		}
		if errors.Is(err, ErrOlder) {
			return false, err
		}
		if ltfsKilled(w.lease.Volume(), err) {
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
			if _, err := w.blameDrive(ctx, string(c.Barcode), err); err != nil {
				return false, err
			}
			if gerr := w.giveUpFailed(ctx, c.Barcode); gerr != nil {
				return false, errors.Join(err, gerr)
			}
		}
		if failed || errors.Is(err, changer.ErrNotBlank) || errors.Is(err, changer.ErrUnknown) || errors.Is(err, changer.ErrWriteProtected) ||
			errors.Is(err, changer.ErrReadOnly) || errors.Is(err, changer.ErrIncompatible) || errors.Is(err, changer.ErrStuck) || errors.Is(err, changer.ErrOtherCartridge) {
			return pass(err)
		}
		return false, err
	}
	w.a.env.Note("mounting %s", c.Barcode)
	v, err := w.lease.Mount(ctx, changer.MountRequest{UUID: c.Tape.UUID})
	if err == nil && v.ReadOnly {
		_, uerr := w.a.env.DB.UpdateTape(ctx, c.Tape.ID, func(t *catalog.Tape) error {
			t.State, t.Note = catalog.TapeFull, "mounted read-only: write-protected or full"
			return nil
		})
		if uerr != nil {
			return false, uerr
		}
		return pass(changer.ErrReadOnly)
	}
	if err == nil {
		err = volume.CheckLabel(w.a.env, v, c.Tape)
		if errors.Is(err, volume.ErrLabelMissing) && c.Tape.Used == 0 && c.Tape.UUID == v.UUID {
			_, err = volume.WriteLabel(ctx, w.a.env, v, c.Tape) // its format was interrupted after the catalog knew its UUID
		}
	}
	last := 0
	if err == nil {
		last, err = w.a.checkJournal(ctx, v, c.Tape, true)
	}
	if errors.Is(err, changer.ErrWrongVolume) {
		if is, ierr := w.a.whoIs(ctx, w.lease); ierr == nil {
			if serr := w.a.stranger(ctx, string(c.Barcode), is); serr != nil {
				return false, serr
			}
		}
	}
	switch {
	case err == nil:
	case ltfsKilled(v, err):
		_, err = w.takenOut(ctx, c.Tape, v, err)
		return false, err
	case errors.Is(err, volume.ErrLabelFailed):
		if uerr := volume.MarkSuspect(ctx, w.a.env, c.Tape.ID, err); uerr != nil {
			return false, uerr
		}
		if _, berr := w.blameDrive(ctx, string(c.Barcode), err); berr != nil {
			return false, berr
		}
		if gerr := w.giveUpFailed(ctx, c.Barcode); gerr != nil {
			return false, errors.Join(err, gerr)
		}
		return pass(err)
	case errors.Is(err, changer.ErrWrongVolume) && w.a.env.Lib.Guessed(c.Barcode): // another tape with the same six characters
		return pass(err)
	case errors.Is(err, changer.ErrWrongVolume), errors.Is(err, changer.ErrNotFormatted),
		errors.Is(err, changer.ErrNeedsCheck), errors.Is(err, ErrNoLabel), errors.Is(err, volume.ErrLabelMissing),
		v != nil && changer.FaultOf(err) == changer.Damaged && !volume.VolumeGone(v, err): // its label or manifests cannot be read
		if uerr := volume.MarkSuspect(ctx, w.a.env, c.Tape.ID, err); uerr != nil {
			return false, uerr
		}
		return pass(err)
	case errors.Is(err, changer.ErrWriteProtected), errors.Is(err, changer.ErrStuck), errors.Is(err, changer.ErrNotChecked):
		return pass(err)
	default:
		if out, oerr := w.takenOut(ctx, c.Tape, v, err); out || oerr != nil {
			return false, oerr
		}
		return false, err
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
	w.take(p, t, last)
	return true, nil
}

// take makes the lease's volume the one that is written. lastSeq is the greatest number that a manifest on it has.
func (w *writer) take(p Pool, t catalog.Tape, lastSeq int) {
	w.volume, w.tape, w.pool, w.lastSeq, w.unsynced, w.synced, w.worked = w.lease.Volume(), t, p, lastSeq, 0, time.Now(), false
}

// closeTape syncs, unmounts and gives the drive back.
func (w *writer) closeTape(ctx context.Context) error {
	if w.volume == nil {
		return w.giveUp(ctx)
	}
	if err := w.sync(ctx); err != nil {
		return err
	}
	if w.volume == nil {
		return nil // the sync failed and the tape was dealt with
	}
	w.a.env.Note("unmounting %s", w.tape.Barcode)
	barcode := w.tape.Barcode
	err := w.giveUp(ctx)
	if errors.Is(err, changer.ErrKilled) { // after the sync: nothing was lost with it
		w.noted.Add("", "", fmt.Errorf("the ltfs of tape %s was killed after its last sync: %w", barcode, err))
		return nil
	}
	return err
}

// yield lets another process have the drive. The next openTape waits until it is done.
func (w *writer) yield(ctx context.Context) error {
	w.a.env.Note("another process wants the drive of %s", w.tape.Barcode)
	return w.closeTape(ctx)
}

// fillTape closes a tape that takes no more.
func (w *writer) fillTape(ctx context.Context) error {
	tape := w.tape.ID
	if err := w.sync(ctx); err != nil {
		return err
	}
	if w.volume != nil {
		if err := w.snapshot(ctx, true); err != nil {
			w.noted.Add("", "", err)
		}
	}
	if err := w.closeTape(ctx); err != nil {
		return err
	}
	_, err := w.a.env.DB.UpdateTape(ctx, tape, func(t *catalog.Tape) error {
		if t.State == catalog.TapeOpen {
			t.State = catalog.TapeFull
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record a full tape: %w", err)
	}
	return nil
}

// tapeFailed deals with an error of the tape: it is not written again. What was written to it and
// is not safe is proved or becomes owed again.
func (w *writer) tapeFailed(ctx context.Context, full bool, why error) error {
	ctx = context.WithoutCancel(ctx)
	t := w.tape
	w.failures.Add(1)
	if out, err := w.takenOut(ctx, t, w.volume, why); out || err != nil {
		return err
	}
	w.a.env.Log.Warn("tape failed", "tape", t.Barcode, "error", why)
	state := catalog.TapeSuspect
	if full {
		state = catalog.TapeFull
	}
	_, err := w.a.env.DB.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
		t.State, t.Note = state, why.Error()
		return nil
	})
	if err != nil {
		return fmt.Errorf("record that tape %s failed: %w", t.Barcode, err)
	}
	aside := false
	if !full && w.lease != nil {
		if aside, err = w.blameDrive(ctx, t.Barcode, why); err != nil {
			return err
		}
	}
	if full { // what was closed before is intact, if the index can still be written
		generation, err := w.volume.Sync(ctx)
		if err == nil {
			if err := w.durable(ctx, generation); err != nil {
				return err
			}
			return w.giveUp(ctx)
		}
		w.a.env.Log.Warn("no index could be written to the full tape", "tape", t.Barcode, "error", err)
	}
	if err := w.leave(ctx, aside); err != nil {
		w.a.env.Log.Warn("the failed tape was not given up in order", "tape", t.Barcode, "error", err)
	}
	if err := w.proveTape(ctx, t); err != nil {
		// Its parts stay unsafe: the next run tries again before it writes anything.
		return fmt.Errorf("prove what tape %s holds: %w", t.Barcode, err)
	}
	return nil
}
