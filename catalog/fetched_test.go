package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

func TestPlanGivesIdsInOrder(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	empty := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "empty", catalog.Meta{}))(t)
	var objects []catalog.NewObject
	for i := range 3 {
		o := catalog.NewObject{OID: fmt.Sprint("o", i), Key: l.key.ID, PartSize: catalog.ExtentSize, PlannedSize: 77, Pools: []int64{l.pools[1].ID}}
		for n := range 4 {
			o.Members = append(o.Members, catalog.NewVersion{Parent: l.source.Root, Name: fmt.Sprintf("%d.%d", i, n), Kind: catalog.File, Size: 3})
		}
		objects = append(objects, o)
	}
	objects[1].Members = append(objects[1].Members, catalog.NewVersion{Existing: empty})
	b, planned, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "x", Bytes: 36, Local: true}, objects)
	check(t, err)
	if open := must(l.db.OpenBatches(ctx))(t); len(open) != 1 || open[0] != b || b.State != catalog.Fetching || !b.Local || b.Bytes != 36 {
		t.Errorf("batches: %+v, want %+v", open, b)
	}
	last := catalog.ID(0)
	for i, o := range planned {
		if o.OID != objects[i].OID || o.State != catalog.ObjectPlanned || o.Salt != nil || o.Fingerprint != l.key.Fingerprint || o.Batch != b.ID || o.PlannedSize != 77 {
			t.Errorf("object: %+v", o.Object)
		}
		n := 0
		for _, v := range o.Versions {
			if v.ID == empty {
				continue
			}
			if v.ID <= last || v.Name != fmt.Sprintf("%d.%d", i, n) || v.State != catalog.Planned || v.Current || v.Batch != b.ID || v.Inode != v.ID || v.Data != v.ID {
				t.Errorf("version after %d: %+v", last, v)
			}
			last = v.ID
			n++
		}
	}
	if len(planned[1].Versions) != 5 {
		t.Errorf("members: %+v", planned[1].Versions)
	}
	if !must(l.db.PlannedAt(ctx, l.source.Root, "0.0"))(t) || must(l.db.PlannedAt(ctx, l.source.Root, "other"))(t) {
		t.Error("PlannedAt")
	}
	if !must(l.db.HasMember(ctx, empty))(t) || must(l.db.HasMember(ctx, l.source.Root))(t) {
		t.Error("HasMember")
	}
	if oid := must(l.db.LastOID(ctx))(t); oid != "o2" {
		t.Errorf("last object id %q", oid)
	}
	if debts := must(l.db.Debts(ctx))(t); len(debts) != 1 || debts[0] != (catalog.Debt{Pool: "offsite", Copies: 3, Bytes: 231}) {
		t.Errorf("debts: %+v", debts)
	}
	if files, bytes, err := l.db.Totals(ctx); err != nil || files != 0 || bytes != 0 {
		t.Errorf("planned files count: %d, %d, %v", files, bytes, err)
	}
}

func TestPlanIsAllOrNothing(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	good := catalog.NewObject{OID: "good", Key: l.key.ID, PartSize: catalog.ExtentSize,
		Members: []catalog.NewVersion{{Parent: l.source.Root, Name: "a", Kind: catalog.File}}}
	for what, bad := range map[string]catalog.NewObject{
		"the same id":          good,
		"an unknown key":       {OID: "x", Key: 99, PartSize: catalog.ExtentSize},
		"an uneven part":       {OID: "x", Key: l.key.ID, PartSize: catalog.ExtentSize + 1},
		"no part":              {OID: "x", Key: l.key.ID},
		"an unknown pool":      {OID: "x", Key: l.key.ID, PartSize: catalog.ExtentSize, Pools: []int64{99}},
		"an unknown directory": {OID: "x", Key: l.key.ID, PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{{Parent: 99, Name: "a", Kind: catalog.File}}},
		"an unknown member":    {OID: "x", Key: l.key.ID, PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{{Existing: 99}}},
		"a directory to fetch": {OID: "x", Key: l.key.ID, PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{{Parent: l.source.Root, Name: "a", Kind: catalog.Directory}}},
	} {
		if _, _, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "x"}, []catalog.NewObject{good, bad}); err == nil {
			t.Errorf("%s was planned", what)
		}
	}
	if open := must(l.db.OpenBatches(ctx))(t); len(open) != 0 || must(l.db.PlannedAt(ctx, l.source.Root, "a"))(t) || must(l.db.LastOID(ctx))(t) != "" {
		t.Errorf("what was refused left something: %v", open)
	}
}

