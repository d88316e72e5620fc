package recall

import (
	"cmp"
	"os"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Waiting is what the queue has to read of one object, and from where.
type Waiting struct {
	Object  string    `json:"object"` // its id
	Tapes   string    `json:"tapes"`  // barcodes that have it
	Extents int       `json:"extents"`
	Readers int       `json:"readers"` // that wait; 0: it is asked for ahead
	Since   time.Time `json:"since"`

	Files []WaitingFile `json:"files,omitempty"` // for which the readers wait, in the order of their ids
}

// WaitingFile is a file that somebody waits for.
type WaitingFile struct {
	ID      catalog.ID `json:"id"`
	User    uint32     `json:"user"`
	Program string     `json:"program,omitempty"`
}

// asker is who waits, and for which file.
type asker struct {
	user    uint32
	file    catalog.ID
	program string
}

// ReadBy says which program reads the file, for those who look at the queue.
func (f *File) ReadBy(program string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.program = program
}

// asks notes for which file a fetch is waited for, until asked.
func (q *Queue) asks(f *fetch, who asker) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f.asking[who]++
}

func (q *Queue) asked(f *fetch, who asker) {
	q.mu.Lock()
	defer q.mu.Unlock()
	less(f.asking, who)
}

// addFiles adds the files for which a fetch is waited for, each once.
func (w *Waiting) addFiles(f *fetch, shown func(user uint32) bool) {
	for who := range f.asking {
		file := WaitingFile{who.file, who.user, who.program}
		if shown(who.user) && !slices.Contains(w.Files, file) {
			w.Files = append(w.Files, file)
		}
	}
	slices.SortFunc(w.Files, func(a, b WaitingFile) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.User, b.User), cmp.Compare(a.Program, b.Program))
	})
}

// Others is what the queue has to read for others than the one who asks.
type Others struct {
	Extents int `json:"extents"`
	Readers int `json:"readers"`
}

// Waiting lists what is to be read from tape, the oldest request first.
func (q *Queue) Waiting() []Waiting {
	list, _ := q.waiting(func(*fetch) (bool, int) { return true, 0 }, func(uint32) bool { return true })
	return list
}

// WaitingFor lists what a user waits for, and counts the rest. What nobody waits for is among the others'. Root, and the user of this
// process, are shown all.
func (q *Queue) WaitingFor(user uint32) ([]Waiting, Others) {
	if user == 0 || user == uint32(os.Geteuid()) {
		return q.Waiting(), Others{}
	}
	return q.waiting(func(f *fetch) (bool, int) { return f.users[user] > 0, f.waiters - f.reading[user] },
		func(other uint32) bool { return other == user })
}

// waiting lists what mine says is shown, without as many of its readers as it says are others', and the files of those users of
// whom files are shown.
func (q *Queue) waiting(mine func(f *fetch) (shown bool, others int), ofUser func(uint32) bool) ([]Waiting, Others) {
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
		w.addFiles(f, ofUser)
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
