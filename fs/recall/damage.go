package recall

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"tapefs/catalog"
)

// Damage is remembered in memory, for a while: an extent of a file on tape that was read badly
// twice, a file that is not on its tape, a tape that could not be mounted. The functions below
// are called with the queue's lock held.

// badExtent is an extent of one file on tape.
type badExtent struct {
	copyPart int64
	extent   int64
}

// trouble is why a tape is not tried.
type trouble struct {
	err   error
	until time.Time
}

// markDamaged remembers a bad extent, or a file that is not there, and has it recorded.
func (q *Queue) markDamaged(cp catalog.CopyPart, f *fetch, why error) {
	until := time.Now().Add(forgetDamage)
	lost := errors.Is(why, fs.ErrNotExist)
	known := remembered(q.damagedParts, cp.ID) || remembered(q.lostParts, cp.ID)
	if lost {
		q.lostParts[cp.ID] = until
	} else {
		q.damaged[badExtent{cp.ID, f.key.extent}] = until
		q.damagedParts[cp.ID] = until
	}
	if !known && q.o.Damaged != nil {
		q.later(func() { q.o.Damaged(cp, lost, why) })
	}
}

func (q *Queue) markTrouble(barcode string, err error) {
	q.trouble[barcode] = trouble{err, time.Now().Add(forgetTrouble)}
	// What waits for this tape is decided again.
	for _, f := range q.fetches {
		if f.tape == barcode {
			f.tape = ""
		}
	}
}

// remembered reports whether a mark still holds, and takes it away when it does not.
func remembered[K comparable](marks map[K]time.Time, k K) bool {
	until, ok := marks[k]
	if ok && time.Now().After(until) {
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
	if t, ok := q.trouble[cp.Barcode]; ok {
		if time.Now().Before(t.until) {
			return t.err
		}
		delete(q.trouble, cp.Barcode)
	}
	if inv != nil && inv.place(cp.Barcode) == outside {
		return fmt.Errorf("tape %s: %w", cp.Barcode, ErrOffline)
	}
	return nil
}

// usable lists the copies to read a fetch from. Files with damage elsewhere stand back while
// another copy is left.
func (q *Queue) usable(f *fetch, inv *inventory) []catalog.CopyPart {
	if len(q.damagedParts)+len(q.lostParts)+len(q.trouble) == 0 && allInside(f.copies, inv) {
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

func barcodes(copies []catalog.CopyPart) string {
	var b []string
	for _, cp := range copies {
		if !slices.Contains(b, cp.Barcode) {
			b = append(b, cp.Barcode)
		}
	}
	return strings.Join(b, ", ")
}
