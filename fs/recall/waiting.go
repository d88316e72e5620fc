package recall

import (
	"slices"
	"time"
)

// Waiting is what the queue has to read of one object, and from where.
type Waiting struct {
	Object  string    `json:"object"` // its id
	Tapes   string    `json:"tapes"`  // barcodes that have it
	Extents int       `json:"extents"`
	Readers int       `json:"readers"` // that wait; 0: it is asked for ahead
	Since   time.Time `json:"since"`
}

// Waiting lists what is to be read from tape, the oldest request first.
func (q *Queue) Waiting() []Waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	objects := map[*object]*Waiting{}
	var list []*Waiting
	for _, f := range q.fetches {
		w := objects[f.o]
		if w == nil {
			w = &Waiting{Object: f.o.oid, Tapes: barcodes(f.copies), Since: f.since}
			objects[f.o] = w
			list = append(list, w)
		}
		w.Extents++
		w.Readers += f.waiters
		if f.since.Before(w.Since) {
			w.Since = f.since
		}
	}
	slices.SortFunc(list, func(a, b *Waiting) int { return a.Since.Compare(b.Since) })
	out := make([]Waiting, len(list))
	for i, w := range list {
		out[i] = *w
	}
	return out
}
