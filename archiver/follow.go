package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/catalog"
)

// errDetached: the part in hand cannot be finished with what the leader gives.
var errDetached = errors.New("it did not get the whole part")

// follower writes a second copy of what a leading writer seals, at the same time and in another drive: the source
// is read once. It is a writer of its own with a goroutine of its own, in which alone w is used.
type follower struct {
	pool     Pool
	w        *writer
	maxBytes int64
	maxTime  time.Duration
	ended    chan struct{} // closed when the goroutine is gone

	mu      sync.Mutex // guards the fields below, and those of the parts
	changed *sync.Cond
	queue   []followEvent
	queued  int64
	busy    bool        // an event is in hand
	hand    *followPart // that is being written
	closed  bool
	broken  error // it has no tape or cannot go on: nothing more is given to it
	free    [][]byte
}

// followEvent is one thing to do.
type followEvent struct {
	at   time.Time
	part *followPart // what it is about; without data and end: to be begun
	data []byte      // an extent
	end  bool        // the part is whole, and the leader's copy of it is recorded
	idle bool        // nothing came for a while
	call func(context.Context) error
	done chan error // of call; nil: nobody waits, and after an error it is broken
}

// followPart is a part to be written.
type followPart struct {
	object catalog.Object
	copy   int64
	number int
	parts  int
	size   int64

	expected int64 // bytes that the leader will have written

	sums catalog.Part // known at the end
	open bool         // its tape is mounted
	cut  bool         // nothing more of it comes
}

func (g *followers) newFollower(ctx context.Context, p Pool) *follower {
	f := &follower{pool: p, ended: make(chan struct{}), maxBytes: g.a.env.Config.BehindBytes, maxTime: g.a.env.Config.BehindTime}
	f.changed = sync.NewCond(&f.mu)
	f.w = g.a.newWriter(g.run, g.sources, Options{Until: g.lead.debts.until, Now: true}, g.noted)
	f.w.becomeFollower(g.lead, p.Name)
	go f.run(ctx)
	return f
}

// run does one thing after the other until close. At the end the tape is closed in order.
func (f *follower) run(ctx context.Context) {
	defer close(f.ended)
	for {
		e, ok := f.next()
		if !ok {
			err := errors.Join(f.w.tapes.closeTape(ctx), f.w.session.giveUp(ctx))
			f.mu.Lock()
			f.w.mail.closing = err
			f.mu.Unlock()
			return
		}
		var err error
		switch {
		case e.call != nil:
			err = e.call(ctx)
			if e.done != nil {
				e.done <- err
			}
		case e.part != nil:
			err = f.writePart(ctx, e.part)
		case e.idle:
			err = f.w.idle(ctx)
		}
		f.mu.Lock()
		if err != nil && f.broken == nil && e.done == nil {
			f.broken = err
		}
		f.busy, f.hand = false, nil
		f.changed.Broadcast()
		f.mu.Unlock()
	}
}

// next waits for an event; false when there will be none. While nothing comes the tape is synced when that is
// due, and the drive given to who wants it.
func (f *follower) next() (followEvent, bool) {
	began := time.Now()
	timer := time.AfterFunc(idleLook, f.wake)
	defer timer.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 {
		if f.closed {
			return followEvent{}, false
		}
		if time.Since(began) >= idleLook {
			f.busy = true
			return followEvent{idle: true}, true
		}
		f.changed.Wait()
	}
	return f.take(), true
}

// wake lets those who wait look again.
func (f *follower) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed.Broadcast()
}

// take removes the first event. The lock is held.
func (f *follower) take() followEvent {
	e := f.queue[0]
	f.queue[0] = followEvent{}
	f.queue = f.queue[1:]
	f.queued -= int64(len(e.data))
	f.busy, f.hand = true, e.part
	f.changed.Broadcast()
	return e
}

