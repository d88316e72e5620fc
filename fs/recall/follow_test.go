package recall

import (
	"context"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// directory makes n files of one extent each, one behind the other on a tape, ids 1 to n, in directory 100.
func (w *world) directory(n int64, barcode string) [][]byte {
	w.t.Helper()
	var bytes [][]byte
	for id := catalog.ID(1); id <= catalog.ID(n); id++ {
		o := w.seal(es-16, 4*es)
		bytes = append(bytes, w.version(id, o, 0, es-16, w.place(o, 10*int64(id), barcode)))
		w.mu.Lock()
		loc := w.locs[id]
		loc.Version.Parent = 100
		w.locs[id] = loc
		w.mu.Unlock()
	}
	return bytes
}

func (w *world) readWhole(q *Queue, id catalog.ID, want []byte) {
	w.t.Helper()
	f := w.open(q, id)
	if !f.Complete() {
		w.read(f, want, 0, len(want))
	}
	if err := f.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (q *Queue) cachedFiles(n int64) (ids []int64) {
	for id := int64(1); id <= n; id++ {
		if q.CachedBytes(catalog.ID(id)) > 0 || q.cache.Has(q.oidOf(id), 0) {
			ids = append(ids, id)
		}
	}
	return ids
}

// oidOf is the object of file id of directory: objects and copies take numbers in turn.
func (q *Queue) oidOf(id int64) string {
	loc, err := q.db.Locate(context.Background(), catalog.ID(id))
	if err != nil {
		return ""
	}
	return loc.Object.OID
}

func TestNextFilesOfADirectoryAreReadAhead(t *testing.T) {
	w := newWorld(t, 1, "A")
	files := w.directory(12, "A")
	q := w.queue(Options{Ahead: 4 * es})
	w.readWhole(q, 2, files[1])
	if got := q.cachedFiles(12); len(got) != 1 {
		t.Fatalf("after one file in the middle, cached: %v", got)
	}
	w.readWhole(q, 1, files[0]) // the directory's first
	eventually(t, "four files come in ahead", func() bool { return len(q.cachedFiles(12)) == 5 })
	w.readWhole(q, 2, files[1])
	eventually(t, "nothing is asked for any more", func() bool { return len(q.Waiting()) == 0 })
	w.readWhole(q, 3, files[2])
	eventually(t, "as many are ahead again", func() bool { return len(q.cachedFiles(12)) >= 6 })
	eventually(t, "nothing is asked for any more", func() bool { return len(q.Waiting()) == 0 })
	if got := q.cachedFiles(12); len(got) > 9 {
		t.Errorf("twice what was read is six files, cached: %v", got)
	}
	// The next ones are complete when they are opened, and the window moves on with them.
	for id := catalog.ID(4); id <= 12; id++ {
		w.readWhole(q, id, files[id-1])
		eventually(t, "nothing is asked for any more", func() bool { return len(q.Waiting()) == 0 })
	}
	if n := w.count("load A"); n != 1 {
		t.Errorf("%d loads", n)
	}
}

func TestOnlyWhoReadsInOrderIsFollowed(t *testing.T) {
	w := newWorld(t, 1, "A")
	files := w.directory(12, "A")
	q := w.queue(Options{Ahead: 4 * es})
	w.readWhole(q, 2, files[1])
	w.readWhole(q, 6, files[5]) // not the next one
	w.readWhole(q, 3, files[2]) // back
	f := w.open(q, 4)
	w.read(f, files[3], 0, 1000) // a few bytes of the next one
	if got := q.cachedFiles(12); len(got) != 4 {
		t.Errorf("cached: %v", got)
	}
	w = newWorld(t, 1, "A")
	files = w.directory(12, "A")
	off := w.queue(Options{})
	w.readWhole(off, 1, files[0])
	w.readWhole(off, 2, files[1])
	if got := off.cachedFiles(12); len(got) != 2 {
		t.Errorf("with prefetch 0, cached: %v", got)
	}
}

func TestReadingAheadGivesWay(t *testing.T) {
	w := newWorld(t, 1, "A", "B")
	files := w.directory(3, "A")
	b := w.seal(es, 4*es)
	w.version(50, b, 0, es, w.place(b, 0, "B"))
	q := w.queue(Options{Ahead: 100 * es})
	w.readWhole(q, 1, files[0])
	w.readWhole(q, 2, files[1])
	eventually(t, "the third comes in", func() bool { return len(q.cachedFiles(3)) == 3 && len(q.Waiting()) == 0 })

	// A request that nobody waits for loads no tape.
	w.foresee(q, 50)
	w.readWhole(q, 1, files[0])
	eventually(t, "the dispatcher has nothing to do", func() bool { return len(q.kick) == 0 })
	if n := w.count("load B"); n != 0 {
		t.Errorf("%d loads of B", n)
	}
	// Who joins it is served.
	w.read(w.open(q, 50), b.plain, 0, 100)
}

// foresee makes a request that nobody waits for, for the first extent of a version.
func (w *world) foresee(q *Queue, id catalog.ID) {
	w.t.Helper()
	loc, err := w.Locate(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	o, err := q.openObject(loc)
	if err != nil {
		w.t.Fatal(err)
	}
	defer q.closeObject(o)
	sum, err := o.sum(context.Background(), w, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	if !q.joinIdle(o, 0, sum) {
		w.t.Fatal("not taken")
	}
}

// What is foreseen is read when its tape is mounted for somebody else, and before the tape makes room for another one.
func TestForeseenIsReadWhenItsTapeIsThere(t *testing.T) {
	w := newWorld(t, 1, "A", "B")
	w.directory(1, "A")
	var plain [4][]byte
	for i := range plain {
		id := catalog.ID(50 + i)
		b := w.seal(es, 4*es)
		plain[i] = w.version(id, b, 0, es, w.place(b, int64(10*i), []string{"B", "B", "B", "A"}[i]))
	}
	q := w.queue(Options{Ahead: 100 * es})
	for id := catalog.ID(50); id < 52; id++ {
		w.foresee(q, id)
	}
	// One reader has B mounted, and another one waits for A: what is foreseen of B comes in all the same.
	gate := make(chan struct{})
	w.mu.Lock()
	w.gate = gate
	w.mu.Unlock()
	done := make(chan struct{}, 2)
	for _, id := range []catalog.ID{52, 53} {
		go func() {
			w.read(w.open(q, id), plain[id-50], 0, 100)
			done <- struct{}{}
		}()
		eventually(t, "it waits", func() bool { return len(q.Waiting()) >= 3+int(id-52) })
	}
	close(gate)
	<-done
	<-done
	for id := int64(50); id < 54; id++ {
		loc, err := w.Locate(context.Background(), catalog.ID(id))
		if err != nil || !q.cache.Has(loc.Object.OID, 0) {
			t.Errorf("version %d is not cached (%v)", id, err)
		}
	}
	if a, b := w.count("load A"), w.count("load B"); a != 1 || b != 1 {
		t.Errorf("%d loads of A and %d of B", a, b)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.idleFetches != 0 {
		t.Errorf("%d requests are counted that are not there", q.idleFetches)
	}
}
