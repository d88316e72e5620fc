package recall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// Prefetch brings a list of files into the cache. The whole list is planned before anything is read: which
// extents are missing, which tape each comes from, in which order along it. What is cached already is
// skipped, so that a second call goes on where the first one ended.

// PrefetchRequest names files and directories, each with all below it.
type PrefetchRequest struct {
	IDs []catalog.ID `json:"ids"`
	Pin bool         `json:"pin"` // keep them until Unpin
	// Look only makes the plan, and reports it: nothing is read or pinned.
	Look bool `json:"look,omitempty"`
}

// PrefetchPlan is what is said before anything is read. All sizes are sealed bytes, of whole extents.
type PrefetchPlan struct {
	Files   int64          `json:"files"`
	Spooled int64          `json:"spooled"` // files that lie in the spool or at a local source still
	Lost    int64          `json:"lost"`    // files that have no bytes anywhere
	Bytes   int64          `json:"bytes"`
	Missing int64          `json:"missing"` // of Bytes, not cached
	Room    int64          `json:"room"`    // of Missing, what the cache can take without losing what was listed
	Tapes   []PrefetchTape `json:"tapes"`   // in the order in which they are begun
}

// PrefetchTape is what is to come from one tape.
type PrefetchTape struct {
	Barcode string `json:"barcode"`
	Bytes   int64  `json:"bytes"`
	Outside bool   `json:"outside"` // not in the library: wanted
	Loaded  bool   `json:"loaded"`  // in a drive
	Jumps   int64  `json:"locates"` // places between which the tape runs without reading
}

// PrefetchResult says what became of a plan, in sealed bytes.
type PrefetchResult struct {
	Read   int64    `json:"read"`
	Left   int64    `json:"left"`   // the cache is full
	Away   int64    `json:"away"`   // on tapes outside the library
	Failed int64    `json:"failed"` // could not be read
	Kept   int64    `json:"kept"`   // of all that was listed, what the cache has at the end
	Wanted []string `json:"wanted"` // these tapes
	Why    string   `json:"why,omitempty"`
}

// PrefetchEvent is the plan, then progress.
type PrefetchEvent struct {
	Plan *PrefetchPlan `json:"plan,omitempty"`
	Done int64         `json:"done,omitempty"` // bytes read so far
	Tape string        `json:"tape,omitempty"` // from this one lately
}

// prefetch is one call's work.
type prefetch struct {
	q       *Queue
	objects map[int64]*needed
	byOID   map[string]*needed
	plan    PrefetchPlan
	tapes   []*tapePlan
	inv     *inventory
	report  func(PrefetchEvent)

	mu     sync.Mutex // protects all below
	result PrefetchResult
	room   int64
}

// needed is what is wanted of one object.
type needed struct {
	o    *object
	want cache.Bits
}

// tapePlan is what comes from one tape.
type tapePlan struct {
	PrefetchTape
	place place
	runs  []readRun
}

// readRun is consecutive extents of one part.
type readRun struct {
	at          position
	o           *object
	first, last int64
}

// Prefetch brings files into the cache and returns when all is there that can be. report is called for the
// plan and now and then; it must not wait for the queue. The error is for what stopped all of it; what could
// not be read is in the result.
func (q *Queue) Prefetch(ctx context.Context, r PrefetchRequest, report func(PrefetchEvent)) (PrefetchResult, error) {
	p := &prefetch{q: q, objects: map[int64]*needed{}, report: report}
	defer p.close()
	if !q.cache.Keeps() {
		return p.result, errors.New("prefetch: this process has no cache to keep anything in")
	}
	if err := p.collect(ctx, r.IDs); err != nil {
		return p.result, fmt.Errorf("plan what to prefetch: %w", err)
	}
	if p.plan.Missing > 0 && q.tapes != nil {
		inv, err := q.readInventory(ctx)
		if err != nil {
			return p.result, err
		}
		p.inv = inv
	}
	p.byTape()
	if r.Look {
		report(PrefetchEvent{Plan: &p.plan})
		return p.result, nil
	}
	if r.Pin {
		if err := p.pin(ctx, r.IDs); err != nil {
			return p.result, err
		}
	}
	report(PrefetchEvent{Plan: &p.plan})
	err := p.run(ctx)
	if err == nil {
		err = p.note(ctx, r.IDs)
	}
	p.countKept()
	slices.Sort(p.result.Wanted)
	return p.result, err
}

// OwnsCache tells whether this process keeps what is read.
func (q *Queue) OwnsCache() bool { return q.cache.Keeps() }

// Unpin takes the pins of files back, and of all below directories. It returns how many were pinned.
func (q *Queue) Unpin(ctx context.Context, ids []catalog.ID) (int, error) {
	unpinned := 0
	var page []catalog.ID
	flush := func() error {
		n, err := q.cache.Unpin(page)
		unpinned += n
		page = page[:0]
		return err
	}
	for _, id := range ids {
		if id == catalog.Root { // also versions that are in no listing any more
			page = append(page, q.cache.Pinned()...)
			continue
		}
		err := q.db.Files(ctx, id, func(v *catalog.Version) error {
			if page = append(page, v.Inode); len(page) < 10_000 {
				return nil
			}
			return flush()
		})
		if err != nil {
			return unpinned, fmt.Errorf("unpin: %w", err)
		}
	}
	if err := flush(); err != nil {
		return unpinned, fmt.Errorf("unpin: %w", err)
	}
	return unpinned, nil
}

