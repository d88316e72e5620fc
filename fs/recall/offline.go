package recall

import (
	"context"
	"errors"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// Tapes outside the library. What needs one fails at once, or waits for the tape as long as
// Options.OfflineWait. Each such tape is wanted: said once, until it is seen in the library again.

// offlinePoll is how often the library is looked at while tapes are wanted.
const offlinePoll = 10 * time.Second

// outsideAge is how old the reading of the library may be that Outside answers from.
const outsideAge = 10 * time.Second

// Outside tells whether a tape is known to be outside the library. It starts no program for each
// call: the library is read at most every 10 s, and not while a reading is under way.
func (q *Queue) Outside(ctx context.Context, barcode string) bool {
	if q.tapes == nil {
		return true
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	if q.looking == nil && time.Since(q.lookedAt) > outsideAge {
		done := make(chan struct{})
		q.looking = done
		q.running.Add(1)
		go func() {
			defer q.running.Done()
			inv, err := q.readInventory(q.soft)
			q.mu.Lock()
			defer q.mu.Unlock()
			if err == nil {
				q.looked = inv
			}
			q.lookedAt = time.Now()
			q.looking = nil
			close(done)
		}()
	}
	looking := q.looking
	q.mu.Unlock()
	if looking != nil {
		select {
		case <-looking:
		case <-ctx.Done():
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.looked != nil && q.looked.place(barcode) == outside
}

// NoDrive says why no tape can be read while the drive that would read it is not there; "": nobody asked since, or it is there.
func (q *Queue) NoDrive() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.noDrive
}

// driveFor notes whether a tape found its drive. Called with the lock held.
func (q *Queue) driveFor(err error) {
	if !errors.Is(err, changer.ErrDriveAway) {
		q.noDrive = ""
		return
	}
	if q.noDrive == "" {
		q.log.Warn("nothing can be read from tape: is the drive switched on?", "err", err)
	}
	q.noDrive = err.Error()
}

// Wanted lists the tapes that reads needed, that were outside the library and have not come back.
func (q *Queue) Wanted() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []string
	for b := range q.wanted {
		list = append(list, b)
	}
	return list
}

// waitsOffline notes that a fetch needs a tape outside the library, or a drive that is switched off, and tells whether it waits for
// it. Called with the lock held.
func (q *Queue) waitsOffline(f *fetch, err error) bool {
	if errors.Is(err, changer.ErrDriveAway) {
		q.lookAgainIn(min(q.offlinePoll, lookForDrive))
		return time.Since(f.since) < q.o.OfflineWait
	}
	if !errors.Is(err, ErrOffline) {
		return false
	}
	if b := q.firstOutside(f.copies); b != "" {
		q.want(b)
	}
	q.lookAgain()
	return time.Since(f.since) < q.o.OfflineWait
}

// want notes, once, that a tape is needed. Called with the lock held.
func (q *Queue) want(barcode string) {
	if q.wanted[barcode] {
		return
	}
	q.wanted[barcode] = true
	q.log.Warn("tape is wanted: put it into the library", "barcode", barcode)
	q.tell(barcode, true)
}

// wantTape notes that a tape outside the library is needed.
func (q *Queue) wantTape(barcode string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.want(barcode)
		q.lookAgain()
	}
}

func (q *Queue) firstOutside(copies []catalog.CopyPart) string {
	for _, cp := range copies {
		if q.inventory != nil && q.inventory.place(cp.Barcode) == outside {
			return cp.Barcode
		}
	}
	return ""
}

// returned takes the request for tapes back that are in the library again. Called with the lock held.
func (q *Queue) returned(inv *inventory) {
	for b := range q.wanted {
		if inv.place(b) != outside {
			delete(q.wanted, b)
			q.log.Info("wanted tape is in the library", "barcode", b)
			q.tell(b, false)
		}
	}
}

func (q *Queue) tell(barcode string, wanted bool) {
	if q.o.Want != nil {
		q.later(func() { q.o.Want(barcode, wanted) })
	}
}

// later hands a note to who records it, outside the lock, in order.
func (q *Queue) later(note func()) {
	before := q.told
	done := make(chan struct{})
	q.told = done
	q.running.Add(1)
	go func() {
		defer q.running.Done()
		defer close(done)
		if before != nil {
			<-before
		}
		note()
	}()
}

// lookAgain makes the dispatcher look at the library in a while. Called with the lock held.
func (q *Queue) lookAgain() { q.lookAgainIn(q.offlinePoll) }

func (q *Queue) lookAgainIn(while time.Duration) {
	if q.lookTimer != nil || q.closed {
		return
	}
	q.lookTimer = time.AfterFunc(while, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.lookTimer = nil
		signal(q.kick)
	})
}