// extent waits for more of a part: an extent, or the end; errDetached when it will not come.
func (f *follower) extent(p *followPart) (followEvent, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !p.cut && !f.closed {
		f.changed.Wait()
	}
	if p.cut || len(f.queue) == 0 || f.queue[0].part != p {
		return followEvent{}, errDetached
	}
	return f.take(), nil
}

// writePart writes a part as its extents come. What goes wrong with it leaves it owed; an error says that
// this follower can write no more.
func (f *follower) writePart(ctx context.Context, p *followPart) error {
	defer f.cut(p) // whatever still comes of it
	w := f.w
	err := w.tapes.openTape(ctx, f.pool.Name, p.size)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, errTooSmall) {
			return nil
		}
		return err
	}
	ctx, w.progress.expected = context.WithoutCancel(ctx), p.expected // the part in hand is finished
	if !f.opened(p) {
		return nil
	}
	name := pack.PartName(p.object.Fingerprint, p.object.OID, p.number, p.parts)
	row, err := w.a.env.DB.AddCopyPart(ctx, catalog.CopyPart{Copy: p.copy, Number: p.number, Tape: w.session.tape.ID, Barcode: w.session.tape.Barcode, Name: name, StartBlock: -1})
	if err != nil {
		return fmt.Errorf("record part %d of object %s: %w", p.number+1, p.object.OID, err)
	}
	var written int64
	began := time.Now()
	_, err = w.session.putFile(ctx, name, func(out *os.File) (catalog.Part, error) {
		for {
			e, err := f.extent(p)
			if err != nil || e.end {
				return catalog.Part{}, err
			}
			n, err := out.Write(e.data)
			written += int64(n)
			w.progress.more(n)
			f.recycle(e.data)
			if err != nil {
				return catalog.Part{}, &pack.WriteError{Err: err}
			}
		}
	})
	if err == nil && written != p.size {
		err = errDetached
	}
	if err != nil {
		f.cut(p)
		err = w.tapes.partFailed(ctx, row, written, fmt.Errorf("write part %d of object %s to tape %s: %w", p.number+1, p.object.OID, w.session.tape.Barcode, err))
		if errors.Is(err, errDetached) {
			w.a.env.Log.Info("a second copy will be written from the spool", "object", p.object.OID, "pool", f.pool.Name, "why", err)
			return nil
		}
		return err
	}
	start, err := w.session.volume.StartBlock(name)
	if err != nil {
		start = -1
	}
	if err := w.a.env.DB.PartClosed(ctx, catalog.ClosedPart{CopyPart: row.ID, StartBlock: start, Part: p.sums}, nil); err != nil {
		return fmt.Errorf("record part %d of object %s: %w", p.number+1, p.object.OID, err)
	}
	job.Failpoint("follower-part")
	return w.tapes.countPart(ctx, w.sources[p.object.Source].Name, p.size, map[string]int64{"written_bytes": p.size, "written_parts": 1, "followed_parts": 1,
		"write_ms": time.Since(began).Milliseconds()})
}

// opened tells the leader that the tape is mounted; false: it waits no longer.
func (f *follower) opened(p *followPart) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.open = true
	f.changed.Broadcast()
	return !p.cut
}

// cut drops what is queued of a part and lets nothing more of it come.
func (f *follower) cut(p *followPart) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.cut = true
	f.queue = slices.DeleteFunc(f.queue, func(e followEvent) bool {
		if e.part != p {
			return false
		}
		f.queued -= int64(len(e.data))
		return true
	})
	f.changed.Broadcast()
}

// drop cuts all parts there are. The lock is held.
func (f *follower) drop() {
	for _, e := range f.queue {
		if e.part != nil {
			e.part.cut = true
		}
	}
	if f.hand != nil {
		f.hand.cut = true
	}
	f.queue = slices.DeleteFunc(f.queue, func(e followEvent) bool { return e.part != nil })
	f.queued = 0
	f.changed.Broadcast()
}

// recycle keeps a buffer for the next extent.
func (f *follower) recycle(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.free) < pack.Buffers {
		f.free = append(f.free, b[:cap(b)])
	}
}
