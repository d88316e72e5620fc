package catalog_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// A view shows at each moment what was shown at that moment, whatever came later, page by page and in both orders.
func TestViewShowsThePast(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	r := rand.New(rand.NewPCG(1, 2))
	type moment struct {
		at          time.Time
		all, hiding []string
		files       int64
	}
	names := []string{"a", "b\xff", "c", "d", "e f", "g"}
	listing := func(w *catalog.View, limit int) (byName []string) {
		after := ""
		for {
			n := 0
			check(t, w.ChildrenByName(ctx, l.source.Root, after, limit, func(v *catalog.Version) error {
				n, after = n+1, v.Name
				byName = append(byName, fmt.Sprintf("%q %d", v.Name, v.ID))
				return nil
			}))
			if n < limit {
				break
			}
		}
		var byID []string
		for last := catalog.ID(0); ; {
			n := 0
			check(t, w.Children(ctx, l.source.Root, last, limit, func(v *catalog.Version) error {
				if v.ID <= last {
					t.Fatalf("id %d after %d", v.ID, last)
				}
				n, last = n+1, v.ID
				byID = append(byID, fmt.Sprintf("%q %d", v.Name, v.ID))
				return nil
			}))
			if n < limit {
				break
			}
		}
		if slices.Sort(byID); !slices.Equal(byID, slices.Sorted(slices.Values(byName))) {
			t.Errorf("by id %q, by name %q", byID, byName)
		}
		return byName
	}
	var then []moment
	for i := range 25 {
		var some []string
		for _, n := range names {
			if r.IntN(3) == 0 {
				some = append(some, n)
			}
		}
		if len(some) == 0 {
			continue
		}
		b, o := l.plan(t, fmt.Sprintf("%02d", i), []int64{l.pools[0].ID}, some...)
		l.fetch(t, b, o)
		if r.IntN(2) == 0 {
			check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{o.Versions[1].ID}, time.Now()))
		}
		files, _ := must2(l.db.Totals(ctx))(t)
		then = append(then, moment{time.Now(), listing(l.db.Now(), 100), listing(l.db.View(time.Time{}, true), 2), files})
	}
	for _, m := range then {
		for limit := 1; limit <= 3; limit++ {
			if got := listing(l.db.View(m.at, false), limit); !slices.Equal(got, m.all) {
				t.Errorf("%v: %q, was %q", m.at, got, m.all)
			}
		}
		w := l.db.View(m.at, false)
		if files, _ := must2(w.Totals(ctx))(t); files != m.files {
			t.Errorf("%v: %d files, were %d", m.at, files, m.files)
		}
		for _, name := range names {
			v, err := w.Resolve(ctx, "/src/"+name)
			was := slices.IndexFunc(m.all, func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf("%q ", name)) })
			if (err == nil) != (was >= 0) || err == nil && m.all[was] != fmt.Sprintf("%q %d", name, v.ID) {
				t.Errorf("%v: %q resolves to %d, %v; there was %q", m.at, name, v.ID, err, m.all)
			}
		}
		// Marks of that time are known as long as the file was not seen again.
		hiding := listing(l.db.View(m.at, true), 2)
		for _, s := range hiding {
			if !slices.Contains(m.all, s) {
				t.Errorf("%v: %s was not there", m.at, s)
			}
		}
		if !slices.Equal(hiding, m.hiding) {
			t.Errorf("%v: %q without what had vanished, was %q", m.at, hiding, m.hiding)
		}
	}
	if early := listing(l.db.View(time.Unix(1, 0), false), 10); len(early) > 0 {
		t.Errorf("before the beginning: %q", early)
	}
}

func must2[A, B any](a A, b B, err error) func(testing.TB) (A, B) {
	return func(t testing.TB) (A, B) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
}
