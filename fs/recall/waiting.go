package recall

import (
	"os"
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

// Others is what the queue has to read for others than the one who asks.
type Others struct {
	Extents int `json:"extents"`
	Readers int `json:"readers"`
}

// Waiting lists what is to be read from tape, the oldest request first.
func (q *Queue) Waiting() []Waiting {
	list, _ := q.waiting(func(*fetch) (bool, int) { return true, 0 })
	return list
}

// WaitingFor lists what a user waits for, and counts the rest. What nobody waits for is among the others'. Root, and the user of this
// process, are shown all.
func (q *Queue) WaitingFor(user uint32) ([]Waiting, Others) {
	if user == 0 || user == uint32(os.Geteuid()) {
		return q.Waiting(), Others{}
	}
	return q.waiting(func(f *fetch) (bool, int) { return f.users[user] > 0, f.waiters - f.reading[user] })
}

// waiting lists what mine says is shown, without as many of its readers as it says are others'.
func (q *Queue) waiting(mine func(f *fetch) (shown bool, others int)) ([]Waiting, Others) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var rest Others
	objects := map[*object]*Waiting{}
	var list []*Waiting
	for _, f := range q.fetches {
		shown, others := mine(f)
		if !shown {
			rest.Extents++
			rest.Readers += f.waiters
			continue
		}
		rest.Readers += others
		w := objects[f.o]
		if w == nil {
			w = &Waiting{Object: f.o.oid, Tapes: barcodes(f.copies), Since: f.since}
			objects[f.o] = w
			list = append(list, w)
		}
		w.Extents++
		w.Readers += f.waiters - others
		if f.since.Before(w.Since) {
			w.Since = f.since
		}
	}
	slices.SortFunc(list, func(a, b *Waiting) int { return a.Since.Compare(b.Since) })
	out := make([]Waiting, len(list))
	for i, w := range list {
		out[i] = *w
	}
	return out, rest
}
