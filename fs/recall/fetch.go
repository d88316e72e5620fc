package recall

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// fetch is the request for one missing extent, shared by all who want it. Its fields are
// protected by Queue.mu, but data and err, which are set before done is closed.
type fetch struct {
	key     extentKey
	o       *object
	sum     [sha256.Size]byte
	copies  []catalog.CopyPart
	since   time.Time
	waiters int             // reads that wait for it
	refs    int             // waiters, and files that asked for it ahead
	users   map[uint32]int  // whose they are; nobody's are those of Prefetch
	reading map[uint32]int  // whose the waiters are
	asking  map[asker]int   // the waiters by file
	active  bool            // a session reads it
	tape    string          // the one the dispatcher chose to load for it; "" while undecided
	stop    context.Context // of a survey, which may take hours: ends when nobody wants it any more
	cancel  context.CancelFunc

	background bool   // only Prefetch wants it: readers go first
	idle       bool   // nobody waits for it at all: see follow
	prefer     string // the tape that Prefetch planned to read it from

	done chan struct{}
	data []byte // nil when nobody waits
	err  error
}

// readExtent copies sealed bytes of extent n from offset on into dst: from the cache, or else from
// tape. All of dst is verified bytes when the error is nil.
func (q *Queue) readExtent(ctx context.Context, who asker, o *object, n int64, dst []byte, offset int64) error {
	sum, err := o.sum(ctx, q.db, n)
	if err != nil {
		return err
	}
	_, _, size := o.extent(n)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if ok, err := q.cache.Read(ctx, o.oid, n, size, sum, dst, offset); ok || err != nil {
			if ok {
				q.verifyNext(o, n)
			}
			return err
		}
		if data := q.memory.get(extentKey{o.id, n}); data != nil {
			copy(dst, data[offset:])
			return nil
		}
		q.forgetProved(ctx, o.copies(n))
		f, err := q.join(o, n, sum, reader, who.user)
		if err != nil {
			return err
		}
		if f == nil {
			continue // it came in between
		}
		q.asks(f, who)
		cache.GiveBackPages(dst)
		select {
		case <-f.done:
		case <-ctx.Done():
			q.asked(f, who)
			q.waited(f, who.user)
			q.leaveFor(f, who.user)
			return ctx.Err()
		}
		if f.err == nil {
			copy(dst, f.data[offset:])
		}
		q.asked(f, who)
		q.waited(f, who.user)
		return f.err
	}
}

// verifyNext has another core hold the extent behind n against its sum, if it is in the cache and was not yet, and the one before n was:
// then somebody reads from beginning to end, and would wait for it. One at a time; what is found to be bad is gone when he gets there.
func (q *Queue) verifyNext(o *object, n int64) {
	if !q.cache.WantsCheck(o.oid, n) {
		return
	}
	select {
	case q.verifying <- struct{}{}:
	default:
		return
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		<-q.verifying
		return
	}
	q.running.Add(1)
	q.mu.Unlock()
	go func() {
		defer q.running.Done()
		defer func() { <-q.verifying }()
		sum, err := o.sum(q.soft, q.db, n+1)
		if err == nil {
			_, _, size := o.extent(n + 1)
			_, err = q.cache.Read(q.soft, o.oid, n+1, size, sum, nil, 0)
		}
		if err != nil && q.soft.Err() == nil {
			q.log.Debug("cached extent is not verified ahead", "object", o.oid, "extent", n+1, "err", err) // its reader gets the error
		}
	}()
}

// ask requests an extent ahead of its reader. Nil means that there is nothing to wait for; else
// the caller gives the request up with leave.
func (q *Queue) ask(ctx context.Context, user uint32, o *object, n int64) *fetch {
	sum, err := o.sum(ctx, q.db, n)
	if err != nil {
		return nil
	}
	f, err := q.join(o, n, sum, ahead, user)
	if err != nil {
		return nil
	}
	return f
}

// askBackground requests an extent for Prefetch. As ask, but it says why a request is not possible.
func (q *Queue) askBackground(ctx context.Context, o *object, n int64, barcode string) (*fetch, error) {
	sum, err := o.sum(ctx, q.db, n)
	if errors.Is(err, errUnsurveyed) {
		if err = q.surveyed(ctx, uint32(os.Geteuid()), o); err == nil {
			sum, err = o.sum(ctx, q.db, n)
		}
	}
	if err != nil {
		return nil, err
	}
	f, err := q.join(o, n, sum, background, 0)
	if f != nil {
		q.mu.Lock()
		if f.prefer == "" {
			f.prefer = barcode
		}
		q.mu.Unlock()
	}
	return f, err
}

