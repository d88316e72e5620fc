package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/catalog"
)

// idleLook is how often a writer that waits for work looks whether somebody wants its drive.
const idleLook = 2 * time.Second

// loop writes until nothing new will come and nothing that can be written is owed. All goes to the
// first pool before the next is begun, unless the spool is full or there is another drive for it.
func (w *writer) loop(ctx context.Context) error {
	defer close(w.mail.stopped)
	defer func() {
		// Also after an error: what was written becomes safe if it can.
		for _, f := range w.followers.byPool {
			f.finish()
		}
		w.mail.closing = errors.Join(w.tapes.closeTape(ctx), w.session.giveUp(ctx), w.followers.stopAll())
		w.a.env.Activity.Set("")
		w.lock.release()
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		final, full := w.mail.ended(), false
		if err := w.pass(ctx, final); err != nil {
			return errors.Join(w.session.locksHeld(), err) // without locks another run may be the cause
		}
		if final {
			return w.noteBlocked(ctx)
		}
		select {
		case <-w.mail.needed:
			full, w.rested = true, false
		case c := <-w.mail.calls:
			w.rested = false
			c.done <- c.f(ctx)
		case <-w.mail.work:
			w.rested = false
		case <-w.mail.done:
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
			w.mail.freed <- ok
		}
	}
}