func TestHardLinks(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "first", "second", "third")
	v := o.Versions[1:]
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{
		{Version: v[0].ID, Size: 5, Nlink: 3}, {Version: v[1].ID, Size: 5, Nlink: 3, Inode: v[0].ID}, {Version: v[2].ID, Size: 5, Nlink: 3, Inode: v[0].ID}}, time.Now()))
	check(t, l.db.SetBatchState(ctx, b.ID, catalog.Synced, 5))
	for _, name := range []string{"first", "second", "third"} {
		got := must(l.db.Lookup(ctx, l.source.Root, name))(t)
		if got.Inode != v[0].ID || got.Data != v[0].ID || got.Nlink != 3 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if loc := must(l.db.Locate(ctx, v[2].ID))(t); loc.Version.ID != v[0].ID || loc.Path != "first" || loc.Batch == nil {
		t.Errorf("location of a link: %+v", loc)
	}
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	_, err := l.write(t, must(l.db.OwedCopies(ctx, l.pools[0].ID))(t)[0], l.tapes[0], salt)
	check(t, err)
	first, third := must(l.db.Get(ctx, v[0].ID))(t), must(l.db.Get(ctx, v[2].ID))(t)
	if string(third.SHA256) != string(first.SHA256) || len(third.SHA256) != 32 {
		t.Errorf("sums of links: %x, %x", first.SHA256, third.SHA256)
	}
	loc, other := must(l.db.Locate(ctx, v[0].ID))(t), must(l.db.Locate(ctx, v[2].ID))(t)
	if loc.Data != other.Data || loc.Data < 0 || loc.Object.ID != other.Object.ID {
		t.Errorf("links lie at %d and %d", loc.Data, other.Data)
	}
}

func TestMarkFetchedRefuses(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", nil, "a", "b")
	b2, o2 := l.plan(t, "02", nil, "c")
	a, second, foreign := o.Versions[1].ID, o.Versions[2].ID, o2.Versions[1].ID
	now := time.Now()
	for what, f := range map[string]catalog.Fetched{
		"of another batch":      {Version: foreign},
		"unknown":               {Version: 999},
		"linked to nothing":     {Version: a, Inode: 999},
		"linked to a directory": {Version: a, Inode: l.source.Root},
		"a directory":           {Version: l.source.Root},
	} {
		err := l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: second}, f}, now)
		if !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("a version %s: %v", what, err)
		}
	}
	if v := must(l.db.Get(ctx, second))(t); v.State != catalog.Planned {
		t.Errorf("half of a refused call was kept: %+v", v)
	}
	if err := l.db.SetBatchState(ctx, b.ID, catalog.Synced, 1); err == nil {
		t.Error("a batch with files that were not fetched is synced")
	}
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: a, Size: 1}, {Version: second, Inode: a, Nlink: 2}}, now))
	for _, id := range []catalog.ID{a, second} {
		if err := l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: id, Gone: true}}, now); err == nil {
			t.Errorf("version %d, which is fetched, is gone", id)
		}
	}
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: a, Size: 2}}, now)) // a run that died repeats itself
	if v := must(l.db.Get(ctx, a))(t); v.Size != 2 || !v.Current {
		t.Errorf("marked again: %+v", v)
	}
	check(t, l.db.SetBatchState(ctx, b.ID, catalog.Synced, 1))
	if err := l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: a}}, now); err == nil {
		t.Error("a file of a synced batch changed")
	}
	if err := l.db.SetBatchState(ctx, b.ID, catalog.Fetching, 1); err == nil {
		t.Error("a synced batch is being fetched again")
	}
	if err := l.db.SetBatchState(ctx, b2.ID, catalog.Released, 1); err == nil {
		t.Error("a batch was released without a copy")
	}
	if err := l.db.SetBatchState(ctx, 99, catalog.Synced, 1); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown batch: %v", err)
	}
}

