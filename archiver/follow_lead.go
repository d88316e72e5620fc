package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// The leader's side of a follower: these run in the leading writer's goroutine.

// followers are the drives that write beside a leading writer: second copies of what it writes, and other pools. Only the leading writer's
// goroutine uses it, and it alone; each follower has a goroutine and a writer of its own.
type followers struct {
	*task
	lead   *writer
	byPool map[string]*follower
	paired map[string]map[int64]int64 // by pool: copies of the objects at hand that it is owed, by object
	beside []Pool                     // that other drives can write at the same time; not begun yet
}

// begin gives a follower a part to write. fresh: it was idle, and may have to mount its tape first.
func (f *follower) begin(p *followPart) (ok, fresh bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil || f.closed || f.behind(0) {
		return false, false
	}
	fresh = !f.busy && len(f.queue) == 0
	f.queue = append(f.queue, followEvent{at: time.Now(), part: p})
	f.changed.Broadcast()
	return true, fresh
}

// behind tells whether the follower is too far behind to take so many bytes more. The lock is held.
func (f *follower) behind(more int) bool {
	return len(f.queue) > 0 && time.Since(f.queue[0].at) > f.maxTime || f.queued+int64(more) > f.maxBytes
}

// give queues an extent of a part. The leader never waits: a follower that is too far behind is detached.
func (f *follower) give(p *followPart, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.cut || f.broken != nil {
		return
	}
	if f.behind(len(b)) {
		f.w.a.env.Log.Info("a drive is too far behind", "pool", f.pool.Name, "bytes", f.queued)
		f.drop()
		p.cut = true
		return
	}
	var own []byte
	if n := len(f.free); n > 0 {
		own, f.free = f.free[n-1], f.free[:n-1]
	} else {
		own = make([]byte, catalog.ExtentSize)
	}
	own = own[:copy(own[:cap(own)], b)]
	f.queue = append(f.queue, followEvent{at: time.Now(), part: p, data: own})
	f.queued += int64(len(b))
	f.changed.Broadcast()
}

// end says that the part is whole and recorded; false: the follower does not have it.
func (f *follower) end(p *followPart, sums catalog.Part) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.cut || f.broken != nil {
		return false
	}
	p.sums = sums
	f.queue = append(f.queue, followEvent{at: time.Now(), part: p, end: true})
	f.changed.Broadcast()
	return true
}

// settle waits until the follower has done all it was given.
func (f *follower) settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy || len(f.queue) > 0 {
		f.changed.Wait()
	}
}

// do runs fn in the follower's goroutine, behind what it was given, and waits.
func (f *follower) do(fn func(context.Context) error) error {
	done := make(chan error, 1)
	f.mu.Lock()
	f.queue = append(f.queue, followEvent{at: time.Now(), call: fn, done: done})
	f.changed.Broadcast()
	f.mu.Unlock()
	return <-done
}

// able tells whether the follower can still write, and why not.
func (f *follower) able() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

// finish lets the follower close its tape when it has done what it was given; of its own it begins nothing more.
func (f *follower) finish() {
	f.w.mail.halt.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.changed.Broadcast()
}

// stop closes a follower's tape in order and gives its drive back; the error is what went wrong with that. The
// leader takes over what it learned.
func (g *followers) stop(f *follower) error {
	f.finish()
	<-f.ended
	delete(g.byPool, f.pool.Name)
	g.lead.known.learn(f.w.known)
	g.lead.session.peers.leave(f.w.session)
	// Where it had no tape the leader looks itself, and says what is wanted.
	if err := f.able(); err != nil && !errors.Is(err, ErrNeedsOperator) && !errors.Is(err, context.Canceled) {
		g.noted.Add("", "", fmt.Errorf("the drive that wrote to pool %s at the same time was given up: %w", f.pool.Name, err))
	}
	return f.w.mail.closing
}

// dismiss stops a follower in the middle of a run, which goes on without it.
func (g *followers) dismiss(f *follower) {
	if err := g.stop(f); err != nil {
		g.noted.Add("", "", fmt.Errorf("the tape of pool %s was not closed in order: %w", f.pool.Name, err))
	}
}

// stopAll closes the tapes of all followers.
func (g *followers) stopAll() error {
	for _, f := range g.byPool {
		f.finish()
	}
	var errs []error
	for _, f := range g.byPool {
		errs = append(errs, g.stop(f))
	}
	return errors.Join(errs...)
}

// settleAll waits until the followers have done all they were given of the objects at hand.
func (g *followers) settleAll() {
	for pool := range g.paired {
		if f := g.byPool[pool]; f != nil {
			f.settle()
		}
	}
}

// syncAll makes durable what was written to all tapes.
func (g *followers) syncAll(ctx context.Context) error {
	for _, f := range g.byPool {
		if err := f.do(f.w.tapes.sync); err != nil {
			return err
		}
	}
	return g.lead.tapes.sync(ctx)
}

// byFollower lets the follower of a pool write what the pool is owed, from the spool; false: it has none.
func (g *followers) byFollower(p Pool) (made int, ok bool, err error) {
	f := g.byPool[p.Name]
	if f == nil {
		return 0, false, nil
	}
	f.settle()
	if f.able() == nil {
		err = f.do(func(ctx context.Context) error {
			var err error
			if made, err = f.w.writePool(ctx, p); err != nil {
				return err
			}
			return f.w.tapes.sync(ctx)
		})
		g.lead.known.learn(f.w.known)
		if err != nil || f.w.known.blocked[p.Name] == nil {
			return made, true, err
		}
	}
	g.dismiss(f)
	return made, false, nil
}

