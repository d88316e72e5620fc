package catalog_test

import (
	"context"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// onePart writes an object of one part to the first tape and returns the row of the part.
func (l *life) onePart(t *testing.T, oid string) (catalog.PlannedObject, catalog.CopyPart) {
	t.Helper()
	ctx := context.Background()
	b, o := l.plan(t, oid, []int64{l.pools[0].ID}, oid)
	l.fetch(t, b, o)
	p := l.begin(t, 0, 0)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(o, salt, 1000)))
	return o, p
}

// copiesSound holds what the states of copies say against their parts and manifests.
func (l *life) copiesSound(t *testing.T) {
	t.Helper()
	for _, f := range must(l.db.Check(context.Background()))(t) {
		switch f.What {
		case "durable copies", "owed copies", "manifests of copies":
			t.Errorf("%s: %v", f.What, f.Lines)
		}
	}
}

// A part that is safe on tape makes no durable copy before a durable manifest names it, be that on another tape of the pool.
func TestDurableMeansNamed(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	o, p := l.onePart(t, "01")
	check(t, l.db.PartProved(ctx, p.ID))
	l.wantCopy(t, o.ID, 0, catalog.Written)
	if n := must(l.db.Awaiting(ctx, l.pools[0].ID))(t); n[l.source.ID] != 1 {
		t.Errorf("awaiting: %v", n)
	}
	if d := must(l.db.Debts(ctx))(t); len(d) != 1 || d[0].Awaiting != 1 || d[0].Bytes != 0 {
		t.Errorf("debts: %+v", d)
	}
	if b := must(l.db.ReleasableBatches(ctx))(t); len(b) != 0 {
		t.Errorf("releasable: %+v", b)
	}
	if h := must(l.db.HeldCopies(ctx, o.ID))(t); len(h) != 0 {
		t.Errorf("held: %+v", h)
	}
	next := must(l.db.AddTape(ctx, catalog.Tape{Barcode: "NEXT", UUID: "next", Pool: l.pools[0].ID, State: catalog.TapeOpen}))(t)
	var elsewhere []int64
	check(t, l.db.UnnamedElsewhere(ctx, next.ID, func(m *catalog.ManifestPart) error { elsewhere = append(elsewhere, m.ID); return nil }))
	if len(elsewhere) != 1 || elsewhere[0] != p.ID {
		t.Errorf("unnamed on other tapes: %v", elsewhere)
	}
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: next.ID, Seq: 1, Name: "m", MAC: sum, Previous: make([]byte, 32)}, elsewhere))(t)
	l.wantCopy(t, o.ID, 0, catalog.Written)
	check(t, l.db.MarkDurable(ctx, next.ID, 2, 0, time.Now()))
	l.wantCopy(t, o.ID, 0, catalog.Durable)
	if h := must(l.db.HeldCopies(ctx, o.ID))(t); len(h) != 1 || h[0].Verified {
		t.Errorf("held, and its manifest was not read back: %+v", h)
	}
	for _, f := range must(l.db.JournalToVerify(ctx))(t) {
		check(t, l.db.JournalVerified(ctx, f, time.Now()))
	}
	if h := must(l.db.HeldCopies(ctx, o.ID))(t); len(h) != 1 || !h[0].Verified {
		t.Errorf("held: %+v", h)
	}
	l.copiesSound(t)
	// What the manifest's tape is not good for any more, it does not vouch for.
	must(l.db.UpdateTape(ctx, next.ID, func(t *catalog.Tape) error { t.State = catalog.TapeSuspect; return nil }))(t)
	if h := must(l.db.HeldCopies(ctx, o.ID))(t); len(h) != 0 {
		t.Errorf("held by the manifest of a suspect tape: %+v", h)
	}
	check(t, l.db.UnnameStranded(ctx))
	l.wantCopy(t, o.ID, 0, catalog.Written)
	l.synced(t, 0, 3, 0)
	l.wantCopy(t, o.ID, 0, catalog.Durable)
	// Nor does a tape that is emptied.
	must(l.db.UpdateTape(ctx, next.ID, func(t *catalog.Tape) error { t.State = catalog.TapeOpen; return nil }))(t)
	o2, p2 := l.onePart(t, "02")
	check(t, l.db.PartProved(ctx, p2.ID))
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: next.ID, Seq: 2, Name: "m", MAC: sum, Previous: sum}, []int64{p2.ID}))(t)
	check(t, l.db.MarkDurable(ctx, next.ID, 3, 0, time.Now()))
	l.wantCopy(t, o2.ID, 0, catalog.Durable)
	check(t, l.db.LoseTape(ctx, next.ID))
	l.wantCopy(t, o2.ID, 0, catalog.Written)
	l.copiesSound(t)
}

