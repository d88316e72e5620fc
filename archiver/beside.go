package archiver

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Beside the pool that the leading writer writes, another drive may write another pool: what sources of its own are owed
// there. Only objects that no other pool waits for are written so; for the others the two drives share one read.

// findBeside looks which pools can be written at the same time as p. Call it after pair.
func (g *followers) findBeside(ctx context.Context, p Pool) error {
	g.beside = nil
	if g.lead.tapes.follows {
		return nil
	}
	var pools []Pool
	for _, q := range g.a.env.Config.Pools {
		if q.Name != p.Name && g.lead.debts.wants(q.Name) && g.lead.known.blocked[q.Name] == nil && g.paired[q.Name] == nil && g.byPool[q.Name].ready() {
			pools = append(pools, q)
		}
	}
	if len(pools) == 0 {
		return nil
	}
	spare, err := g.spareDrives(ctx)
	if err != nil {
		return err
	}
	taken := len(g.byPool)
	for q := range g.paired {
		if g.byPool[q] == nil {
			taken++
		}
	}
	for _, q := range pools {
		if g.byPool[q.Name] == nil && taken >= spare {
			continue
		}
		row, err := g.a.env.DB.EnsurePool(ctx, q.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", q.Name, err)
		}
		alone, err := g.lead.debts.owedAlone(ctx, row.ID)
		if err != nil {
			return err
		}
		if len(alone) == 0 {
			continue
		}
		all, err := g.lead.debts.owed(ctx, row.ID)
		if err != nil {
			return err
		}
		if !g.lead.worth(q, all) {
			continue
		}
		if g.byPool[q.Name] == nil {
			taken++
		}
		g.beside = append(g.beside, q)
	}
	return nil
}

// startBeside lets other drives begin with what findBeside found.
func (g *followers) startBeside(ctx context.Context) error {
	pools := g.beside
	g.beside = nil
	if g.lead.session.volume != nil && slices.ContainsFunc(pools, func(q Pool) bool { return q.Name == g.lead.session.pool.Name }) {
		if err := g.lead.tapes.closeTape(ctx); err != nil { // the other drive would begin a further tape of that pool
			return err
		}
	}
	for _, q := range pools {
		if err := g.lead.lock.take(ctx); err != nil {
			return err
		}
		f := g.byPool[q.Name]
		if f == nil {
			f = g.newFollower(ctx, q)
			g.byPool[q.Name] = f
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
		_, err := f.w.writeOwed(ctx, f.pool, f.w.debts.owedAlone)
		if err == nil {
			err = f.w.known.blocked[f.pool.Name]
		}
		return err
	}})
	f.changed.Broadcast()
}

// pause ends what a follower writes for its pool alone, behind the object in hand.
func (f *follower) pause() {
	f.w.mail.halt.Store(true)
	f.settle()
	f.w.mail.halt.Store(false)
}