// pair looks which copies other pools are owed of the same objects, if there are drives for them. They are
// written together with what goes to p.
func (g *followers) pair(ctx context.Context, p Pool, owed []catalog.OwedCopy) error {
	g.paired = map[string]map[int64]int64{}
	spare, err := g.spareDrives(ctx)
	if err != nil || spare == 0 || g.lead.tapes.follows {
		return err
	}
	mine := map[int64]bool{}
	for _, c := range owed {
		mine[c.Object.ID] = true
	}
	for _, q := range g.a.env.Config.Pools {
		if q.Name == p.Name || !g.lead.debts.wants(q.Name) || g.lead.known.blocked[q.Name] != nil || len(g.paired) == spare {
			continue
		}
		row, err := g.a.env.DB.EnsurePool(ctx, q.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", q.Name, err)
		}
		theirs, err := g.lead.debts.owed(ctx, row.ID)
		if err != nil {
			return err
		}
		if len(theirs) == 0 || !g.lead.worth(q, theirs) {
			continue
		}
		copies := map[int64]int64{}
		for _, c := range theirs {
			if mine[c.Object.ID] && c.State == catalog.Owed {
				copies[c.Object.ID] = c.ID
			}
		}
		if len(copies) > 0 {
			g.paired[q.Name] = copies
			if f := g.byPool[q.Name]; f != nil {
				f.pause()
			}
		}
	}
	return nil
}

// spareDrives counts the drives beside the leader's own that may be used.
func (g *followers) spareDrives(ctx context.Context) (int, error) {
	avoid, err := volume.SetAside(ctx, g.a.env)
	if errors.Is(err, ErrNeedsOperator) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for _, d := range g.a.env.Lib.Present() {
		if !slices.Contains(avoid, d.Serial) {
			n++
		}
	}
	return max(0, n-1), nil
}

// follow offers a part to the pools that are owed it too. The leader has its own tape mounted.
func (g *followers) follow(ctx context.Context, o catalog.PlannedObject, p *pack.Packing, n int) (following, error) {
	var out following
	for pool, copies := range g.paired {
		id, ok := copies[o.ID]
		if !ok {
			continue
		}
		f := g.byPool[pool]
		if f != nil && f.able() != nil {
			delete(g.paired, pool)
			g.dismiss(f)
			continue
		}
		if f == nil {
			q, err := g.a.env.Pool(pool)
			if err != nil {
				return out, err
			}
			f = g.newFollower(ctx, q)
			g.byPool[pool] = f
		}
		if p.Given[pool][n] {
			continue // of a part that the leader's tape lost it has its own
		}
		if done, err := g.hasPart(ctx, id, n); err != nil || done {
			if err != nil {
				return out, err
			}
			continue
		}
		part := &followPart{object: o.Object, copy: id, number: n, parts: p.Parts(), size: p.PartLen(n), expected: g.lead.progress.expected}
		if ok, fresh := f.begin(part); ok {
			out = append(out, followed{f, part, fresh})
		}
	}
	for _, x := range out {
		if x.fresh {
			x.f.mounted(ctx, x.p)
		}
	}
	return out, nil
}

// hasPart tells whether a copy has a part already.
func (g *followers) hasPart(ctx context.Context, id int64, number int) (bool, error) {
	parts, err := g.a.env.DB.CopyParts(ctx, id)
	return slices.ContainsFunc(parts, func(p catalog.CopyPart) bool {
		return p.Number == number && (p.State == catalog.PartWritten || p.State == catalog.PartDurable)
	}), err
}

// mounted waits until a follower that was just given a part has its tape mounted, as long as it may be behind.
func (f *follower) mounted(ctx context.Context, p *followPart) {
	stop := context.AfterFunc(ctx, f.wake)
	defer stop()
	timer := time.AfterFunc(f.maxTime, f.wake)
	defer timer.Stop()
	began := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for !p.open && !p.cut && f.broken == nil && ctx.Err() == nil && time.Since(began) < f.maxTime {
		f.changed.Wait()
	}
}

// following are the followers of one part.
type following []followed

type followed struct {
	f     *follower
	p     *followPart
	fresh bool
}

// tee writes to the leader's tape and gives the same to the followers.
type tee struct {
	progress *progress
	out      io.Writer
	to       following
}

func (t tee) Write(b []byte) (int, error) {
	for _, x := range t.to {
		x.f.give(x.p, b)
	}
	n, err := t.out.Write(b)
	t.progress.more(n)
	return n, err
}

// over ends a part for the followers: with its sums, or for want of more.
func (x following) over(pk *pack.Packing, sums catalog.Part, err error) {
	for _, one := range x {
		if err != nil {
			one.f.cut(one.p)
		} else if one.f.end(one.p, sums) {
			pool := one.f.pool.Name
			if pk.Given[pool] == nil {
				pk.Given[pool] = map[int]bool{}
			}
			pk.Given[pool][one.p.number] = true
		}
	}
}

// freeDrives lets all followers close their tapes and give their drives back; some: there were any.
func (g *followers) freeDrives() (some bool, err error) {
	some = len(g.byPool) > 0
	return some, g.stopAll()
}

// dismissPool dismisses the follower that writes to a pool, if there is one.
func (g *followers) dismissPool(pool string) {
	if f := g.byPool[pool]; f != nil {
		g.dismiss(f)
	}
}
