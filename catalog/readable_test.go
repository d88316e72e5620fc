package catalog_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Of paths whose newest state is void a View shows the state before, in its place in both orders and page by page, and of
// those that have no other the void one. The recorded tree and the news know of it.
func TestVoidHidesNothing(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	names := []string{"a", "b", "c", "d", "e"}
	b, first := l.plan(t, "01", []int64{l.pools[0].ID}, names...)
	l.fetch(t, b, first)
	before := time.Now()
	time.Sleep(time.Millisecond)
	b, second := l.plan(t, "02", []int64{l.pools[0].ID}, "b", "d", "new")
	l.fetch(t, b, second)
	mark := must(l.db.NewsMark(ctx))(t)
	voided := map[string]bool{"b": true, "d": true, "new": true}
	for _, v := range second.Versions[1:] {
		must(raw(t, l.db.FilePath()).Exec(`UPDATE version SET state = 2 WHERE id = ?`, v.ID))(t)
	}
	news, _, err := l.db.NewsSince(ctx, mark)
	check(t, err)
	var told []string
	for _, e := range news.Entries {
		told = append(told, e.Name)
	}
	if slices.Sort(told); !slices.Equal(told, []string{"b", "d", "new"}) {
		t.Errorf("told of %q", told)
	}
	want := map[string]catalog.Version{}
	for _, o := range []catalog.PlannedObject{first, second} {
		for _, v := range o.Versions[1:] {
			if _, older := want[v.Name]; !older {
				want[v.Name] = v
			}
		}
	}
	for limit := 1; limit <= 7; limit++ {
		var byID, byName []string
		see := func(list *[]string, v *catalog.Version) {
			*list = append(*list, v.Name)
			if v.ID != want[v.Name].ID || (v.InsteadOf != 0) != (voided[v.Name] && v.Name != "new") {
				t.Errorf("limit %d: %s shows version %d instead of %d", limit, v.Name, v.ID, v.InsteadOf)
			}
		}
		for after, n := catalog.ID(0), limit; n == limit; {
			n = 0
			check(t, l.db.Now().Children(ctx, l.source.Root, after, limit, func(v *catalog.Version) error {
				n, after = n+1, v.ListedAs()
				see(&byID, v)
				return nil
			}))
		}
		for after, n := "", limit; n == limit; {
			n = 0
			check(t, l.db.Now().ChildrenByName(ctx, l.source.Root, after, limit, func(v *catalog.Version) error {
				n, after = n+1, v.Name
				see(&byName, v)
				return nil
			}))
		}
		if fmt.Sprint(byID) != "[a c e b d new]" || fmt.Sprint(byName) != "[a b c d e new]" {
			t.Errorf("limit %d: by id %s, by name %s", limit, byID, byName)
		}
	}
	for _, name := range []string{"b", "new"} {
		if v := must(l.db.Recorded().Resolve(ctx, "/src/"+name))(t); v.State != catalog.Void {
			t.Errorf("%s is recorded in state %d", name, v.State)
		}
		if v := must(l.db.Now().Resolve(ctx, "/src/"+name))(t); v.ID != want[name].ID {
			t.Errorf("%s resolves to version %d", name, v.ID)
		}
	}
	if v := must(l.db.View(time.Now(), false).Resolve(ctx, "/src/b"))(t); v.ID != want["b"].ID || v.InsteadOf == 0 {
		t.Errorf("now, as a moment: version %d", v.ID)
	}
	if v := must(l.db.View(before, false).Resolve(ctx, "/src/b"))(t); v.ID != want["b"].ID || v.InsteadOf != 0 {
		t.Errorf("before: version %d", v.ID)
	}
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{second.Versions[1].ID}, time.Now()))
	if v := must(l.db.Now().Resolve(ctx, "/src/b"))(t); v.Vanished.IsZero() {
		t.Error("what stands in for a vanished file does not say so")
	}
	if _, err := l.db.View(time.Time{}, true).Resolve(ctx, "/src/b"); err == nil {
		t.Error("a tree without what vanished shows it")
	}
}
