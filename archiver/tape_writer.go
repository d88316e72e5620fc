package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// tapeWriter brings parts onto the tapes of pools, one tape at a time: it chooses and mounts a tape, has it synced, records what is
// durable by that, and deals with tapes that fail. What is written, and when, is the writer's to say. Only its goroutine uses it.
type tapeWriter struct {
	*task
	session *session
	journal *journal // of the mounted tape
	prover  *prover
	stock   *stock
	lock    *writerLock

	mail     *mailbox
	known    *ledger
	progress *progress

	follows bool              // it is a follower's
	dismiss func(pool string) // stops the follower that writes to a pool, if there is one
}

// openTape mounts a tape of a pool with room for need more bytes, or keeps the one that is.
// ErrNeedsOperator when there is none.
func (w *tapeWriter) openTape(ctx context.Context, pool string, need int64) error {
	if err := w.known.blocked[pool]; err != nil {
		return err
	}
	if err := w.session.locksHeld(); err != nil {
		return err
	}
	if err := w.lock.take(ctx); err != nil {
		return err
	}
	p, err := w.a.env.Pool(pool)
	if err != nil {
		return err
	}
	w.dismiss(pool) // its tape is wanted here
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.session.volume != nil && w.session.pool.Name != pool {
			if err := w.closeTape(ctx); err != nil {
				return err
			}
		}
		if w.session.volume != nil {
			if w.session.worked && w.session.lease.Due(w.a.env.Config.WriterSlice) {
				if err := w.yield(ctx); err != nil {
					return err
				}
				continue
			}
			ok, err := w.session.room(need)
			if volume.BlamesTape(err) {
				err = w.session.volume.WriteFault(err)
				w.noted.Add("", "", err)
				if err := w.tapeFailed(ctx, volume.IsFull(err), err); err != nil {
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
				w.known.blocked[pool] = err // noteBlocked says it, if anything is owed
			}
			return err
		}
	}
}

// mountNext mounts the next candidate of a pool, formatting a blank one where that is allowed.
// Candidates that do not do are passed over, and the operator is told why.
func (w *tapeWriter) mountNext(ctx context.Context, p Pool) error {
	if w.a.env.Lib.Alone() {
		if err := w.session.identify(ctx); err != nil {
			return errors.Join(err, w.session.giveUp(ctx))
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
		avoid = append(avoid, w.session.peers.others(w.session)...)
	}
	for b, all := range inv.Unclear {
		if !w.known.tried[b] && p.Takes(b) {
			w.known.tried[b] = true
			w.noted.Add("", "", fmt.Errorf("a tape is passed over: the library reads its label as %s, which may be any of %s; have it read all eight characters", b, all))
		}
	}
	for _, c := range volume.Candidates(p, inv.Barcodes(), tapes) {
		if w.known.tried[c.Barcode] {
			continue
		}
		if !w.a.env.Lib.CanWrite(ctx, c.Barcode, !c.Known, avoid) {
			w.a.env.Log.Debug("no drive can write the tape", "tape", c.Barcode)
			continue
		}
		if !w.session.peers.claim(w.session, c.Barcode) {
			continue
		}
		removed := w.known.removed[c.Barcode]
		ok, err := w.try(ctx, p, c)
		if err != nil {
			return errors.Join(err, w.session.giveUp(ctx))
		}
		if ok {
			return nil
		}
		if w.known.removed[c.Barcode] > removed && !w.known.tried[c.Barcode] { // it was read back since, and does
			return w.mountNext(ctx, p)
		}
		w.known.tried[c.Barcode] = true
		if err := w.session.giveUp(ctx); err != nil {
			return err
		}
	}
	if w.a.env.Lib.Alone() { // the operator needs the drive
		if err := w.session.giveUp(ctx); err != nil {
			return err
		}
	}
	return w.a.wanted(ctx, p, inv)
}

// countPart counts a part that was written to the mounted tape, and syncs when that is due.
func (w *tapeWriter) countPart(ctx context.Context, source string, size int64, counts map[string]int64) error {
	w.session.unsynced += size
	w.session.worked = true
	w.progress.whole(size)
	if err := w.a.env.DB.Count(ctx, w.run.ID, source, counts); err != nil {
		return err
	}
	if err := w.a.env.DB.AddRunTape(ctx, w.run.ID, w.session.tape.ID, size, 1); err != nil {
		return err
	}
	if w.session.due() {
		return w.sync(ctx)
	}
	return nil
}

// partFailed gives up a part whose file was begun.
func (w *tapeWriter) partFailed(ctx context.Context, row catalog.CopyPart, size int64, why error) error {
	if !volume.BlamesTape(why) {
		// Nothing is wrong with the tape: the file goes, as far as a tape lets anything go.
		if root, err := os.OpenRoot(w.session.volume.Dir); err == nil {
			root.Remove(row.Name)
			root.Close()
		}
		if err := w.a.env.DB.PartFailed(ctx, row.ID, catalog.PartLost, size); err != nil {
			return fmt.Errorf("record a failed part: %w", err)
		}
		return why
	}
	if errors.Is(why, errOccupied) {
		if err := w.a.env.DB.PartFailed(ctx, row.ID, catalog.PartLost, 0); err != nil {
			return fmt.Errorf("record a failed part: %w", err)
		}
		w.known.tried[volume.BarcodeOf(w.session.tape)] = true
		if errors.Is(why, errNamed) {
			w.a.env.Log.Info("another tape is taken", "why", why)
		} else {
			w.noted.Add("", "", why)
		}
		return w.closeTape(ctx)
	}
	if err := w.a.env.DB.PartFailed(ctx, row.ID, catalog.PartAbandoned, size); err != nil {
		return fmt.Errorf("record a failed part: %w", err)
	}
	why = w.session.volume.WriteFault(why)
	if !volume.IsFull(why) {
		w.noted.Add("", "", why)
	}
	return w.tapeFailed(ctx, volume.IsFull(why), why)
}

// pending tells whether a sync has anything to do: bytes written, or a manifest to write.
func (w *tapeWriter) pending(ctx context.Context) (bool, error) {
	if w.session.volume == nil {
		return false, nil
	}
	if w.session.unsynced > 0 {
		return true, nil
	}
	return w.journal.wanted(ctx)
}
