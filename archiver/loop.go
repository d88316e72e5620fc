package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tapefs/archiver/job"
	"tapefs/archiver/pack"
	"tapefs/catalog"
	"tapefs/changer"
)

// idleLook is how often a writer that waits for work looks whether somebody wants its drive.
const idleLook = 2 * time.Second

func (a *Archiver) newWriter(run catalog.Run, sources map[int64]Source, o Options, noted *job.Problems) *writer {
	return &writer{a: a, run: run, sources: sources, until: o.Until, now: o.Now, names: o.Names, noted: noted,
		worthy: map[string]bool{}, held: map[string]Held{},
		tried: map[changer.Barcode]bool{}, removed: map[changer.Barcode]int{}, blocked: map[string]error{}, failed: map[int64]bool{}, repacked: map[int64]bool{},
		losses: &spoolLosses{}, stageName: "write", peers: newPeers(), followers: map[string]*follower{},
		fromCopy: map[int64]bool{}, uncopied: map[int64]bool{}, shared: map[int64]bool{}, absent: map[string]error{}, away: map[int64]bool{},
		calls: make(chan call), work: make(chan struct{}, 1), needed: make(chan struct{}),
		done: make(chan struct{}), stopped: make(chan struct{}), freed: make(chan bool)}
}

// wake tells the writer that something may be owed.
func (w *writer) wake() {
	select {
	case w.work <- struct{}{}:
	default:
	}
}

// makeRoom asks the writer to get batches released; false: it cannot release any more.
func (w *writer) makeRoom(ctx context.Context) (bool, error) {
	select {
	case w.needed <- struct{}{}:
	case <-w.stopped:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case ok := <-w.freed:
		return ok, nil
	case <-w.stopped:
		return false, nil
	}
}

// loop writes until nothing new will come and nothing that can be written is owed. All goes to the
// first pool before the next is begun, unless the spool is full or there is another drive for it.
func (w *writer) loop(ctx context.Context) error {
	defer close(w.stopped)
	defer func() {
		// Also after an error: what was written becomes safe if it can.
		for _, f := range w.followers {
			f.finish()
		}
		w.closing = errors.Join(w.closeTape(ctx), w.giveUp(ctx), w.stopAll())
		w.a.env.Activity.Set("")
		if w.unlock != nil {
			w.unlock()
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		final, full := w.ended(), false
		if err := w.pass(ctx, final); err != nil {
			return err
		}
		if final {
			return w.noteBlocked(ctx)
		}
		select {
		case <-w.needed:
			full, w.rested = true, false
		case c := <-w.calls:
			w.rested = false
			c.done <- c.f(ctx)
		case <-w.work:
			w.rested = false
		case <-w.done:
		case <-ctx.Done():
		case <-time.After(idleLook):
			if err := w.idle(ctx); err != nil {
				return err
			}
		}
		if full {
			ok, err := w.empty(ctx)
			if err != nil {
				return err
			}
			w.freed <- ok
		}
	}
}

// noteBlocked says which pools are owed copies and have no tape for them.
func (w *writer) noteBlocked(ctx context.Context) error {
	for pool, why := range w.blocked {
		row, err := w.a.env.DB.EnsurePool(ctx, pool)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", pool, err)
		}
		owed, err := w.owed(ctx, row.ID)
		if err != nil {
			return err
		}
		copied, err := w.toCopy(ctx, row.ID)
		if err != nil {
			return err
		}
		awaiting, err := w.awaiting(ctx, row.ID)
		if err != nil {
			return err
		}
		owes, err := w.owesJournal(ctx, pool, row.ID)
		if err != nil {
			return err
		}
		if len(owed)+len(copied)+awaiting == 0 && owes {
			w.noted.Add("", "", fmt.Errorf("pool %s lacks a manifest of changes that no other names (deletions and the like): %w", pool, why))
		}
		if len(owed)+len(copied)+awaiting > 0 {
			var none noTapeError
			if errors.As(why, &none) {
				now, err := w.wantedNow(ctx, pool)
				if err != nil {
					return err
				}
				why = now
			}
			w.noted.Add("", "", why)
		}
	}
	return nil
}

