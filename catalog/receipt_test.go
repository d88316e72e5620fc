package catalog_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// remove removes a file of the source's root as safe --delete does.
func (l *life) remove(t *testing.T, v catalog.Version, at time.Time) {
	t.Helper()
	ctx := context.Background()
	list := []catalog.Receipt{{Run: l.run.ID, Source: l.source.ID, Path: v.Name, Aside: "x", Version: v.ID, Kind: v.Kind, Size: v.Size, SHA256: sum,
		Copies: []catalog.ReceiptCopy{{Pool: "main", Object: "01", Tapes: []string{"A00001L8"}}}}}
	check(t, l.db.BeginReceipts(ctx, list))
	list[0].State, list[0].At = catalog.ReceiptRemoved, at
	check(t, l.db.EndReceipts(ctx, l.run.ID, list))
}

// receiptsOf are all receipts of a catalog.
func receiptsOf(t *testing.T, db *catalog.DB) (all []catalog.Receipt) {
	t.Helper()
	check(t, db.Receipts(context.Background(), time.Time{}, func(r *catalog.Receipt) error {
		all = append(all, *r)
		return nil
	}))
	return all
}

// forgettable are the names that a rule selects below the source, and those of them that it spares.
func (l *life) forgettable(t *testing.T, rule catalog.ForgetRule) (goes, spared []string) {
	t.Helper()
	ctx := context.Background()
	root := must(l.db.Get(ctx, l.source.Root))(t)
	check(t, l.db.Forgettables(ctx, root, rule, func(f catalog.Forgettable) error {
		if f.Spared {
			spared = append(spared, f.Path)
		} else {
			goes = append(goes, f.Path)
		}
		return nil
	}))
	return goes, spared
}

// What this program removed at a source has not vanished: a tree that hides what vanished shows it, and no rule forgets it unasked.
func TestRemovedHasNotVanished(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a", "b", "c")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	_, err := l.write(t, l.owed(t, 0), l.tapes[0], salt)
	check(t, err)
	l.synced(t, 0, 5, 1000)
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	a := o.Versions[1]
	l.remove(t, a, time.Unix(1e9, 1))
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{o.Versions[2].ID}, time.Unix(1e9, 1)))

	shown := must(l.db.Resolve(ctx, "/src/a"))(t)
	if !shown.Removed || !shown.Vanished.Equal(time.Unix(1e9, 1)) {
		t.Errorf("what was removed: %+v", shown)
	}
	if v := must(l.db.Resolve(ctx, "/src/b"))(t); v.Removed || v.Vanished.IsZero() {
		t.Errorf("what vanished: %+v", v)
	}
	for name, view := range map[string]*catalog.View{"now": l.db.View(time.Time{}, true), "then": l.db.View(time.Now(), true)} {
		for file, there := range map[string]bool{"a": true, "b": false, "c": true} {
			if _, err := view.Lookup(ctx, l.source.Root, file); there != (err == nil) || err != nil && !errors.Is(err, catalog.ErrNotFound) {
				t.Errorf("%s in the tree of %s: %v", file, name, err)
			}
		}
	}
	rule := catalog.ForgetRule{VanishedBefore: time.Now()}
	if goes, spared := l.forgettable(t, rule); !slices.Equal(goes, []string{"/src/b"}) || !slices.Equal(spared, []string{"/src/a"}) {
		t.Errorf("forget takes %q and spares %q", goes, spared)
	}
	rule.RemovedToo = true
	if goes, spared := l.forgettable(t, rule); !slices.Equal(goes, []string{"/src/a", "/src/b"}) || spared != nil {
		t.Errorf("told to, forget takes %q and spares %q", goes, spared)
	}
	if goes, spared := l.forgettable(t, catalog.ForgetRule{}); !slices.Equal(goes, []string{"/src/a", "/src/b", "/src/c"}) || spared != nil {
		t.Errorf("of paths forget takes %q and spares %q", goes, spared)
	}

	// Back at the source, it is a file like any other, also when it is gone again.
	check(t, l.db.Revive(ctx, l.run.ID, []catalog.ID{a.ID}))
	if v := must(l.db.Resolve(ctx, "/src/a"))(t); v.Removed || !v.Vanished.IsZero() {
		t.Errorf("what came back: %+v", v)
	}
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{a.ID}, time.Unix(1e9, 2)))
	rule.RemovedToo = false
	if goes, spared := l.forgettable(t, rule); !slices.Equal(goes, []string{"/src/a", "/src/b"}) || spared != nil {
		t.Errorf("of what came back and vanished forget takes %q and spares %q", goes, spared)
	}
	if all := receiptsOf(t, l.db); len(all) != 1 || all[0].Path != "a" || all[0].Copies[0].Tapes[0] != "A00001L8" {
		t.Errorf("receipts: %+v", all)
	}
}