func TestGoneAndDropped(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a", "b")
	if err := l.db.DropObject(ctx, o.ID); err == nil {
		t.Error("an object with files to fetch was dropped")
	}
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: o.Versions[1].ID, Gone: true}, {Version: o.Versions[2].ID, Gone: true}}, time.Now()))
	if left := must(l.db.BatchObjects(ctx, b.ID))(t); len(left) != 1 || len(left[0].Versions) != 1 {
		t.Errorf("left: %+v", left)
	}
	if _, err := l.db.Get(ctx, o.Versions[1].ID); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a file that could not be fetched: %v", err)
	}
	check(t, l.db.DropObject(ctx, o.ID))
	if err := l.db.DropObject(ctx, o.ID); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("dropped twice: %v", err)
	}
	check(t, l.db.SetBatchState(ctx, b.ID, catalog.Synced, 0))
	if free := must(l.db.ReleasableBatches(ctx))(t); len(free) != 1 {
		t.Errorf("an empty batch stays: %v", free)
	}
	// Its ids are not given again.
	_, again := l.plan(t, "02", nil, "a")
	if again.Versions[1].ID <= o.Versions[2].ID {
		t.Errorf("id %d was given twice", again.Versions[1].ID)
	}
}

func TestSymlinks(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, planned, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "x"}, []catalog.NewObject{{OID: "o", Key: l.key.ID,
		PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{{Parent: l.source.Root, Name: "link", Kind: catalog.Symlink}}}})
	check(t, err)
	id := planned[0].Versions[0].ID
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: id, Size: 5, Target: "../\xff\n"}}, time.Now()))
	if v := must(l.db.Resolve(ctx, "/src/link"))(t); v.Target != "../\xff\n" || v.Kind != catalog.Symlink {
		t.Errorf("symlink: %+v", v)
	}
	if files, _, err := l.db.Totals(ctx); err != nil || files != 0 {
		t.Errorf("a symlink counts as a file: %d, %v", files, err)
	}
}

// A directory with files and directories in it gives way to a file, while files below it are still
// being fetched.
func TestDirectoryBecomesFile(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	d := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "d", catalog.Meta{}))(t)
	sub := must(l.db.EnsureDir(ctx, l.run.ID, d, "sub", catalog.Meta{}))(t)
	member := func(parent catalog.ID, name string) catalog.NewObject {
		return catalog.NewObject{OID: name, Key: l.key.ID, PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{{Parent: parent, Name: name, Kind: catalog.File}}}
	}
	plan := func(parent catalog.ID, name string) (catalog.Batch, catalog.ID) {
		b, planned, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: name}, []catalog.NewObject{member(parent, name)})
		check(t, err)
		return b, planned[0].Versions[0].ID
	}
	fetch := func(b catalog.Batch, id catalog.ID) {
		t.Helper()
		check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: id, Size: 10}}, time.Now()))
	}
	b, inside := plan(sub, "inside")
	fetch(b, inside)
	late, lateID := plan(sub, "late")
	b, file := plan(l.source.Root, "d")
	fetch(b, file)
	for _, id := range []catalog.ID{d, sub, inside} {
		if v := must(l.db.Get(ctx, id))(t); v.Current || v.Until.IsZero() {
			t.Errorf("version %d, whose path is gone: %+v", id, v)
		}
	}
	fetch(late, lateID)
	if v := must(l.db.Get(ctx, lateID))(t); v.Current || v.State != catalog.Present || v.Until.IsZero() {
		t.Errorf("a file of a directory that is none any more: %+v", v)
	}
	if v := must(l.db.Resolve(ctx, "/src/d"))(t); v.ID != file {
		t.Errorf("the path shows %+v", v)
	}
	if files, bytes, err := l.db.Totals(ctx); err != nil || files != 1 || bytes != 10 {
		t.Errorf("totals: %d, %d, %v", files, bytes, err)
	}
	if p := must(l.db.Path(ctx, inside))(t); p != "/src/d/sub/inside" {
		t.Errorf("past path: %q", p)
	}
	// A later mark of the past version does not bring it back.
	if err := l.db.MarkFetched(ctx, l.run.ID, late.ID, []catalog.Fetched{{Version: lateID, Size: 99}}, time.Now()); err != nil {
		t.Error(err)
	}
	if v := must(l.db.Get(ctx, lateID))(t); v.Current || v.Size != 10 {
		t.Errorf("a past version came back: %+v", v)
	}
}

func TestDrawSalt(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	seen := map[string]bool{}
	for range 50 {
		s := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
		if len(s) != 8 || seen[string(s)] {
			t.Fatalf("salt %x", s)
		}
		seen[string(s)] = true
	}
	var n int
	check(t, raw(t, l.db.FilePath()).QueryRow(`SELECT count(*) FROM salt WHERE key = ? AND purpose = 'object'`, l.key.ID).Scan(&n))
	if n != 50 {
		t.Errorf("%d salts are recorded", n)
	}
	if _, err := l.db.DrawSalt(ctx, 99, "object"); err == nil {
		t.Error("a salt for an unknown key")
	}
}
