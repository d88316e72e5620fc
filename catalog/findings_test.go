package catalog_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// lifeWithPart has one object whose part is durable on the first tape, at block 9.
func lifeWithPart(t *testing.T) (*life, catalog.CopyPart) {
	t.Helper()
	l, _, p := lifeWithClosedPart(t)
	check(t, l.db.MarkDurable(context.Background(), l.tapes[0].ID, 4, 1<<40, time.Unix(1e9, 5)))
	return l, p
}

// lifeWithClosedPart has one object of the batch, with the file a, whose part is closed on the first tape, at block 9.
func lifeWithClosedPart(t *testing.T) (*life, catalog.Batch, catalog.CopyPart) {
	t.Helper()
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, StartBlock: 9, Part: part(0, 5000, 3)}, packingOf(o, salt, 5000)))
	return l, b, p
}

// findingsOf are the changes that tell of files on tape.
func findingsOf(t *testing.T, db *catalog.DB) (all []catalog.Change) {
	t.Helper()
	check(t, db.Changes(context.Background(), 0, func(c *catalog.Change) error {
		if catalog.IsFinding(c.Kind) {
			all = append(all, *c)
		}
		return nil
	}))
	return all
}

// What was found of a part is told by the journal, and a catalog that is rebuilt from it believes the newest of that.
func TestRebuildKeepsFindings(t *testing.T) {
	ctx := context.Background()
	damaged := func(l *life, p catalog.CopyPart) { check(t, l.db.PartFailed(ctx, p.ID, catalog.PartDamaged, 4000)) }
	lost := func(l *life, p catalog.CopyPart) { check(t, l.db.PartFailed(ctx, p.ID, catalog.PartLost, 0)) }
	good := func(l *life, p catalog.CopyPart) { must(l.db.PartRecovered(ctx, p, 5000, time.Unix(2e9, 0)))(t) }
	for name, c := range map[string]struct {
		happened []func(*life, catalog.CopyPart)
		findings int
		state    catalog.PartState
		known    bool // the catalog that is rebuilt begins with the damage, as from a snapshot
		marked   bool // the rebuild itself finds the file wrong
	}{
		"damaged":                             {[]func(*life, catalog.CopyPart){damaged}, 1, catalog.PartDamaged, false, false},
		"lost":                                {[]func(*life, catalog.CopyPart){lost}, 1, catalog.PartLost, false, false},
		"damaged and good again":              {[]func(*life, catalog.CopyPart){damaged, good}, 2, catalog.PartDurable, false, false},
		"damaged, good and damaged":           {[]func(*life, catalog.CopyPart){damaged, good, damaged}, 3, catalog.PartDamaged, false, false},
		"damage in the snapshot, then good":   {[]func(*life, catalog.CopyPart){damaged, good}, 2, catalog.PartDurable, true, false},
		"good again, and wrong for a rebuild": {[]func(*life, catalog.CopyPart){damaged, good}, 2, catalog.PartDamaged, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, p := lifeWithPart(t)
			for _, happens := range c.happened {
				happens(l, must(l.db.CopyParts(ctx, p.Copy))(t)[0])
			}
			told := findingsOf(t, l.db)
			if len(told) != c.findings {
				t.Fatalf("%d findings are journalled: %+v", len(told), told)
			}

			other, q := lifeWithPart(t)
			if c.known {
				check(t, other.db.PartFailed(ctx, q.ID, catalog.PartDamaged, 4000))
			}
			r := other.db.Rebuild(other.run.ID)
			check(t, r.StartManifest(ctx, catalog.Manifest{Tape: other.tapes[0].ID, Seq: 1, Upto: 900, Name: "m1", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2e9, 0)}))
			for _, f := range told {
				check(t, r.Change(ctx, f, nil))
			}
			check(t, r.CopyPart(ctx, provedPart("01", 9, catalog.PartWritten)))
			check(t, r.EndManifest(ctx))
			if c.marked {
				check(t, r.MarkPart(ctx, q.ID, catalog.PartDamaged))
			}
			check(t, r.Finish(ctx))
			parts := must(other.db.CopyParts(ctx, q.Copy))(t)
			if len(parts) != 1 || parts[0].State != c.state {
				t.Errorf("the rebuilt catalog has %+v", parts)
			}
			if c.state == catalog.PartDurable && parts[0].Size != 5000 {
				t.Errorf("it is said to have %d bytes", parts[0].Size)
			}
		})
	}
}

// A journal may hold anything that its keys prove: what is no finding changes nothing.
func TestRebuildPassesOverOddFindings(t *testing.T) {
	ctx := context.Background()
	l, p := lifeWithPart(t)
	r := l.db.Rebuild(l.run.ID)
	check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Upto: 900, Name: "m1", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2e9, 0)}))
	for i, detail := range []string{"", "{", "null", "[]", `{"volume": 7, "name": {}, "startblock": "x"}`, `{"volume": "other", "name": "p", "startblock": 9}`,
		`{"volume": "main", "name": "q", "startblock": 9}`, `{"volume": "main", "name": "p", "startblock": 8}`} {
		check(t, r.Change(ctx, catalog.Change{ID: int64(500 + i), At: time.Unix(2e9, 0), Kind: catalog.FoundPartDamaged, Version: catalog.Root, Detail: detail}, nil))
	}
	check(t, r.CopyPart(ctx, provedPart("01", 9, catalog.PartWritten)))
	check(t, r.EndManifest(ctx))
	check(t, r.Finish(ctx))
	if parts := must(l.db.CopyParts(ctx, p.Copy))(t); len(parts) != 1 || parts[0].State != catalog.PartDurable {
		t.Errorf("the catalog has %+v", parts)
	}
}

// A part that was not found as it was written, when the machine had gone down, is told by the journal if the manifest that names it is
// on tape: a rebuild would believe that for ever. Where the manifest is not there either, nothing need be told.
func TestDisprovedPartIsTold(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		state    catalog.PartState
		manifest bool // the manifest is on tape
		kind     string
	}{
		"lost, and named":     {catalog.PartLost, true, catalog.FoundPartLost},
		"damaged, and named":  {catalog.PartDamaged, true, catalog.FoundPartDamaged},
		"lost with manifest":  {catalog.PartLost, false, ""},
		"damaged, none names": {catalog.PartDamaged, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, _, p := lifeWithClosedPart(t)
			m := must(l.manifest(t, 0, 1, 2, p.ID))(t)
			check(t, l.db.PartFailed(ctx, p.ID, c.state, 0))
			if c.manifest {
				check(t, l.db.ManifestProved(ctx, m))
			} else {
				check(t, l.db.LoseManifests(ctx, l.tapes[0].ID))
			}
			var kinds []string
			for _, f := range findingsOf(t, l.db) {
				kinds = append(kinds, f.Kind)
			}
			if want := strings.Fields(c.kind); !slices.Equal(kinds, want) {
				t.Errorf("the journal tells of %q, want %q", kinds, want)
			}
			if !c.manifest {
				return
			}
			told(t, l, 1) // the manifest is read by a rebuild of this very catalog
			if parts := must(l.db.CopyParts(ctx, p.Copy))(t); len(parts) == 0 || slices.ContainsFunc(parts, func(p catalog.CopyPart) bool { return p.State == catalog.PartDurable }) {
				t.Errorf("the parts are %+v", parts)
			}
		})
	}
}
