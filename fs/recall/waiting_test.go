package recall

import (
	"context"
	"os"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// TestWaitingForShowsNobodyElse: a user sees what he waits for, and of others how much; root, and who runs the mount, see all.
func TestWaitingForShowsNobodyElse(t *testing.T) {
	w := newWorld(t, 1, "A")
	for id := range int64(2) {
		o := w.seal(es, 4*es)
		w.version(catalog.ID(id+1), o, 0, es, w.place(o, 0, "A"))
	}
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	done := make(chan error)
	for i, user := range []uint32{1000, 2000, 2000} {
		f, err := q.OpenFor(t.Context(), catalog.ID(int64(min(i, 1)+1)), user)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		go func() { _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); done <- err }()
	}
	eventually(t, "all wait", func() bool {
		n := 0
		for _, one := range q.Waiting() {
			n += one.Readers
		}
		return n == 3
	})
	for _, c := range []struct {
		user                  uint32
		objects, readers      int
		otherExtents, otherRs int
	}{{1000, 1, 1, 1, 2}, {2000, 1, 2, 1, 1}, {3000, 0, 0, 2, 3}, {0, 2, 3, 0, 0}, {uint32(os.Geteuid()), 2, 3, 0, 0}} {
		mine, others := q.WaitingFor(c.user)
		readers := 0
		for _, one := range mine {
			readers += one.Readers
		}
		if len(mine) != c.objects || readers != c.readers || others != (Others{c.otherExtents, c.otherRs}) {
			t.Errorf("user %d sees %+v and %+v of others", c.user, mine, others)
		}
	}
	close(w.gate)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