func (w *writer) ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// idle syncs what has waited long enough and yields the drive to who wants it, or stands down.
func (w *writer) idle(ctx context.Context) error {
	if rested, err := w.restWhenIdle(ctx); rested || err != nil {
		return err
	}
	if w.volume == nil {
		return nil
	}
	if w.lease.Wanted() {
		return w.yield(ctx)
	}
	if w.due() {
		return w.sync(ctx)
	}
	return nil
}

// empty writes everything owed to all pools and syncs, to get batches released. Where a pool has no tape one
// durable copy must do.
func (w *writer) empty(ctx context.Context) (bool, error) {
	before, err := w.heldBatches(ctx)
	if err != nil {
		return false, err
	}
	w.now = true // what waits for more has no room to wait
	if err := w.pass(ctx, true); err != nil {
		return false, err
	}
	if err := w.syncAll(ctx); err != nil {
		return false, err
	}
	after, err := w.heldBatches(ctx)
	if err != nil || after < before {
		return err == nil, err
	}
	if err := w.releaseOnce(ctx); err != nil {
		return false, err
	}
	after, err = w.heldBatches(ctx)
	return after < before, err
}

// heldBatches counts batches of this run's sources that lie in the spool.
func (w *writer) heldBatches(ctx context.Context) (int, error) {
	batches, err := w.a.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for open batches: %w", err)
	}
	n := 0
	for _, b := range batches {
		if _, ours := w.sources[b.Source]; ours && b.State == catalog.Synced {
			n++
		}
	}
	return n, nil
}

// pass writes what is owed: to the first wanted pool that has tapes (other drives may write other pools beside it), or
// with all to every pool in turn.
func (w *writer) pass(ctx context.Context, all bool) error {
	if !all {
		for _, p := range w.a.env.Config.Pools {
			if w.wants(p.Name) && w.blocked[p.Name] == nil {
				if _, err := w.writePool(ctx, p); err != nil {
					return err
				}
				if _, held := w.held[p.Name]; !held && w.blocked[p.Name] == nil {
					if err := w.findBeside(ctx, p); err != nil {
						return err
					}
					return w.startBeside(ctx)
				}
			}
		}
		return nil
	}
	for again := true; again; {
		again = false
		for _, p := range w.a.env.Config.Pools {
			n, err := w.writePool(ctx, p)
			if err != nil {
				return err
			}
			if n > 0 && w.volume != nil {
				if err := w.sync(ctx); err != nil {
					return err
				}
				again = true // a sync that failed makes copies owed again
			}
		}
		n, err := w.copyOwed(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			if err := w.sync(ctx); err != nil {
				return err
			}
			again = true
		}
		// What was written before may be unsynced still: a tape that fails now makes its copies owed again, too.
		before := w.tapesFailed()
		if err := w.syncAll(ctx); err != nil {
			return err
		}
		again = again || w.tapesFailed() > before
	}
	return w.nameAwaiting(ctx)
}

// tapesFailed counts the tapes that this writer and its followers had to give up.
func (w *writer) tapesFailed() int64 {
	n := w.failures.Load()
	for _, f := range w.followers {
		n += f.w.failures.Load()
	}
	return n
}

// wants tells whether a source of this run wants copies in a pool.
func (w *writer) wants(pool string) bool {
	for _, s := range w.sources {
		if slices.Contains(s.Copies, pool) {
			return true
		}
	}
	return false
}

