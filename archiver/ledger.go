package archiver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// ledger is what a writer learned in its run of tapes, pools, copies and sources, and what it will therefore not try again. Only the
// writer's goroutine uses it; a leader reads its follower's when that has settled.
type ledger struct {
	tried   map[changer.Barcode]bool // tapes that this run will not take again
	removed map[changer.Barcode]int  // how often a tape was taken out, or its ltfs killed, while this run wrote to it
	absent  map[string]error         // tapes that could not be copied from in this run, and why

	blocked map[string]error // pools without a tape, and why
	worthy  map[string]bool  // pools whose owed bytes were worth a mount in this run
	held    map[string]Held  // pools that are owed too little, as last seen

	failed   map[int64]bool // copies that this run gave up
	repacked map[int64]bool // copies whose object was packed anew in this run
	fromCopy map[int64]bool // copies that the spool cannot repeat: another copy must give them
	uncopied map[int64]bool // copies that no other copy could give in this run
	shared   map[int64]bool // objects of other sources that have bytes of this run's files, and lack a copy
	away     map[int64]bool // sources that could not be read any more in this run
}

func newLedger() *ledger {
	return &ledger{tried: map[changer.Barcode]bool{}, removed: map[changer.Barcode]int{}, absent: map[string]error{},
		blocked: map[string]error{}, worthy: map[string]bool{}, held: map[string]Held{},
		failed: map[int64]bool{}, repacked: map[int64]bool{}, fromCopy: map[int64]bool{}, uncopied: map[int64]bool{},
		shared: map[int64]bool{}, away: map[int64]bool{}}
}

// learn takes over which copies and tapes a follower gave up. It must have settled.
func (l *ledger) learn(follower *ledger) {
	maps.Copy(l.failed, follower.failed)
	maps.Copy(l.repacked, follower.repacked)
	maps.Copy(l.fromCopy, follower.fromCopy)
	maps.Copy(l.tried, follower.tried)
}

// takenOutLimit is how often a tape may be taken out of its drive while one run writes to it, before the run leaves it alone.
const takenOutLimit = 2

// tookOut counts that a tape was taken out of its drive, or its ltfs killed.
func (l *ledger) tookOut(b changer.Barcode) {
	l.removed[b]++
	if l.removed[b] >= takenOutLimit {
		l.tried[b] = true
	}
}

// defaultMaxAge is how long less than a pool's MinBatch waits in the spool at most.
const defaultMaxAge = 7 * 24 * time.Hour

// worth says whether what a pool is owed is worth the mount of a tape. Once it was, all the rest of the run is. atOnce: it is however
// little that is, since it may not wait or a tape of the pool is mounted.
func (l *ledger) worth(p Pool, owed []catalog.OwedCopy, atOnce bool) bool {
	if p.MinBatch <= 0 || atOnce || l.worthy[p.Name] {
		delete(l.held, p.Name)
		return true
	}
	h := Held{Pool: p.Name, Copies: len(owed), MinBatch: p.MinBatch}
	age := p.MaxAge
	if age <= 0 {
		age = defaultMaxAge
	}
	for _, c := range owed {
		h.Bytes += objectSize(&c.Object)
		if until := c.Object.Created.Add(age); h.Until.IsZero() || until.Before(h.Until) {
			h.Until = until
		}
	}
	now := time.Now()
	unknown := h.Until.Sub(now) > age // planned by a clock that was ahead
	if h.Bytes >= p.MinBatch || !now.Before(h.Until) || unknown {
		l.worthy[p.Name] = true
		delete(l.held, p.Name)
		return true
	}
	l.held[p.Name] = h
	return false
}

// objectSize is about how many bytes an object takes on tape.
func objectSize(o *catalog.Object) int64 {
	if o.State == catalog.ObjectPlanned {
		return o.PlannedSize
	}
	return o.SealedSize
}

// collected is what the run leaves in the spool, by pool.
func (l *ledger) collected() []Held {
	var all []Held
	for _, h := range l.held {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b Held) int { return strings.Compare(a.Pool, b.Pool) })
	return all
}

// cannotCopy records that copies of a pool cannot be made from others now, and says why and which tapes would help.
func (l *ledger) cannotCopy(pool string, missing []catalog.MissingPart) error {
	copies, away := map[int64]bool{}, map[string]bool{}
	var whys []error
	for _, m := range missing {
		copies[m.Copy] = true
		l.uncopied[m.Copy] = true
		for _, from := range m.From {
			if why := l.absent[from.Barcode]; why != nil && !away[from.Barcode] {
				away[from.Barcode] = true
				whys = append(whys, why)
			}
		}
	}
	if len(away) == 0 {
		return fmt.Errorf("pool %s is owed %d copies that cannot be made: no other copy has their bytes", pool, len(copies))
	}
	var names []string
	for b := range away {
		names = append(names, b)
	}
	slices.Sort(names)
	why := errors.Join(whys...)
	if errors.Is(why, changer.ErrNotInLibrary) {
		why = fmt.Errorf("%w: %w", ErrNeedsOperator, why)
	}
	return fmt.Errorf("pool %s is owed %d copies that only another copy can give, on %s: %w", pool, len(copies), strings.Join(names, ", "), why)
}
