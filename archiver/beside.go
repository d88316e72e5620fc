package archiver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tapefs/catalog"
)

// Beside the pool that the leading writer writes, another drive may write another pool: what sources of its own are owed
// there. Only objects that no other pool waits for are written so; for the others the two drives share one read.

// findBeside looks which pools can be written at the same time as p. Call it after pair.
func (w *writer) findBeside(ctx context.Context, p Pool) error {
	w.beside = nil
	if w.follows {
		return nil
	}
	var pools []Pool
	for _, q := range w.a.env.Config.Pools {
		if q.Name != p.Name && w.wants(q.Name) && w.blocked[q.Name] == nil && w.paired[q.Name] == nil && w.followers[q.Name].ready() {
			pools = append(pools, q)
		}
	}
	if len(pools) == 0 {
		return nil
	}
	spare, err := w.spareDrives(ctx)
	if err != nil {
		return err
	}
	taken := len(w.followers)
	for q := range w.paired {
		if w.followers[q] == nil {
			taken++
		}
	}
	for _, q := range pools {
		if w.followers[q.Name] == nil && taken >= spare {
			continue
		}
		row, err := w.a.env.DB.EnsurePool(ctx, q.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", q.Name, err)
		}
		alone, err := w.owedAlone(ctx, row.ID)
		if err != nil {
			return err
		}
		if len(alone) == 0 {
			continue
		}
		all, err := w.owed(ctx, row.ID)
		if err != nil {
			return err
		}
		if !w.worth(q, all) {
			continue
		}
		if w.followers[q.Name] == nil {
			taken++
		}
		w.beside = append(w.beside, q)
	}
	return nil
}

// startBeside lets other drives begin with what findBeside found.
func (w *writer) startBeside(ctx context.Context) error {
	pools := w.beside
	w.beside = nil
	if w.volume != nil && slices.ContainsFunc(pools, func(q Pool) bool { return q.Name == w.pool.Name }) {
		if err := w.closeTape(ctx); err != nil { // the other drive would begin a further tape of that pool
			return err
		}
	}
	for _, q := range pools {
		if w.unlock == nil {
			unlock, err := w.a.env.LockWriter(ctx)
			if err != nil {
				return err
			}
			w.unlock = unlock
		}
		f := w.followers[q.Name]
		if f == nil {
			f = w.newFollower(ctx, q)
			w.followers[q.Name] = f
		}
		f.alone()
	}
	return nil
}

// ready tells whether a follower, or nil for one that is not there yet, could begin with a pool of its own.
func (f *follower) ready() bool {
	if f == nil {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken == nil && !f.closed && !f.busy && len(f.queue) == 0
}

// alone lets a follower write what its pool alone is owed, without waiting for it. When it has no tape it is broken:
// the leader looks for one itself.
func (f *follower) alone() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, followEvent{at: time.Now(), call: func(ctx context.Context) error {
		f.w.onlyAlone = true
		_, err := f.w.writePool(ctx, f.pool)
		f.w.onlyAlone = false
		if err == nil {
			err = f.w.blocked[f.pool.Name]
		}
		return err
	}})
	f.changed.Broadcast()
}

// pause ends what a follower writes for its pool alone, behind the object in hand.
func (f *follower) pause() {
	f.w.halt.Store(true)
	f.settle()
	f.w.halt.Store(false)
}

// owedAlone lists what a pool is owed of this run's sources that no other pool waits for.
func (w *writer) owedAlone(ctx context.Context, pool int64) ([]catalog.OwedCopy, error) {
	if w.late() {
		return nil, nil
	}
	all, err := w.a.env.DB.OwedAlone(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("look for copies that are owed: %w", err)
	}
	return w.mine(all), nil
}

// mine leaves of owed copies those of this run's sources that it did not give up.
func (w *writer) mine(all []catalog.OwedCopy) []catalog.OwedCopy {
	return slices.DeleteFunc(all, func(c catalog.OwedCopy) bool {
		_, ours := w.sources[c.Object.Source]
		return !ours || w.failed[c.ID]
	})
}