// writePool writes what a pool is owed and returns how many copies it made.
func (w *writer) writePool(ctx context.Context, p Pool) (made int, err error) {
	if made, ok, err := w.byFollower(p); ok || err != nil {
		return made, err
	}
	row, err := w.a.env.DB.EnsurePool(ctx, p.Name)
	if err != nil {
		return 0, fmt.Errorf("look for pool %s: %w", p.Name, err)
	}
	for w.blocked[p.Name] == nil {
		owed, err := w.owed(ctx, row.ID)
		if err != nil || len(owed) == 0 || !w.worth(p, owed) {
			return made, err
		}
		w.expected = w.written
		for _, c := range owed {
			w.expected += objectSize(&c.Object)
		}
		if err := w.pair(ctx, p, owed); err != nil {
			return made, err
		}
		if err := w.findBeside(ctx, p); err != nil {
			return made, err
		}
		batches, err := w.batches(ctx)
		if err != nil {
			return made, err
		}
		var at int64 = -1
		var objects map[int64]catalog.PlannedObject
		for _, c := range owed {
			if err := ctx.Err(); err != nil || w.late() || w.halt.Load() {
				return made, err
			}
			b, ok := batches[c.Object.Batch]
			if !ok {
				w.failed[c.ID] = true
				w.noted.Add(w.sources[c.Object.Source].Name, "", fmt.Errorf("object %s is owed to pool %s, and its files are not in the spool", c.Object.OID, p.Name))
				continue
			}
			if b.Local && w.away[b.Source] {
				w.failed[c.ID] = true
				continue
			}
			if at != b.ID {
				if objects, err = w.objects(ctx, b.ID); err != nil {
					return made, err
				}
				at = b.ID
			}
			err := w.writeCopy(ctx, p.Name, c, b, objects[c.Object.ID])
			switch {
			case err == nil:
				made++
			case ctx.Err() != nil:
				return made, ctx.Err()
			case errors.Is(err, ErrNeedsOperator):
				return made, nil // the pool is blocked now
			case errors.Is(err, pack.ErrReseal) && !w.repacked[c.ID] && w.a.env.DB.Unpack(ctx, c.Object.ID) == nil:
				w.repacked[c.ID] = true // no tape has a part of it: it is packed anew, from what is there now
				made++
			case errors.Is(err, pack.ErrReseal), errors.Is(err, pack.ErrUnreadable), errors.Is(err, errTooSmall):
				again, lerr := w.spoolFailed(ctx, c, b, objects[c.Object.ID], err)
				if lerr != nil {
					return made, lerr
				}
				if again { // without the files concerned, and those of this batch are no longer what was asked for
					made++
					at = -1
					continue
				}
				w.failed[c.ID] = true
				if b.Local && w.away[b.Source] && c.Object.State != catalog.ObjectPacked {
					continue // said once, of the source
				}
				if c.Object.State == catalog.ObjectPacked && !errors.Is(err, errTooSmall) {
					w.fromCopy[c.ID] = true // another pool's copy has the bytes that were sealed
					w.a.env.Log.Info("copy will be made from another pool's", "object", c.Object.OID, "pool", p.Name, "why", err)
					continue
				}
				w.noted.Add(w.sources[c.Object.Source].Name, "", fmt.Errorf("object %s was not written to pool %s: %w", c.Object.OID, p.Name, err))
			default:
				return made, err
			}
		}
	}
	return made, nil
}

// late tells whether nothing new is to be begun any more.
func (w *writer) late() bool { return late(Options{Until: w.until}) }

// owed lists what a pool is owed of this run's sources.
func (w *writer) owed(ctx context.Context, pool int64) ([]catalog.OwedCopy, error) {
	if w.onlyAlone {
		return w.owedAlone(ctx, pool)
	}
	if w.late() {
		return nil, nil
	}
	all, err := w.a.env.DB.OwedCopies(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("look for copies that are owed: %w", err)
	}
	return w.mine(all), nil
}

func (w *writer) batches(ctx context.Context) (map[int64]catalog.Batch, error) {
	all, err := w.a.env.DB.OpenBatches(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for open batches: %w", err)
	}
	out := map[int64]catalog.Batch{}
	for _, b := range all {
		if b.State == catalog.Synced {
			out[b.ID] = b
		}
	}
	return out, nil
}

func (w *writer) objects(ctx context.Context, batch int64) (map[int64]catalog.PlannedObject, error) {
	all, err := w.a.env.DB.BatchObjects(ctx, batch)
	if err != nil {
		return nil, fmt.Errorf("look for the objects of batch %d: %w", batch, err)
	}
	out := map[int64]catalog.PlannedObject{}
	for _, o := range all {
		out[o.Object.ID] = o
	}
	return out, nil
}
