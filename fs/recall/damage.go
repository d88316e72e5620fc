package recall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// Damage is remembered in memory, for a while: an extent of a file on tape that was read badly
// twice, a file that is not on its tape, a tape that could not be mounted. A damage is forgotten at once when
// the catalog says that the file was proved since (forgetProved). The functions below
// are called with the queue's lock held.

// badExtent is an extent of one file on tape.
type badExtent struct {
	copyPart int64
	extent   int64
}

// mark is when something was found, and until when it is remembered.
type mark struct{ at, until time.Time }

func noted(long time.Duration) mark {
	now := time.Now()
	return mark{now, now.Add(long)}
}

// trouble is why a tape, or an extent of one, is not tried.
type trouble struct {
	err   error
	until time.Time
}

// markDamaged remembers a bad extent, or a file that is not there, and has it recorded.
func (q *Queue) markDamaged(cp catalog.CopyPart, f *fetch, why error) {
	found := noted(forgetDamage)
	lost := errors.Is(why, fs.ErrNotExist)
	known := remembered(q.damagedParts, cp.ID) || remembered(q.lostParts, cp.ID)
	if lost {
		q.lostParts[cp.ID] = found
	} else {
		q.damaged[badExtent{cp.ID, f.key.extent}] = found
		q.damagedParts[cp.ID] = found
	}
	if !known && q.o.Damaged != nil {
		q.later(func() { q.o.Damaged(cp, lost, why) })
	}
}

// markUnread remembers an extent that could not be read from a copy, though nothing says that the copy is bad. It is recorded nowhere.
func (q *Queue) markUnread(cp catalog.CopyPart, f *fetch, err error) {
	q.unread[badExtent{cp.ID, f.key.extent}] = trouble{err, time.Now().Add(forgetTrouble)}
}

func (q *Queue) markTrouble(barcode string, err error) {
	long := forgetTrouble
	if errors.Is(err, changer.ErrNoDrive) { // it may be switched on any moment, and looking for it costs little
		long = lookForDrive
	}
	q.trouble[barcode] = trouble{err, time.Now().Add(long)}
	// What waits for this tape is decided again.
	for _, f := range q.fetches {
		if f.tape == barcode {
			f.tape = ""
		}
	}
}

// remembered reports whether a mark still holds, and takes it away when it does not.
func remembered[K comparable](marks map[K]mark, k K) bool {
	m, ok := marks[k]
	if ok && time.Now().After(m.until) {
		delete(marks, k)
		return false
	}
	return ok
}

// why says what stands against reading a fetch from one copy; nil when nothing does. Whether the
// tape is in the library is known only with an inventory.
func (q *Queue) why(f *fetch, cp catalog.CopyPart, inv *inventory) error {
	if remembered(q.damaged, badExtent{cp.ID, f.key.extent}) || remembered(q.lostParts, cp.ID) {
		return fmt.Errorf("copy on %s: %w", cp.Barcode, ErrDamaged)
	}
	if err := stillTrouble(q.unread, badExtent{cp.ID, f.key.extent}); err != nil {
		return err
	}
	if err := stillTrouble(q.trouble, cp.Barcode); err != nil {
		return err
	}
	if inv != nil && inv.place(cp.Barcode) == outside {
		return fmt.Errorf("tape %s: %w", cp.Barcode, ErrOffline)
	}
	return nil
}

// stillTrouble is what keeps something from being tried, nil when nothing does any more.
func stillTrouble[K comparable](marks map[K]trouble, k K) error {
	t, ok := marks[k]
	if ok && time.Now().After(t.until) {
		delete(marks, k)
		return nil
	}
	return t.err
}

// usable lists the copies to read a fetch from. Files with damage elsewhere stand back while
// another copy is left.
func (q *Queue) usable(f *fetch, inv *inventory) []catalog.CopyPart {
	if len(q.damagedParts)+len(q.lostParts)+len(q.trouble)+len(q.unread) == 0 && allInside(f.copies, inv) {
		return f.copies // nearly always, and it is asked for each request at each turn
	}
	var good, doubtful []catalog.CopyPart
	for _, cp := range f.copies {
		if q.why(f, cp, inv) != nil {
			continue
		}
		if remembered(q.damagedParts, cp.ID) {
			doubtful = append(doubtful, cp)
		} else {
			good = append(good, cp)
		}
	}
	if len(good) > 0 {
		return good
	}
	return doubtful
}

func allInside(copies []catalog.CopyPart, inv *inventory) bool {
	return inv == nil || !slices.ContainsFunc(copies, func(cp catalog.CopyPart) bool { return inv.place(cp.Barcode) == outside })
}

// hopeless is the error of a fetch that no copy is left for. A tape outside the library may be
// good, so it comes first; then what keeps a tape from being read; damage is certain only when
// it is all there is.
func (q *Queue) hopeless(f *fetch, inv *inventory) error {
	var offline, other, damaged error
	for _, cp := range f.copies {
		switch err := q.why(f, cp, inv); {
		case err == nil:
		case errors.Is(err, ErrOffline):
			offline = err
		case errors.Is(err, ErrDamaged):
			damaged = err
		default:
			other = err
		}
	}
	what := fmt.Sprintf("object %s extent %d", f.o.oid, f.key.extent)
	if f.key.extent == surveyExtent {
		what = fmt.Sprintf("object %s", f.o.oid)
	}
	switch {
	case offline != nil:
		return fmt.Errorf("%s: %w", what, offline)
	case other != nil:
		return fmt.Errorf("%s: %w", what, other)
	case damaged != nil:
		return fmt.Errorf("%s: %w on %s", what, ErrDamaged, barcodes(f.copies))
	}
	return fmt.Errorf("%s: %w", what, ErrNoBytes)
}

// forgetProved forgets the damage of files that were proved since it was found, as verify does in another process. It must be called
// without the queue's lock: it asks the catalog, about files with damage only.
func (q *Queue) forgetProved(ctx context.Context, copies []catalog.CopyPart) {
	q.mu.Lock()
	var ask []int64
	if len(q.damagedParts)+len(q.lostParts) > 0 {
		for _, cp := range copies {
			if remembered(q.damagedParts, cp.ID) || remembered(q.lostParts, cp.ID) {
				ask = append(ask, cp.ID)
			}
		}
	}
	q.mu.Unlock()
	for _, id := range ask {
		at, err := q.db.ProvedAt(ctx, id)
		if err != nil {
			q.log.Debug("ask whether a damaged file was proved since", "part", id, "err", err)
			continue
		}
		q.mu.Lock()
		if found := q.found(id); !found.IsZero() && at.After(found) {
			delete(q.damagedParts, id)
			delete(q.lostParts, id)
			maps.DeleteFunc(q.damaged, func(b badExtent, _ mark) bool { return b.copyPart == id })
		}
		q.mu.Unlock()
	}
}

// found is when damage was last found in a file on tape; zero: none is remembered.
func (q *Queue) found(copyPart int64) time.Time {
	return later(q.damagedParts[copyPart].at, q.lostParts[copyPart].at)
}

func barcodes(copies []catalog.CopyPart) string {
	var b []string
	for _, cp := range copies {
		if !slices.Contains(b, cp.Barcode) {
			b = append(b, cp.Barcode)
		}
	}
	return strings.Join(b, ", ")
}
