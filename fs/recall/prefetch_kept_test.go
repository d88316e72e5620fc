package recall

import (
	"os"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// TestPrefetchSaysWhatWasKept: what somebody removed from the cache's folder is read again, and what goes while others are read is not
// said to be there.
func TestPrefetchSaysWhatWasKept(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(3*es, 4*es)
	w.version(1, o, 0, 3*es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	all := int64(len(o.bytes))
	prefetch := func(report func(PrefetchEvent)) (p *PrefetchPlan, r PrefetchResult) {
		t.Helper()
		r, err := q.Prefetch(t.Context(), PrefetchRequest{IDs: []catalog.ID{1}}, func(e PrefetchEvent) {
			if e.Plan != nil {
				p = e.Plan
			} else if report != nil {
				report(e)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return p, r
	}
	remove := func(n int64) {
		t.Helper()
		if err := os.Remove(extentName(q, o.OID, n)); err != nil {
			t.Error(err)
		}
	}
	if p, r := prefetch(nil); p.Bytes != all || r.Read != all || r.Kept != all {
		t.Errorf("%+v, %+v", p, r)
	}
	remove(1)
	if p, r := prefetch(nil); p.Missing != es || r.Read != es || r.Kept != all {
		t.Errorf("after one extent was removed: %+v, %+v", p, r)
	}
	remove(1)
	if p, r := prefetch(func(PrefetchEvent) { remove(0) }); p.Missing != es || r.Read != es || r.Kept != all-es {
		t.Errorf("one extent was removed meanwhile: %+v, %+v", p, r)
	}
}