// noteBlocked says which pools are owed copies and have no tape for them.
func (w *writer) noteBlocked(ctx context.Context) error {
	for pool, why := range w.known.blocked {
		row, err := w.a.env.DB.EnsurePool(ctx, pool)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", pool, err)
		}
		owed, err := w.debts.owed(ctx, row.ID)
		if err != nil {
			return err
		}
		copied, err := w.debts.toCopy(ctx, row.ID)
		if err != nil {
			return err
		}
		awaiting, err := w.debts.awaiting(ctx, row.ID)
		if err != nil {
			return err
		}
		owes, err := w.debts.owesJournal(ctx, pool, row.ID)
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

// idle syncs what has waited long enough and yields the drive to who wants it, or stands down.
func (w *writer) idle(ctx context.Context) error {
	if err := w.session.locksHeld(); err != nil {
		return err
	}
	if rested, err := w.restWhenIdle(ctx); rested || err != nil {
		return err
	}
	if w.session.volume == nil {
		return nil
	}
	if w.session.lease.Wanted() {
		return w.tapes.yield(ctx)
	}
	if w.session.due() {
		return w.tapes.sync(ctx)
	}
	return nil
}

// empty writes everything owed to all pools and syncs, to get batches released. Where a pool has no tape one
// durable copy must do.
func (w *writer) empty(ctx context.Context) (bool, error) {
	before, err := w.stock.heldBatches(ctx)
	if err != nil {
		return false, err
	}
	w.now = true // what waits for more has no room to wait
	if err := w.pass(ctx, true); err != nil {
		return false, err
	}
	if err := w.followers.syncAll(ctx); err != nil {
		return false, err
	}
	after, err := w.stock.heldBatches(ctx)
	if err != nil || after < before {
		return err == nil, err
	}
	if err := w.stock.releaseOnce(ctx); err != nil {
		return false, err
	}
	after, err = w.stock.heldBatches(ctx)
	return after < before, err
}

// pass writes what is owed: to the first wanted pool that has tapes (other drives may write other pools beside it), or
// with all to every pool in turn.
func (w *writer) pass(ctx context.Context, all bool) error {
	if !all {
		for _, p := range w.a.env.Config.Pools {
			if w.debts.wants(p.Name) && w.known.blocked[p.Name] == nil {
				if _, err := w.writePool(ctx, p); err != nil {
					return err
				}
				if _, held := w.known.held[p.Name]; !held && w.known.blocked[p.Name] == nil {
					if err := w.followers.findBeside(ctx, p); err != nil {
						return err
					}
					return w.followers.startBeside(ctx)
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
			if n > 0 && w.session.volume != nil {
				if err := w.tapes.sync(ctx); err != nil {
					return err
				}
				again = true // a sync that failed makes copies owed again
			}
		}
		n, err := w.copier.copyOwed(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			if err := w.tapes.sync(ctx); err != nil {
				return err
			}
			again = true
		}
		// What was written before may be unsynced still: a tape that fails now makes its copies owed again, too.
		before := w.tapesFailed()
		if err := w.followers.syncAll(ctx); err != nil {
			return err
		}
		again = again || w.tapesFailed() > before
	}
	return w.nameAwaiting(ctx)
}

// tapesFailed counts the tapes that this writer and its followers had to give up.
func (w *writer) tapesFailed() int64 {
	n := w.mail.failures.Load()
	for _, f := range w.followers.byPool {
		n += f.w.mail.failures.Load()
	}
	return n
}

// writePool writes what a pool is owed and returns how many copies it made.
func (w *writer) writePool(ctx context.Context, p Pool) (made int, err error) {
	if made, ok, err := w.followers.byFollower(p); ok || err != nil {
		return made, err
	}
	return w.writeOwed(ctx, p, w.debts.owed)
}

// writeOwed writes to a pool, by its row, what is listed as owed to it, until that is nothing or the pool is blocked, and returns how many
// copies it made.
func (w *writer) writeOwed(ctx context.Context, p Pool, list func(ctx context.Context, pool int64) ([]catalog.OwedCopy, error)) (made int, err error) {
	row, err := w.a.env.DB.EnsurePool(ctx, p.Name)
	if err != nil {
		return 0, fmt.Errorf("look for pool %s: %w", p.Name, err)
	}
	for w.known.blocked[p.Name] == nil {
		owed, err := list(ctx, row.ID)
		if err != nil || len(owed) == 0 || !w.worth(p, owed) {
			return made, err
		}
		var bytes int64
		for _, c := range owed {
			bytes += objectSize(&c.Object)
		}
		w.progress.expect(bytes)
		if err := w.followers.pair(ctx, p, owed); err != nil {
			return made, err
		}
		if err := w.followers.findBeside(ctx, p); err != nil {
			return made, err
		}
		batches, err := w.stock.batches(ctx)
		if err != nil {
			return made, err
		}
		var at int64 = -1
		var objects map[int64]catalog.PlannedObject
		for _, c := range owed {
			if err := ctx.Err(); err != nil || w.debts.late() || w.mail.halt.Load() {
				return made, err
			}
			b, ok := batches[c.Object.Batch]
			if !ok {
				w.known.failed[c.ID] = true
				w.noted.Add(w.sources[c.Object.Source].Name, "", fmt.Errorf("object %s is owed to pool %s, and its files are not in the spool", c.Object.OID, p.Name))
				continue
			}
			if b.Local && w.known.away[b.Source] {
				w.known.failed[c.ID] = true
				continue
			}
			if at != b.ID {
				if objects, err = w.stock.objects(ctx, b.ID); err != nil {
					return made, err
				}
				at = b.ID
			}
			err := w.objects.write(ctx, p.Name, c, b, objects[c.Object.ID])
			switch {
			case err == nil:
				made++
				continue
			case ctx.Err() != nil:
				return made, ctx.Err()
			case errors.Is(err, ErrNeedsOperator):
				return made, nil // the pool is blocked now
			}
			again, stale, err := w.copyFailed(ctx, p, c, b, objects[c.Object.ID], err)
			if err != nil {
				return made, err
			}
			if again {
				made++
			}
			if stale {
				at = -1
			}
		}
	}
	return made, nil
}

// copyFailed deals with a copy that could not be written for what its object is, or for its tapes. again: it is owed still, and can be written
// now; stale: its batch's objects are no longer what was asked for. An error is the end of the run.
func (w *writer) copyFailed(ctx context.Context, p Pool, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject, why error) (again, stale bool, err error) {
	if errors.Is(why, pack.ErrReseal) && !w.known.repacked[c.ID] && w.a.env.DB.Unpack(ctx, c.Object.ID) == nil {
		w.known.repacked[c.ID] = true // no tape has a part of it: it is packed anew, from what is there now
		return true, false, nil
	}
	if !errors.Is(why, pack.ErrReseal) && !errors.Is(why, pack.ErrUnreadable) && !errors.Is(why, errTooSmall) {
		return false, false, why
	}
	again, err = w.stock.failed(ctx, c, b, o, why)
	if again || err != nil { // without the files concerned
		return again, again, err
	}
	w.known.failed[c.ID] = true
	if b.Local && w.known.away[b.Source] && c.Object.State != catalog.ObjectPacked {
		return false, false, nil // said once, of the source
	}
	if c.Object.State == catalog.ObjectPacked && !errors.Is(why, errTooSmall) {
		w.known.fromCopy[c.ID] = true // another pool's copy has the bytes that were sealed
		w.a.env.Log.Info("copy will be made from another pool's", "object", c.Object.OID, "pool", p.Name, "why", why)
		return false, false, nil
	}
	w.noted.Add(w.sources[c.Object.Source].Name, "", fmt.Errorf("object %s was not written to pool %s: %w", c.Object.OID, p.Name, why))
	return false, false, nil
}

// worth says whether what a pool is owed is worth the mount of a tape.
func (w *writer) worth(p Pool, owed []catalog.OwedCopy) bool {
	return w.known.worth(p, owed, w.now || w.session.volume != nil && w.session.pool.Name == p.Name)
}