// interest says who wants an extent.
type interest int

const (
	background interest = iota // nobody yet
	ahead                      // a reader, soon
	reader                     // a reader, who waits
)

// join takes part in the fetch of an extent, a new one if need be, for a user (in the background: for nobody). Nil without an error: the
// extent is in the cache or in memory.
func (q *Queue) join(o *object, n int64, sum [sha256.Size]byte, who interest, user uint32) (*fetch, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	key := extentKey{o.id, n}
	if q.closed {
		return nil, ErrClosed
	}
	f := q.fetches[key]
	if f == nil {
		// It may have come in since the caller looked.
		if n != surveyExtent && (q.cache.Has(o.oid, n) || q.memory.get(key) != nil) {
			return nil, nil
		}
		copies := o.copies(n)
		if len(copies) == 0 {
			return nil, fmt.Errorf("object %s extent %d: %w", o.oid, n, ErrNoBytes)
		}
		if q.tapes == nil {
			return nil, fmt.Errorf("object %s extent %d: %w: no library is configured (%s)", o.oid, n, ErrOffline, barcodes(copies))
		}
		f = &fetch{key: key, o: o, sum: sum, copies: copies, since: time.Now(), done: make(chan struct{}), background: who == background,
			users: map[uint32]int{}, reading: map[uint32]int{}, asking: map[asker]int{}}
		if n == surveyExtent {
			f.stop, f.cancel = context.WithCancel(q.soft)
		}
		q.fetches[key] = f
		q.wake()
	}
	if f.idle {
		f.idle = false
		q.idleFetches--
		f.refs--
	}
	f.refs++
	if who != background && f.background {
		f.background, f.since = false, time.Now()
		q.wake()
	}
	if who != background {
		f.users[user]++
	}
	if who == reader {
		f.waiters++
		f.reading[user]++
	}
	return f, nil
}

// waited ends one wait. The bytes go with the last one: files keep what they asked for ahead.
func (q *Queue) waited(f *fetch, user uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	less(f.reading, user)
	if f.waiters--; f.waiters == 0 {
		f.data = nil
	}
}

// putBack makes a fetch wait again that a session had taken. Called with the lock held.
func (q *Queue) putBack(f *fetch) {
	f.active = false
	if f.stop != nil && f.stop.Err() != nil && f.refs > 0 { // given up, and wanted again
		f.stop, f.cancel = context.WithCancel(q.soft)
	}
	if q.closed {
		q.finish(f, nil, ErrClosed)
	} else if f.refs == 0 && q.fetches[f.key] == f {
		delete(q.fetches, f.key)
	}
}

// less counts down, and forgets what nobody counts any more.
func less[K comparable](counts map[K]int, who K) {
	if counts[who]--; counts[who] <= 0 {
		delete(counts, who)
	}
}

// leaveFor gives up a request that was made for a user.
func (q *Queue) leaveFor(f *fetch, user uint32) {
	q.mu.Lock()
	less(f.users, user)
	q.mu.Unlock()
	q.leave(f)
}

// leave gives a request up; it goes when nobody else wants it and no session is reading it.
func (q *Queue) leave(f *fetch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f.refs--
	if f.refs == 0 && f.cancel != nil {
		f.cancel()
	}
	if f.refs == 0 && !f.active && q.fetches[f.key] == f {
		delete(q.fetches, f.key)
		q.wake() // a session may be waiting for a drive on its behalf
	}
}

// finish ends a fetch for all who wait. Called with the lock held.
func (q *Queue) finish(f *fetch, data []byte, err error) {
	if q.fetches[f.key] != f {
		return
	}
	delete(q.fetches, f.key)
	if f.cancel != nil {
		f.cancel()
	}
	f.active = false
	if f.idle {
		f.idle = false
		q.idleFetches--
	}
	if err == nil {
		q.gave(f)
	}
	if f.waiters > 0 {
		f.data = data
	}
	f.err = err
	close(f.done)
}

// wake makes the dispatcher and all sessions look again. Called with the lock held.
func (q *Queue) wake() {
	signal(q.kick)
	for s := range q.sessions {
		signal(s.wake)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