// Pin keeps all files of the list, or none.
func (p *prefetch) pin(ctx context.Context, ids []catalog.ID) error {
	if p.room < p.plan.Missing {
		return fmt.Errorf("%w: %d bytes are to be read, and there is room for %d", cache.ErrPinned, p.plan.Missing, p.room)
	}
	var done []catalog.ID
	for _, id := range ids {
		err := p.q.db.Files(ctx, id, func(v *catalog.Version) error {
			w, data, err := p.find(ctx, v)
			if err != nil || w == nil || p.q.cache.IsPinned(v.Inode) {
				return err
			}
			if err := p.q.cache.Pin(v.Inode, w.o.oid, data+crypto.HeaderSize, v.Size); err != nil {
				return err
			}
			done = append(done, v.Inode)
			return nil
		})
		if err != nil {
			_, uerr := p.q.cache.Unpin(done)
			return errors.Join(err, uerr)
		}
	}
	return nil
}

// Note lets the cache know which files its extents belong to, as a reader would have.
func (p *prefetch) note(ctx context.Context, ids []catalog.ID) error {
	for _, id := range ids {
		err := p.q.db.Files(ctx, id, func(v *catalog.Version) error {
			w, data, err := p.find(ctx, v)
			if err == nil && w != nil {
				p.q.cache.Note(v.Inode, w.o.oid, data+crypto.HeaderSize, v.Size)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// countKept looks what of the list the cache has now: what was read may have made room for others meanwhile, and what was there may have
// been removed.
func (p *prefetch) countKept() {
	p.result.Kept = p.plan.Bytes - p.missing()
}

// run reads from as many tapes at once as there are drives.
func (p *prefetch) run(ctx context.Context) error {
	var g errgroup.Group
	if p.inv != nil {
		g.SetLimit(p.inv.drives)
	}
	for _, t := range p.tapes {
		if p.inv == nil || t.Outside {
			p.result.Away += t.Bytes
			p.result.Wanted = append(p.result.Wanted, t.Barcode)
			p.q.wantTape(t.Barcode)
			continue
		}
		g.Go(func() error { return p.readTape(ctx, t) })
	}
	return g.Wait()
}

// asked is one extent under way.
type asked struct {
	f    *fetch
	o    *object
	n    int64
	size int64
}

// readTape keeps a window of requests in the queue, so that the drive streams.
func (p *prefetch) readTape(ctx context.Context, t *tapePlan) error {
	var pending []asked
	defer func() {
		for _, a := range pending {
			p.q.leave(a.f)
		}
	}()
	window := int(max(1, p.q.cache.Window()))
	left := t.Bytes
	for _, r := range t.runs {
		for n := r.first; n <= r.last; n++ {
			_, _, size := r.o.extent(n)
			left -= size
			if !p.take(size) {
				continue
			}
			f, err := p.q.askBackground(ctx, r.o, n, t.Barcode)
			if ctx.Err() != nil || errors.Is(err, ErrOffline) || errors.Is(err, ErrClosed) {
				return p.giveUp(ctx, t, pending, left+size, err)
			}
			if err != nil { // something is wrong with this part of an object: the others can be read
				for n++; n <= r.last; n++ {
					_, _, more := r.o.extent(n)
					left -= more
					size += more
				}
				p.failed(size, err)
				break
			}
			if f == nil {
				continue // somebody else brought it in
			}
			pending = append(pending, asked{f, r.o, n, size})
			for len(pending) >= window {
				gone, err := p.await(ctx, t, pending[0])
				pending = pending[1:]
				if gone {
					return p.giveUp(ctx, t, pending, left, err)
				}
			}
		}
		r.o.dropSums(r.first)
	}
	for len(pending) > 0 {
		gone, err := p.await(ctx, t, pending[0])
		pending = pending[1:]
		if gone {
			return p.giveUp(ctx, t, pending, 0, err)
		}
	}
	return nil
}

// take claims room in the cache.
func (p *prefetch) take(size int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if size > p.room {
		p.result.Left += size
		return false
	}
	p.room -= size
	return true
}

// await ends one request. gone tells that nothing more can be had from this tape now.
func (p *prefetch) await(ctx context.Context, t *tapePlan, a asked) (gone bool, err error) {
	defer p.q.leave(a.f)
	select {
	case <-a.f.done:
	case <-ctx.Done():
		return true, ctx.Err()
	}
	switch {
	case a.f.err == nil && !p.q.cache.Has(a.o.oid, a.n):
		p.mu.Lock()
		p.result.Left += a.size
		p.room = 0 // it takes no more, whatever was counted
		p.mu.Unlock()
	case a.f.err == nil:
		p.mu.Lock()
		p.result.Read += a.size
		done := p.result.Read
		p.mu.Unlock()
		p.report(PrefetchEvent{Done: done, Tape: t.Barcode})
	case errors.Is(a.f.err, ErrDamaged), errors.Is(a.f.err, ErrNoBytes):
		p.failed(a.size, a.f.err)
	default:
		p.failed(a.size, a.f.err)
		return true, a.f.err
	}
	return false, nil
}

func (p *prefetch) failed(size int64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Failed += size
	if p.result.Why == "" {
		p.result.Why = err.Error()
	}
}

// giveUp counts what a tape that cannot be read leaves undone. The others go on.
func (p *prefetch) giveUp(ctx context.Context, t *tapePlan, pending []asked, left int64, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, a := range pending {
		left += a.size
	}
	if !errors.Is(err, ErrOffline) {
		p.failed(left, err)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result.Away += left
	p.result.Wanted = append(p.result.Wanted, t.Barcode)
	return nil
}

func (p *prefetch) close() {
	for _, w := range p.objects {
		p.q.closeObject(w.o)
	}
}
