package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

func TestNamesAreBytes(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	names := []string{"\xff\xfe", "new\nline", "\n", "tab\t", " ", "-dash", `\#012`, "co:lon", "*?[]", "%", "\x01", "\x7f", "é", "e\u0301",
		strings.Repeat("n", 255), "...", "a", "A"}
	b, o := l.plan(t, "01", nil, names...)
	l.fetch(t, b, o)
	for i, name := range names {
		v := must(l.db.Lookup(ctx, l.source.Root, name))(t)
		if v.Name != name || v.ID != o.Versions[i+1].ID {
			t.Errorf("%q came back as %q", name, v.Name)
		}
		path := must(l.db.Path(ctx, v.ID))(t)
		if back := must(l.db.Resolve(ctx, path))(t); path != "/src/"+name || back.ID != v.ID {
			t.Errorf("path of %q: %q, which is version %d", name, path, back.ID)
		}
	}
	var byName []string
	check(t, l.db.ChildrenByName(ctx, l.source.Root, "", 0, func(v *catalog.Version) error { byName = append(byName, v.Name); return nil }))
	want := slices.Clone(names)
	slices.Sort(want)
	if !slices.Equal(byName, want) {
		t.Errorf("order of names %q, want that of their bytes %q", byName, want)
	}
	odd := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "d\xff\n", catalog.Meta{Owner: catalog.Owner{User: "\xff", Group: "\n"}}))(t)
	if v := must(l.db.Get(ctx, odd))(t); v.Name != "d\xff\n" || v.Owner.User != "\xff" || v.Owner.Group != "\n" {
		t.Errorf("directory: %+v", v)
	}
	for _, name := range []string{"", ".", "..", "a/b", "/", "nul\x00"} {
		if _, err := l.db.EnsureDir(ctx, l.run.ID, l.source.Root, name, catalog.Meta{}); err == nil {
			t.Errorf("a directory was named %q", name)
		}
		_, _, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "bad"}, []catalog.NewObject{{OID: "bad", Key: l.key.ID,
			PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{{Parent: l.source.Root, Name: name, Kind: catalog.File}}}})
		if err == nil {
			t.Errorf("a file was planned as %q", name)
		}
	}
	if open := must(l.db.OpenBatches(ctx))(t); len(open) != 1 {
		t.Errorf("refused batches left something: %+v", open)
	}
}

func TestMetadataKeepsItsRange(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	for i, m := range []catalog.Meta{
		{Mode: 0o7777, Owner: catalog.Owner{UID: 1<<32 - 1, GID: 1<<32 - 1}, MTime: catalog.Time{Sec: -1 << 40, Nsec: 999999999}},
		{Mode: 0, MTime: catalog.Time{Sec: 1 << 60}},
	} {
		id := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, fmt.Sprint(i), m))(t)
		v := must(l.db.Get(ctx, id))(t)
		if v.Mode != m.Mode || v.Owner != m.Owner || v.MTime != m.MTime {
			t.Errorf("%+v came back as %+v", m, v)
		}
	}
}

func (l *life) changes(t *testing.T) (kinds []string) {
	t.Helper()
	check(t, l.db.Changes(context.Background(), 0, func(c *catalog.Change) error { kinds = append(kinds, c.Kind); return nil }))
	return kinds
}

func TestEnsureDir(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	m := catalog.Meta{Mode: 0o755, Owner: catalog.Owner{UID: 5}, MTime: catalog.Time{Sec: 3, Nsec: 4}}
	id := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "d", m))(t)
	version := must(l.db.DataVersion(ctx))(t)
	if again := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "d", m))(t); again != id {
		t.Errorf("id %d, then %d", id, again)
	}
	check(t, l.db.UpdateDirs(ctx, l.run.ID, nil))
	if now := must(l.db.DataVersion(ctx))(t); now != version {
		t.Error("a directory that did not change was written")
	}
	m.Mode = 0o700
	if again := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "d", m))(t); again != id {
		t.Errorf("a changed directory got id %d, it had %d", again, id)
	}
	m.MTime.Nsec = 5
	check(t, l.db.UpdateDirs(ctx, l.run.ID, []catalog.DirMeta{{ID: id, Meta: m}, {ID: id, Meta: m}, {ID: 9999, Meta: m}}))
	if v := must(l.db.Get(ctx, id))(t); v.Mode != 0o700 || v.MTime.Nsec != 5 {
		t.Errorf("directory: %+v", v)
	}
	if got, want := l.changes(t), []string{"directory", "metadata", "metadata"}; !slices.Equal(got, want) {
		t.Errorf("journal %q, want %q", got, want)
	}
	b, o := l.plan(t, "01", nil, "file")
	l.fetch(t, b, o)
	for _, parent := range []catalog.ID{o.Versions[1].ID, 9999} {
		if _, err := l.db.EnsureDir(ctx, l.run.ID, parent, "x", m); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("a directory in version %d, which is none: %v", parent, err)
		}
	}
}

