package catalog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// A durable part that is bad: while the spool has the bytes the copy is owed again; afterwards it is
// damaged. Never does its batch go on the strength of it.
func TestDamagedCopies(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(o, salt, 1000)))
	l.synced(t, 0, 2, 0)
	if free := must(l.db.ReleasableBatches(ctx))(t); len(free) != 1 {
		t.Fatalf("safe: %v", free)
	}
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartDamaged, 1000))
	l.wantCopy(t, o.ID, 0, catalog.Owed)
	if free := must(l.db.ReleasableBatches(ctx))(t); len(free) != 0 {
		t.Errorf("a batch goes with a damaged copy: %v", free)
	}
	if err := l.db.ReleaseBatch(ctx, b.ID); !errors.Is(err, catalog.ErrUnsafe) {
		t.Errorf("release: %v", err)
	}
	p = l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, nil))
	l.synced(t, 0, 3, 0)
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	if v := must(l.db.Get(ctx, o.Versions[1].ID))(t); v.Batch != 0 {
		t.Errorf("a released version: %+v", v)
	}
	if open := must(l.db.OpenBatches(ctx))(t); len(open) != 0 {
		t.Errorf("open: %v", open)
	}
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartDamaged, 1000))
	l.wantCopy(t, o.ID, 0, catalog.CopyDamaged)
	// What a damaged copy has left is the last resort: every extent is checked before it is served.
	loc := must(l.db.Locate(ctx, o.Versions[1].ID))(t)
	if loc.Object.ID != o.ID || len(loc.Places) == 0 {
		t.Errorf("nothing is left of a damaged object: %+v", loc)
	}
	for _, place := range loc.Places {
		if place.State != catalog.CopyDamaged {
			t.Errorf("a damaged copy passes for a good one: %+v", place)
		}
	}
	if err := l.db.ReleaseBatch(ctx, 99); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown batch: %v", err)
	}
}

// An object that no pool is to hold is safe nowhere, whatever its batch says.
func TestObjectsOfNoPoolKeepTheirBatch(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", nil, "a")
	if err := l.db.ReleaseBatch(ctx, b.ID); !errors.Is(err, catalog.ErrUnsafe) {
		t.Errorf("a batch that is being fetched was released: %v", err)
	}
	l.fetch(t, b, o)
	if free := must(l.db.ReleasableBatches(ctx))(t); len(free) != 0 {
		t.Errorf("safe: %v", free)
	}
	if err := l.db.ReleaseBatch(ctx, b.ID); !errors.Is(err, catalog.ErrUnsafe) {
		t.Errorf("release: %v", err)
	}
}

// Each reason to keep a batch, alone.
func TestWhatKeepsABatch(t *testing.T) {
	ctx := context.Background()
	l, b, o := spooled(t)
	h := raw(t, l.db.FilePath())
	const planned, packed, superseded, dropped = 0, 1, 2, 3
	type copies [][2]int // pool 0 or 1, state
	for _, c := range []struct {
		batch, object int
		copies        copies
		safe          bool
	}{
		{1, packed, copies{{0, 3}, {1, 3}}, true},
		{1, packed, copies{{0, 3}}, true},
		{1, superseded, copies{{0, 3}}, true},
		{1, packed, copies{{0, 4}, {0, 3}}, true},          // another took the damaged one's place
		{1, packed, copies{{0, 3}, {1, 5}}, true},          // a pool that is not wanted any more
		{1, dropped, nil, true},                            // lost all its files
		{1, dropped, copies{{0, 5}}, true},                 //
		{0, packed, copies{{0, 3}}, false},                 // being fetched still
		{1, planned, copies{{0, 3}}, false},                // not packed
		{1, packed, nil, false},                            // for no pool
		{1, packed, copies{{0, 5}}, false},                 // nowhere any more
		{1, packed, copies{{0, 3}, {1, 0}}, false},         // owed
		{1, packed, copies{{0, 3}, {1, 1}}, false},         // being written
		{1, packed, copies{{0, 3}, {1, 2}}, false},         // not synced
		{1, packed, copies{{0, 3}, {1, 4}}, false},         // damaged in one pool
		{1, packed, copies{{0, 4}, {0, 2}, {1, 3}}, false}, // its substitute is not synced
		{1, superseded, copies{{0, 4}}, false},             //
	} {
		exec := func(text string, args ...any) {
			t.Helper()
			_, err := h.Exec(text, args...)
			check(t, err)
		}
		exec(`UPDATE batch SET state = ? WHERE id = ?`, c.batch, b.ID)
		exec(`UPDATE object SET state = ? WHERE id = ?`, c.object, o.ID)
		exec(`DELETE FROM copy WHERE object = ?`, o.ID)
		for _, k := range c.copies {
			exec(`INSERT INTO copy (object, pool, state) VALUES (?, ?, ?)`, o.ID, l.pools[k[0]].ID, k[1])
		}
		listed := len(must(l.db.ReleasableBatches(ctx))(t)) == 1
		err := l.db.ReleaseBatch(ctx, b.ID)
		if listed != c.safe || (err == nil) != c.safe || err != nil && !errors.Is(err, catalog.ErrUnsafe) {
			t.Errorf("%+v: listed %v, released %v", c, listed, err)
		}
	}
}

// Versions go out of a batch by pages.
func TestReleaseManyVersions(t *testing.T) {
	if race {
		t.Skip("one goroutine and very many rows")
	}
	ctx := context.Background()
	l := newLife(t)
	o := catalog.NewObject{OID: "01", Key: l.key.ID, PartSize: catalog.ExtentSize, Pools: []int64{l.pools[0].ID}}
	for i := range 20001 {
		o.Members = append(o.Members, catalog.NewVersion{Parent: l.source.Root, Name: time.Duration(i).String(), Kind: catalog.File})
	}
	b, planned, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "x"}, []catalog.NewObject{o})
	check(t, err)
	var files []catalog.Fetched
	for _, v := range planned[0].Versions {
		files = append(files, catalog.Fetched{Version: v.ID})
	}
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, files, time.Now()))
	check(t, l.db.SetBatchState(ctx, b.ID, catalog.Synced, 0))
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(planned[0], salt, 1000)))
	check(t, l.db.PartProved(ctx, p.ID))
	if err := l.db.ReleaseBatch(ctx, b.ID); !errors.Is(err, catalog.ErrUnsafe) {
		t.Errorf("a batch was released whose copy no manifest names: %v", err)
	}
	l.synced(t, 0, 2, 0)
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	var left int
	check(t, raw(t, l.db.FilePath()).QueryRow(`SELECT count(*) FROM version WHERE batch IS NOT NULL`).Scan(&left))
	if open := must(l.db.OpenBatches(ctx))(t); left != 0 || len(open) != 0 {
		t.Errorf("%d versions are in the batch still; open: %v", left, open)
	}
}
