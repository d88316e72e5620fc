package recall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// dispatch decides, for requests that no session answers, which tape is to be loaded, and starts
// sessions. It is the only one that reads the inventory.
func (q *Queue) dispatch() {
	defer q.running.Done()
	var read time.Time // when the inventory was read
	for {
		select {
		case <-q.soft.Done():
			return
		case <-q.kick:
		}
		if !q.undecided() && (len(q.Wanted()) == 0 || time.Since(read) < q.offlinePoll) {
			continue
		}
		if time.Since(read) > q.inventoryLifetime {
			q.mu.Lock()
			q.inventory = nil
			q.mu.Unlock()
		}
		q.mu.Lock()
		fresh := q.inventory
		q.mu.Unlock()
		if fresh == nil {
			var inv *inventory
			err := changer.WithPatience(q.soft, q.patience, func() (err error) {
				inv, err = q.readInventory(q.soft)
				return err
			})
			if err != nil {
				q.failUndecided(err)
				continue
			}
			read = time.Now()
			q.mu.Lock()
			q.inventory, q.drives = inv, inv.drives
			q.looked, q.lookedAt = inv, read
			q.returned(inv)
			q.mu.Unlock()
		}
		q.plan()
	}
}

func (q *Queue) readInventory(ctx context.Context) (*inventory, error) {
	raw, err := q.tapes.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the library's inventory: %w", err)
	}
	return newInventory(raw)
}

// undecided fails what no copy is left for, and reports whether anything waits for a decision: a
// tape to be chosen, or a session to be started.
func (q *Queue) undecided() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	found := false
	q.dropIdle()
	for _, f := range q.fetches {
		if f.active || f.idle || q.covered(f) {
			continue
		}
		if len(q.usable(f, nil)) == 0 {
			if err := q.hopeless(f, nil); !errors.Is(err, changer.ErrDriveAway) || !q.waitsOffline(f, err) {
				q.finish(f, nil, err)
			}
			continue
		}
		// A tape that was chosen and has no drive yet: nothing new to decide.
		found = found || f.tape == "" || len(q.sessions) < q.drives
	}
	return found
}

func (q *Queue) failUndecided(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.log.Error("nothing can be read from tape", "err", err)
	for _, f := range q.fetches {
		if !f.active && !q.covered(f) {
			q.finish(f, nil, err)
		}
	}
}

// covered tells whether a session will answer a fetch. Called with the lock held.
func (q *Queue) covered(f *fetch) bool {
	for s := range q.sessions {
		if !s.ending && s.answers(f) {
			return true
		}
	}
	return false
}

// plan chooses a tape for each fetch that no session answers, and starts sessions for the tapes
// that were asked for first, as far as there are drives.
func (q *Queue) plan() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.inventory == nil {
		return
	}
	var waiting []*fetch
	for _, f := range q.fetches {
		if !f.active && !f.idle && !q.covered(f) {
			waiting = append(waiting, f)
		}
	}
	since := q.unserved()
	slices.SortFunc(waiting, func(a, b *fetch) int {
		return cmp.Or(cmp.Compare(rank(a.background), rank(b.background)), compareHunger(hungriest(a, since), hungriest(b, since)), a.since.Compare(b.since), cmp.Compare(a.key.object, b.key.object), cmp.Compare(a.key.extent, b.key.extent))
	})
	chosen := map[string]bool{}
	for _, f := range waiting {
		if q.covered(f) {
			continue // by a session just started
		}
		copies := q.usable(f, q.inventory)
		if len(copies) == 0 {
			if err := q.hopeless(f, q.inventory); !q.waitsOffline(f, err) {
				q.finish(f, nil, err)
			}
			continue
		}
		best := slices.MinFunc(copies, func(a, b catalog.CopyPart) int {
			return cmp.Or(
				cmp.Compare(rank(b.Barcode == f.prefer), rank(a.Barcode == f.prefer)),
				cmp.Compare(rank(chosen[b.Barcode]), rank(chosen[a.Barcode])),
				cmp.Compare(q.inventory.place(a.Barcode), q.inventory.place(b.Barcode)),
				cmp.Compare(rank(b.State == catalog.PartDurable), rank(a.State == catalog.PartDurable)),
			)
		})
		f.tape = best.Barcode
		chosen[f.tape] = true
		if len(q.sessions) < q.drives && !q.taken(f.tape) {
			q.start(f.tape)
		}
	}
	for s := range q.sessions {
		signal(s.wake) // an idle one may have to make room
	}
	if len(q.wanted) > 0 {
		q.lookAgain()
	}
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// taken tells whether a session, ending or not, has a tape. Called with the lock held.
func (q *Queue) taken(barcode string) bool {
	for s := range q.sessions {
		if s.barcode == barcode {
			return true
		}
	}
	return false
}

// start begins a session. Called with the lock held.
func (q *Queue) start(barcode string) {
	s := &session{q: q, barcode: barcode, wake: make(chan struct{}, 1)}
	s.leasing, s.stopLeasing = context.WithCancel(q.soft)
	q.sessions[s] = struct{}{}
	q.running.Add(1)
	go s.run()
}

// elsewhere is since when work waits for a tape that no session has while all drives have sessions; zero
// when none does.
type elsewhere struct {
	reader, background time.Time
	room               bool // an unserved user is to have this session's drive
}

// any reports whether anybody waits.
func (e elsewhere) any() bool { return !e.reader.IsZero() || !e.background.IsZero() }

// waitingElsewhere looks for it. Called with the lock held.
func (q *Queue) waitingElsewhere() elsewhere {
	var oldest elsewhere
	open := 0
	for s := range q.sessions {
		if !s.ending {
			open++
		}
	}
	if open < q.drives {
		return oldest
	}
	for _, f := range q.fetches {
		if f.tape == "" || f.active || f.idle || q.covered(f) {
			continue
		}
		since := &oldest.reader
		if f.background {
			since = &oldest.background
		}
		if since.IsZero() || f.since.Before(*since) {
			*since = f.since
		}
	}
	return oldest
}
