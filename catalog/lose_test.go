package catalog_test

import (
	"context"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// store writes an object's owed copy in a pool to a tape and makes it durable.
func (l *life) store(t *testing.T, pool, tape int, salt []byte) {
	t.Helper()
	ctx := context.Background()
	for _, o := range must(l.db.OwedCopies(ctx, l.pools[pool].ID))(t) {
		_, err := l.write(t, o, l.tapes[tape], salt)
		check(t, err)
	}
	l.synced(t, tape, 5, 1000)
}

// whole fails where the catalog's own check finds something.
func (l *life) whole(t *testing.T) {
	t.Helper()
	for _, f := range must(l.db.Check(context.Background()))(t) {
		if f.What != "plain sizes" && f.What != "places of members" { // made up here
			t.Errorf("check: %s: %v", f.What, f.Lines)
		}
	}
}

// TestTapeLoss: what only one tape has, through the life of two copies.
func TestTapeLoss(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	loss := func(tape, objects, versions int) {
		t.Helper()
		got := must(l.db.TapeLoss(ctx, l.tapes[tape].ID))(t)
		ids := must(l.db.LastVersions(ctx, l.tapes[tape].ID, 0))(t)
		if got.Objects != objects || got.Versions != versions || len(ids) != versions || got.LastBytes != int64(5*versions) {
			t.Errorf("tape %d: %+v, last copies of %v; want %d objects, %d versions", tape, got, ids, objects, versions)
		}
	}
	loss(0, 0, 0)
	b, o := l.plan(t, "00000000000100000000000000000000", []int64{l.pools[0].ID, l.pools[1].ID}, "a", "b")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	l.store(t, 0, 0, salt)
	loss(0, 1, 2) // the spool has them too, and does not count
	l.store(t, 1, 1, nil)
	loss(0, 1, 0)
	loss(1, 1, 0)
	_, err := l.db.UpdateTape(ctx, l.tapes[1].ID, func(t *catalog.Tape) error { t.State = catalog.TapeSuspect; return nil })
	check(t, err)
	loss(0, 1, 2)
	loss(1, 1, 0)
	// A version that nobody wants any more has no last copy; one whose bytes another shares has.
	behind(t, l.db.FilePath(), `UPDATE version SET state = 3, current = 0, until = 1 WHERE name = x'61'`)
	loss(0, 1, 1)
	behind(t, l.db.FilePath(), `UPDATE version SET state = 3, data = (SELECT id FROM version WHERE name = x'61'), state = 1 WHERE name = x'62'`)
	if got := must(l.db.TapeLoss(ctx, l.tapes[0].ID))(t); got.Versions != 2 {
		t.Errorf("with shared bytes: %+v", got)
	}
}

// TestLoseTape: an erased tape's copies are owed again while their bytes can be had, and damaged afterwards; the journal is written anew.
func TestLoseTape(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "00000000000100000000000000000000", []int64{l.pools[0].ID, l.pools[1].ID}, "a")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{o.Versions[1].ID}, time.Now()))
	for _, c := range must(l.db.OwedCopies(ctx, l.pools[0].ID))(t) {
		p, err := l.write(t, c, l.tapes[0], salt)
		check(t, err)
		must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Name: "m", MAC: sum, Previous: make([]byte, 32), Upto: 1}, []int64{p.ID}))(t)
		check(t, l.db.AddSnapshot(ctx, l.tapes[0].ID, "c", 10, sum))
	}
	l.synced(t, 0, 5, 1000)
	l.store(t, 1, 1, nil)
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	states := func(want ...catalog.CopyState) {
		t.Helper()
		copies := must(l.db.ObjectCopies(ctx, o.Object.ID))(t)
		for i, c := range copies {
			if i >= len(want) || c.State != want[i] {
				t.Errorf("copies %+v, want states %v", copies, want)
				break
			}
		}
		l.whole(t)
	}
	states(catalog.Durable, catalog.Durable)
	check(t, l.db.LoseTape(ctx, l.tapes[0].ID))
	states(catalog.Owed, catalog.Durable)
	tape := must(l.db.TapeByBarcode(ctx, "A00001L8"))(t)
	if tape.UUID != "" || tape.Used != 0 || tape.Leftover != 0 || tape.PoolName != "main" || tape.IndexGeneration != 0 {
		t.Errorf("erased tape: %+v", tape)
	}
	if p := must(l.db.Pools(ctx))(t); p[0].Journalled != 0 || p[0].Unsnapped == 0 {
		t.Errorf("pool after its journal was lost: %+v", p[0])
	}
	if m := must(l.db.MissingParts(ctx, l.pools[0].ID))(t); len(m) != 1 || len(m[0].From) != 1 {
		t.Errorf("missing parts: %+v", m)
	}
	check(t, l.db.LoseTape(ctx, l.tapes[0].ID)) // again: nothing to lose
	states(catalog.Owed, catalog.Durable)
	check(t, l.db.LoseTape(ctx, l.tapes[1].ID))
	states(catalog.CopyDamaged, catalog.CopyDamaged) // the first cannot be made any more
	// The volume that is made of it now begins its own journal.
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Name: "m", MAC: sum, Previous: make([]byte, 32), Upto: 1}, nil))(t)
}

// TestRetireTape: the copies on a retired tape are owed anew and are still there to be read.
func TestRetireTape(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "00000000000100000000000000000000", []int64{l.pools[0].ID, l.pools[1].ID}, "a")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	l.store(t, 0, 0, salt)
	l.store(t, 1, 1, nil)
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	if n := must(l.db.RetireTape(ctx, l.tapes[0].ID, "old"))(t); n != 1 {
		t.Errorf("%d copies are owed", n)
	}
	if n := must(l.db.RetireTape(ctx, l.tapes[0].ID, "old"))(t); n != 0 {
		t.Errorf("%d copies are owed once more", n)
	}
	if m := must(l.db.MissingParts(ctx, l.pools[0].ID))(t); len(m) != 1 || len(m[0].From) != 2 {
		t.Errorf("missing parts: %+v", m)
	}
	loc := must(l.db.Locate(ctx, o.Versions[1].ID))(t)
	if len(loc.Places) != 2 || loc.Places[0].Parts[0].Barcode != "B00001L8" || loc.Places[1].Parts[0].Barcode != "A00001L8" {
		t.Errorf("places: %+v", loc.Places)
	}
	if held := must(l.db.HeldCopies(ctx, o.Object.ID))(t); len(held) != 1 {
		t.Errorf("copies that count: %+v", held)
	}
	if got := must(l.db.TapeLoss(ctx, l.tapes[1].ID))(t); got.Versions != 1 {
		t.Errorf("with a retired tape as the only other: %+v", got)
	}
	if d := must(l.db.Damages(ctx))(t); len(d) != 0 {
		t.Errorf("a retired copy is no damage: %+v", d)
	}
	l.whole(t)
}
