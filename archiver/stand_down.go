package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
)

// A writer that waits for its sources keeps neither drive nor the right to write tapes from others: it stands down, and takes both
// again when there is something to write.

// restWhenIdle stands down when all that is still to come is from silent sources, or when another process waits to write tapes.
// rested: it did.
func (w *writer) restWhenIdle(ctx context.Context) (rested bool, err error) {
	switch {
	case w.tapes.follows:
		return false, nil
	case w.rested && !w.lock.held():
		return true, nil
	case w.mail.quiet.Load():
		if err := w.pass(ctx, true); err != nil { // to all pools: nobody knows how long it takes
			return false, err
		}
		if err := w.standDown(ctx); err != nil {
			return false, err
		}
		w.rested = true
		return true, w.letSourcesGo(ctx)
	case w.lock.held() && w.a.env.WriterWanted():
		w.a.env.Note("another run wants to write tapes")
		if err := w.standDown(ctx); err != nil {
			return false, err
		}
		select { // who waits is to have it
		case <-time.After(2 * job.LockPoll):
		case <-ctx.Done():
		}
		return true, nil
	}
	return false, nil
}

// standDown makes durable what was written and gives up tapes, drives and the writer lock.
func (w *writer) standDown(ctx context.Context) error {
	if err := errors.Join(w.followers.stopAll(), w.tapes.closeTape(ctx), w.session.giveUp(ctx)); err != nil {
		return err
	}
	w.a.env.Activity.Set("")
	w.lock.release()
	return nil
}

// letSourcesGo gives up the locks of sources that this run is done with: other runs may have them. No follower may be there.
func (w *writer) letSourcesGo(ctx context.Context) error {
	if w.letGo == nil {
		return nil
	}
	busy := map[int64]bool{}
	open, err := w.a.env.DB.OpenBatches(ctx)
	if err != nil {
		return fmt.Errorf("look for open batches: %w", err)
	}
	for _, b := range open {
		busy[b.Source] = true
	}
	for _, p := range w.a.env.Config.Pools {
		row, err := w.a.env.DB.EnsurePool(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", p.Name, err)
		}
		owed, err := w.a.env.DB.OwedCopies(ctx, row.ID)
		if err != nil {
			return fmt.Errorf("look for copies that are owed: %w", err)
		}
		for _, c := range owed {
			busy[c.Object.Source] = true
		}
		missing, err := w.a.env.DB.MissingParts(ctx, row.ID)
		if err != nil {
			return fmt.Errorf("look for copies to be made from others: %w", err)
		}
		for _, m := range missing {
			busy[m.Source] = true
		}
		waits, err := w.a.env.DB.Awaiting(ctx, row.ID)
		if err != nil {
			return fmt.Errorf("look for copies that wait for a manifest: %w", err)
		}
		for id := range waits {
			busy[id] = true
		}
	}
	for id, src := range w.sources {
		if !busy[id] && w.letGo(src.Name) {
			delete(w.sources, id)
		}
	}
	return nil
}