func TestVanishedAndRevived(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	d := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "d", catalog.Meta{}))(t)
	at := time.Unix(50, 7).UTC()
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{d}, at))
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{d}, at.Add(time.Hour))) // the first time counts
	if v := must(l.db.Resolve(ctx, "/src/d"))(t); !v.Vanished.Equal(at) {
		t.Errorf("vanished: %+v", v)
	}
	check(t, l.db.Revive(ctx, l.run.ID, []catalog.ID{d}))
	check(t, l.db.Revive(ctx, l.run.ID, []catalog.ID{d}))
	if v := must(l.db.Get(ctx, d))(t); !v.Vanished.IsZero() {
		t.Errorf("revived: %+v", v)
	}
	if got, want := l.changes(t), []string{"directory", "vanished", "revived"}; !slices.Equal(got, want) {
		t.Errorf("journal %q, want %q", got, want)
	}
}

func TestSources(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	again := must(l.db.EnsureSource(ctx, "src", "user@host:/elsewhere"))(t)
	if again.ID != l.source.ID || again.Root != l.source.Root || again.URL != "user@host:/elsewhere" || !again.Listed.IsZero() {
		t.Errorf("source: %+v", again)
	}
	at := time.Unix(9, 9).UTC()
	check(t, l.db.SetListed(ctx, again.ID, at))
	must(l.db.EnsureSource(ctx, "alpha", "/a"))(t)
	list := must(l.db.Sources(ctx))(t)
	if len(list) != 2 || list[0].Name != "alpha" || !list[1].Listed.Equal(at) {
		t.Errorf("sources: %+v", list)
	}
	if err := l.db.SetListed(ctx, 99, at); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown source was listed: %v", err)
	}
}

// wide makes a directory of n directories.
func (l *life) wide(t testing.TB, n int) catalog.ID {
	d := must(l.db.EnsureDir(context.Background(), l.run.ID, l.source.Root, "wide", catalog.Meta{}))(t)
	o := catalog.NewObject{OID: "wide", Key: l.key.ID, PartSize: catalog.ExtentSize}
	for i := range n {
		o.Members = append(o.Members, catalog.NewVersion{Parent: d, Name: fmt.Sprintf("%07d", n-i), Kind: catalog.File, Size: 1,
			Meta: catalog.Meta{Owner: catalog.Owner{UID: uint32(i % 100)}}})
	}
	b, planned, err := l.db.PlanBatch(context.Background(), catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "wide"}, []catalog.NewObject{o})
	check(t, err)
	var files []catalog.Fetched
	for _, v := range planned[0].Versions {
		files = append(files, catalog.Fetched{Version: v.ID, Size: 1, Meta: catalog.Meta{Owner: v.Owner}})
	}
	check(t, l.db.MarkFetched(context.Background(), l.run.ID, b.ID, files, time.Now()))
	return d
}

func TestPages(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	const n = 1500 // more than a page of Walk
	d := l.wide(t, n)
	var all, paged []catalog.ID
	check(t, l.db.Children(ctx, d, 0, 0, func(v *catalog.Version) error { all = append(all, v.ID); return nil }))
	for after := catalog.ID(0); ; {
		had := len(paged)
		check(t, l.db.Children(ctx, d, after, 97, func(v *catalog.Version) error { paged = append(paged, v.ID); return nil }))
		if len(paged) == had {
			break
		}
		after = paged[len(paged)-1]
	}
	if len(all) != n || !slices.IsSorted(all) || !slices.Equal(all, paged) {
		t.Errorf("%d children, %d by pages", len(all), len(paged))
	}
	var names []string
	// fn may use the catalog, and write to it: nothing is open meanwhile.
	check(t, l.db.Walk(ctx, d, func(path string, v *catalog.Version) error {
		if names = append(names, path); len(names)%300 == 1 {
			return l.db.Count(ctx, l.run.ID, "src", map[string]int64{"walked": 1})
		}
		return nil
	}))
	if len(names) != n || !slices.IsSorted(names) {
		t.Errorf("walked %d names", len(names))
	}
	stop := errors.New("stop")
	if err := l.db.Walk(ctx, catalog.Root, func(string, *catalog.Version) error { return stop }); err != stop {
		t.Errorf("walk that was stopped: %v", err)
	}
}

// Many listings at once, each of which meets owners for the first time, all end.
func TestManyReaders(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // only a deadlock takes that long
	defer cancel()
	l := newLife(t)
	d := l.wide(t, 300)
	db, err := catalog.OpenReadOnly(ctx, l.db.FilePath())
	check(t, err)
	defer db.Close()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			n := 0
			err := db.Children(ctx, d, 0, 0, func(v *catalog.Version) error {
				if v.Owner.UID != uint32(n%100) {
					t.Errorf("owner of %s: %+v", v.Name, v.Owner)
				}
				n++
				return nil
			})
			if err != nil || n != 300 {
				t.Errorf("%d children: %v", n, err)
			}
		})
	}
	wg.Wait()
}