// A manifest that was written and never proved counts when it is read back, with what it names.
func TestManifestProved(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	o, p := l.onePart(t, "01")
	check(t, l.db.PartProved(ctx, p.ID))
	m := must(l.manifest(t, 0, 1, 7, p.ID))(t)
	check(t, l.db.ManifestProved(ctx, m))
	l.wantCopy(t, o.ID, 0, catalog.Durable)
	if got := must(l.db.Pools(ctx))(t)[0].Journalled; got != 7 {
		t.Errorf("journalled: %d", got)
	}
}

// A durable manifest that its tape lost takes back what it named: parts, and changes, which a later manifest does not hide.
func TestLoseManifest(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	o, p := l.onePart(t, "01")
	check(t, l.db.PartProved(ctx, p.ID))
	first := must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Name: "m1", MAC: sum, Previous: make([]byte, 32), Upto: 5}, []int64{p.ID}))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 2, 0, time.Now()))
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 2, Name: "m2", MAC: sum, Previous: sum, After: 5, Upto: 9}, nil))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 3, 0, time.Now()))
	journalled := func() int64 { t.Helper(); return must(l.db.Pools(ctx))(t)[0].Journalled }
	if got := journalled(); got != 9 {
		t.Fatalf("journalled: %d", got)
	}
	copies := must(l.db.LoseJournalFile(ctx, catalog.JournalFile{Manifest: first}, time.Now()))(t)
	if copies != 1 || journalled() != 0 {
		t.Errorf("%d copies are named no more, journalled is %d", copies, journalled())
	}
	l.wantCopy(t, o.ID, 0, catalog.Written)
	if m := must(l.db.MissedManifests(ctx))(t); len(m) != 1 {
		t.Errorf("missed: %v", m)
	}
	// A manifest that goes on behind the gap does not hide it.
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 3, Name: "m3", MAC: sum, Previous: sum, After: 9, Upto: 12}, nil))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 4, 0, time.Now()))
	if got := journalled(); got != 0 {
		t.Errorf("journalled over a gap: %d", got)
	}
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 4, Name: "m4", MAC: sum, Previous: sum, Upto: 12}, []int64{p.ID}))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 5, 0, time.Now()))
	l.wantCopy(t, o.ID, 0, catalog.Durable)
	if m := must(l.db.MissedManifests(ctx))(t); len(m) != 0 || journalled() != 12 {
		t.Errorf("missed: %v, journalled %d", m, journalled())
	}
	// It is lost once.
	if n := must(l.db.LoseJournalFile(ctx, catalog.JournalFile{Manifest: first}, time.Now()))(t); n != 0 || journalled() != 12 {
		t.Errorf("lost again: %d, journalled %d", n, journalled())
	}
	l.copiesSound(t)
}

// Changes that only manifests on a suspect tape name are named again, once.
func TestStrandedChanges(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Name: "m1", MAC: sum, Previous: make([]byte, 32), Upto: 5}, nil))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 2, 0, time.Now()))
	journalled := func(want int64) {
		t.Helper()
		check(t, l.db.UnnameStranded(ctx))
		if got := must(l.db.Pools(ctx))(t)[0].Journalled; got != want {
			t.Errorf("journalled: %d, want %d", got, want)
		}
	}
	journalled(5)
	must(l.db.UpdateTape(ctx, l.tapes[0].ID, func(t *catalog.Tape) error { t.State = catalog.TapeSuspect; return nil }))(t)
	journalled(0)
	must(l.db.UpdateTape(ctx, l.tapes[0].ID, func(t *catalog.Tape) error { t.State = catalog.TapeOpen; return nil }))(t)
	journalled(5) // it is trusted again
	must(l.db.UpdateTape(ctx, l.tapes[0].ID, func(t *catalog.Tape) error { t.State = catalog.TapeSuspect; return nil }))(t)
	journalled(0)
	next := must(l.db.AddTape(ctx, catalog.Tape{Barcode: "NEXT", UUID: "next", Pool: l.pools[0].ID, State: catalog.TapeOpen}))(t)
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: next.ID, Seq: 1, Name: "m1", MAC: sum, Previous: make([]byte, 32), Upto: 6}, nil))(t)
	check(t, l.db.MarkDurable(ctx, next.ID, 2, 0, time.Now()))
	journalled(6)
}