// Of several files that came under one name and were removed, each may be the only one of its kind: none is too many.
func TestForgetKeepsEachRemovedVersion(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	for i, oid := range []string{"01", "02", "03"} {
		b, o := l.plan(t, oid, []int64{l.pools[0].ID}, "a")
		l.fetch(t, b, o)
		salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
		_, err := l.write(t, l.owed(t, 0), l.tapes[0], salt)
		check(t, err)
		l.synced(t, 0, int64(5+i), 1000)
		check(t, l.db.ReleaseBatch(ctx, b.ID))
		if i != 1 { // the second one is replaced at the source
			l.remove(t, o.Versions[1], time.Unix(1e9, int64(i)))
		}
	}
	if goes, spared := l.forgettable(t, catalog.ForgetRule{KeepVersions: 1}); len(goes) != 1 || len(spared) != 1 {
		t.Errorf("forget takes %q and spares %q", goes, spared)
	}
	if goes, spared := l.forgettable(t, catalog.ForgetRule{VanishedBefore: time.Now()}); goes != nil || len(spared) != 3 {
		t.Errorf("forget takes %q and spares %q", goes, spared)
	}
}

// A catalog that is rebuilt from the journal has the receipts, and knows what was removed. A snapshot may have brought them already.
func TestRebuildKeepsReceipts(t *testing.T) {
	ctx := context.Background()
	for _, known := range []bool{false, true} {
		l, _ := lifeWithPart(t)
		a := must(l.db.Resolve(ctx, "/src/a"))(t)
		at := time.Unix(1e9, 123456789)
		l.remove(t, a, at)
		now := must(l.db.Get(ctx, a.ID))(t)

		other, _ := lifeWithPart(t)
		if known {
			other.remove(t, a, at)
		}
		r := other.db.Rebuild(other.run.ID)
		check(t, r.StartManifest(ctx, catalog.Manifest{Tape: other.tapes[0].ID, Seq: 1, Upto: 900, Name: "m1", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2e9, 0)}))
		check(t, l.db.Changes(ctx, 0, func(c *catalog.Change) error {
			if c.Version != a.ID {
				return nil
			}
			v := now
			return r.Change(ctx, *c, &v)
		}))
		for i, detail := range []string{"", "{", "null", "[]", `{"receipt": -1, "sha256": "zz"}`} { // odd ones are of no file
			check(t, r.Change(ctx, catalog.Change{ID: int64(500 + i), At: at, Kind: catalog.ChangeRemoved, Version: l.source.Root, Detail: detail}, nil))
		}
		check(t, r.CopyPart(ctx, provedPart("01", 9, catalog.PartWritten)))
		check(t, r.EndManifest(ctx))
		for range 2 { // it may be called again
			check(t, r.Finish(ctx))
		}
		all := receiptsOf(t, other.db)
		if len(all) != 1 {
			t.Fatalf("known %v: receipts %+v", known, all)
		}
		if g := all[0]; g.ID != 1 || g.Path != "a" || g.Version != a.ID || g.Size != a.Size || !slices.Equal(g.SHA256, sum) || !g.At.Equal(at) ||
			len(g.Copies) != 1 || g.Copies[0].Pool != "main" || g.Copies[0].Tapes[0] != "A00001L8" {
			t.Errorf("known %v: receipt %+v", known, g)
		}
		if v := must(other.db.Resolve(ctx, "/src/a"))(t); !v.Removed {
			t.Errorf("known %v: the file has vanished: %+v", known, v)
		}
		check(t, other.db.JournalReceipts(ctx, other.run.ID))
		told := 0
		check(t, other.db.Changes(ctx, 0, func(c *catalog.Change) error {
			if c.Kind == catalog.ChangeRemoved && c.Version == a.ID {
				told++
			}
			return nil
		}))
		if told != 1 {
			t.Errorf("known %v: the journal tells of it %d times", known, told)
		}
	}
}
