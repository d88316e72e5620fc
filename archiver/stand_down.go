package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A writer that waits for its sources keeps neither drive nor the right to write tapes from others: it stands down, and takes both
// again when there is something to write.

// restWhenIdle stands down when all that is still to come is from silent sources, or when another process waits to write tapes.
// rested: it did.
func (w *writer) restWhenIdle(ctx context.Context) (rested bool, err error) {
	switch {
	case w.follows:
		return false, nil
	case w.rested && w.unlock == nil:
		return true, nil
	case w.quiet.Load():
		if err := w.pass(ctx, true); err != nil { // to all pools: nobody knows how long it takes
			return false, err
		}
		if err := w.standDown(ctx); err != nil {
			return false, err
		}
		w.rested = true
		return true, w.letSourcesGo(ctx)
	case w.unlock != nil && w.a.writerWanted():
		w.a.note("another run wants to write tapes")
		if err := w.standDown(ctx); err != nil {
			return false, err
		}
		select { // who waits is to have it
		case <-time.After(2 * lockPoll):
		case <-ctx.Done():
		}
		return true, nil
	}
	return false, nil
}

// standDown makes durable what was written and gives up tapes, drives and the writer lock.
func (w *writer) standDown(ctx context.Context) error {
	if err := errors.Join(w.stopAll(), w.closeTape(ctx), w.giveUp(ctx)); err != nil {
		return err
	}
	w.a.activity.set("")
	if w.unlock != nil {
		w.unlock()
		w.unlock = nil
	}
	return nil
}

// letSourcesGo gives up the locks of sources that this run is done with: other runs may have them. No follower may be there.
func (w *writer) letSourcesGo(ctx context.Context) error {
	if w.letGo == nil {
		return nil
	}
	busy := map[int64]bool{}
	open, err := w.a.db.OpenBatches(ctx)
	if err != nil {
		return fmt.Errorf("look for open batches: %w", err)
	}
	for _, b := range open {
		busy[b.Source] = true
	}
	for _, p := range w.a.cfg.Pools {
		row, err := w.a.db.EnsurePool(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", p.Name, err)
		}
		owed, err := w.a.db.OwedCopies(ctx, row.ID)
		if err != nil {
			return fmt.Errorf("look for copies that are owed: %w", err)
		}
		for _, c := range owed {
			busy[c.Object.Source] = true
		}
		missing, err := w.a.db.MissingParts(ctx, row.ID)
		if err != nil {
			return fmt.Errorf("look for copies to be made from others: %w", err)
		}
		for _, m := range missing {
			busy[m.Source] = true
		}
		waits, err := w.a.db.Awaiting(ctx, row.ID)
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

// sourceLocks are the locks of a run's sources. Safe for concurrent use.
type sourceLocks struct {
	mu   sync.Mutex // guards the fields below
	held map[string]func()
	done map[string]bool
}

// end says that nothing more comes of a source.
func (l *sourceLocks) end(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = map[string]bool{}
	}
	l.done[name] = true
}

// letGo gives up the lock of a source of which nothing more comes; false: something may.
func (l *sourceLocks) letGo(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done[name] {
		return false
	}
	if unlock := l.held[name]; unlock != nil {
		unlock()
		delete(l.held, name)
	}
	return true
}

// unlock gives all up.
func (l *sourceLocks) unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, unlock := range l.held {
		unlock()
	}
	clear(l.held)
}