func TestCancelledQueries(t *testing.T) {
	l := newLife(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.db.Get(ctx, catalog.Root); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, err := l.db.EnsurePool(ctx, "never"); !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
	must(l.db.Get(context.Background(), catalog.Root))(t)
	must(l.db.EnsurePool(context.Background(), "later"))(t)
}

func TestNews(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", nil, "a", "b")
	l.fetch(t, b, o)
	mark := must(l.db.NewsMark(ctx))(t)
	b, o = l.plan(t, "02", nil, "a", "new\n")
	l.fetch(t, b, o)
	d := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "b", catalog.Meta{}))(t)
	news, next, err := l.db.NewsSince(ctx, mark)
	check(t, err)
	for _, name := range []string{"a", "b", "new\n"} {
		if !slices.Contains(news.Entries, catalog.Entry{Parent: l.source.Root, Name: name}) {
			t.Errorf("no news of %q: %+v", name, news)
		}
	}
	if !slices.Contains(news.Directories, l.source.Root) {
		t.Errorf("no news of the directory: %+v", news)
	}
	must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "b", catalog.Meta{Mode: 0o700}))(t)
	if news, _, err = l.db.NewsSince(ctx, next); err != nil || !slices.Contains(news.Directories, d) {
		t.Errorf("no news of a chmod: %+v, %v", news, err)
	}
}

// News are told once, also of versions that became current in several transactions, in another order than
// they were planned in, and with a clock that goes backwards.
func TestNewsOnce(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	at := time.Now()
	type work struct {
		batch catalog.Batch
		o     catalog.PlannedObject
	}
	plan := func(oid string, names ...string) work {
		t.Helper()
		b, o := l.plan(t, oid, nil, names...)
		return work{b, o}
	}
	fetch := func(w work, n int) {
		t.Helper()
		at = at.Add(-time.Minute)
		v := w.o.Versions[1+n]
		check(t, l.db.MarkFetched(ctx, l.run.ID, w.batch.ID, []catalog.Fetched{{Version: v.ID, Size: v.Size}}, at))
	}
	mark := must(l.db.NewsMark(ctx))(t)
	expect := func(names ...string) {
		t.Helper()
		news, next, err := l.db.NewsSince(ctx, mark)
		check(t, err)
		var got []string
		for _, e := range news.Entries {
			got = append(got, e.Name)
		}
		if slices.Sort(got); !slices.Equal(got, names) {
			t.Errorf("news of %q, want %q", got, names)
		}
		mark = next
	}
	expect()
	early := plan("early", "a", "b", "c", "f")
	expect()
	late := plan("late", "d", "e")
	fetch(late, 0)
	expect("d")
	expect()
	fetch(early, 0)
	expect("a")
	expect()
	fetch(early, 2)
	expect("c")
	expect()
	fetch(early, 1)
	expect("b", "c") // nothing tells which of them is new
	expect()
	fetch(early, 3)
	expect("f")
	check(t, l.db.SetBatchState(ctx, early.batch.ID, catalog.Synced, 5))
	expect()
	fetch(late, 1)
	check(t, l.db.SetBatchState(ctx, late.batch.ID, catalog.Synced, 5))
	expect("e")
	expect()
	next := plan("next", "a") // planned, fetched and done between two looks
	fetch(next, 0)
	check(t, l.db.SetBatchState(ctx, next.batch.ID, catalog.Synced, 5))
	expect("a", "a") // the new version, and the end of the old one
	expect()
}

// Two processes' handles on one file: a reader sees what was committed, never less than a whole
// transaction, and never waits for the writer.
func TestReaderBesideWriter(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "catalog.db")
	w, err := catalog.Create(ctx, path)
	check(t, err)
	defer w.Close()
	r, err := catalog.OpenReadOnly(ctx, path)
	check(t, err)
	defer r.Close()
	run := must(w.StartRun(ctx, "archive", nil))(t)
	source := must(w.EnsureSource(ctx, "src", "/src"))(t)
	key := must(w.EnsureKey(ctx, "k", "aes-256-ctr", 10000))(t)
	done := make(chan error, 1)
	go func() {
		for i := range 20 {
			o := catalog.NewObject{OID: fmt.Sprint(i), Key: key.ID, PartSize: catalog.ExtentSize}
			for n := range 50 {
				o.Members = append(o.Members, catalog.NewVersion{Parent: source.Root, Name: fmt.Sprintf("%d-%d", i, n), Kind: catalog.File})
			}
			if _, _, err := w.PlanBatch(ctx, catalog.Batch{Run: run.ID, Source: source.ID, Dir: fmt.Sprint(i)}, []catalog.NewObject{o}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for finished := false; !finished; {
		select {
		case err := <-done:
			check(t, err)
			finished = true
		default:
		}
		for _, b := range must(r.OpenBatches(ctx))(t) {
			objects := must(r.BatchObjects(ctx, b.ID))(t)
			if len(objects) != 1 || len(objects[0].Versions) != 50 {
				t.Fatalf("half a batch is seen: %d objects", len(objects))
			}
		}
	}
	if n := len(must(r.OpenBatches(ctx))(t)); n != 20 {
		t.Errorf("%d batches", n)
	}
}
