package catalog_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// What a local source told of a file is kept, the slow and the fast way of reading agree on it, and a file that is
// planned anew has none of it.
func TestSourceState(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a", "b")
	ctime := time.Unix(1e9, 123456789).UTC()
	files := []catalog.Fetched{{Version: o.Versions[1].ID, Size: o.Versions[1].Size, CTime: ctime, Ino: 1<<63 + 5}, {Version: o.Versions[2].ID, Size: 99, Grew: true}}
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, files, time.Now()))
	if files[0].Replaced || files[1].Replaced {
		t.Errorf("new files replaced something: %+v", files)
	}
	read := func() (a, b catalog.Version) {
		seen := map[string]catalog.Version{}
		check(t, l.db.Now().ChildrenByName(ctx, o.Versions[1].Parent, "", 10, func(v *catalog.Version) error {
			seen[v.Name] = *v
			return nil
		}))
		for name, fast := range seen {
			slow := must(l.db.Get(ctx, fast.ID))(t)
			if !slow.CTime.Equal(fast.CTime) || slow.Ino != fast.Ino || slow.Grew != fast.Grew {
				t.Errorf("%s: read %+v and %+v", name, slow, fast)
			}
		}
		return seen["a"], seen["b"]
	}
	one, two := read()
	if !one.CTime.Equal(ctime) || one.Ino != 1<<63+5 || one.Grew || !two.CTime.IsZero() || two.Ino != 0 || !two.Grew {
		t.Errorf("recorded: %+v, %+v", one, two)
	}
	later := ctime.Add(time.Hour)
	check(t, l.db.UpdateSourceStates(ctx, []catalog.SourceState{{ID: one.ID, Nsec: 42, CTime: later, Ino: 7}}))
	one, _ = read()
	if !one.CTime.Equal(later) || one.Ino != 7 || one.MTime.Nsec == 42 {
		t.Errorf("brought up to date while it waits: %+v", one)
	}
	check(t, l.db.SetBatchState(ctx, b.ID, catalog.Synced, 1))
	b, o = l.plan(t, "02", []int64{l.pools[0].ID}, "a")
	files = []catalog.Fetched{{Version: o.Versions[1].ID, Size: 3}}
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, files, time.Now()))
	if one, _ = read(); !one.CTime.IsZero() || one.Ino != 0 || !files[0].Replaced {
		t.Errorf("taken again: %+v, replaced %v", one, files[0].Replaced)
	}
}

// A catalog of the first release knows nothing of it.
func TestSourceStateOfOldCatalog(t *testing.T) {
	ctx := context.Background()
	data, err := os.ReadFile(frozenFile)
	check(t, err)
	path := filepath.Join(t.TempDir(), "catalog.db")
	check(t, os.WriteFile(path, data, 0o600))
	db, err := catalog.Open(ctx, path)
	check(t, err)
	defer db.Close()
	if v := must(db.Resolve(ctx, "/src/a"))(t); !v.CTime.IsZero() || v.Ino != 0 || v.Grew {
		t.Errorf("file: %+v", v)
	}
}
