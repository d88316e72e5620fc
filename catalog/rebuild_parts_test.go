package catalog_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// provedPart is what a manifest says of the part that lies at a block of the first tape.
func provedPart(oid string, block int64, s catalog.PartState) catalog.RebuiltPart {
	return catalog.RebuiltPart{OID: oid, Pool: "main", Volume: "main", Barcode: "A00001L8", Name: "p", Size: 5000, StartBlock: block, State: s}
}

// A part is written, is lost with its run, and is written again under the same name. However far the first try came, and
// wherever the second one begins, the record of the second one is its own, and records of the first one change nothing of it.
func TestRebuildTellsTriesApart(t *testing.T) {
	ctx := context.Background()
	for name, try := range map[string]struct {
		close, sync bool
		block       int64 // of the first try
		then        catalog.PartState
	}{
		"never closed, lost":              {false, false, 0, catalog.PartLost},
		"never closed, abandoned":         {false, false, 0, catalog.PartAbandoned},
		"closed, lost, same block":        {true, false, 9, catalog.PartLost},
		"closed, abandoned, same block":   {true, false, 9, catalog.PartAbandoned},
		"closed, lost, block unknown":     {true, false, -1, catalog.PartLost},
		"durable, given up, other block":  {true, true, 3, catalog.PartAbandoned},
		"durable, given up, not known":    {true, true, -1, catalog.PartAbandoned},
		"durable, found lost, not known":  {true, true, -1, catalog.PartLost},
		"durable, damaged, another block": {true, true, 3, catalog.PartDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(t)
			b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a")
			l.fetch(t, b, o)
			salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
			p := l.begin(t, 0, 0)
			if try.close {
				check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, StartBlock: try.block, Part: part(0, 5000, 3)}, packingOf(o, salt, 5000)))
			}
			if try.sync {
				check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 4, 1<<40, time.Unix(1e9, 5)))
			}
			check(t, l.db.PartFailed(ctx, p.ID, try.then, 7))
			r := l.db.Rebuild(l.run.ID)
			check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Upto: 900, Name: "m1", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2e9, 0)}))
			check(t, r.CopyPart(ctx, provedPart("01", 1, catalog.PartAbandoned))) // of no try that is known
			check(t, r.CopyPart(ctx, provedPart("01", 9, catalog.PartWritten)))
			check(t, r.CopyPart(ctx, provedPart("01", -1, catalog.PartAbandoned)))
			check(t, r.EndManifest(ctx))
			good := 0
			for _, p := range must(l.db.CopyParts(ctx, p.Copy))(t) {
				if p.State == catalog.PartDurable && p.StartBlock == 9 && p.Size == 5000 {
					good++
				}
			}
			if good != 1 {
				t.Errorf("%d rows say that the part is good: %+v", good, must(l.db.CopyParts(ctx, p.Copy))(t))
			}
		})
	}
}

// What became of a part after a manifest named it is not undone by that manifest.
func TestRebuildKeepsWhatIsDamaged(t *testing.T) {
	ctx := context.Background()
	for _, s := range []catalog.PartState{catalog.PartDamaged, catalog.PartLost, catalog.PartAbandoned} {
		l := newLife(t)
		b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a")
		l.fetch(t, b, o)
		salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
		p := l.begin(t, 0, 0)
		check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, StartBlock: 9, Part: part(0, 5000, 3)}, packingOf(o, salt, 5000)))
		check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 4, 1<<40, time.Unix(1e9, 5)))
		check(t, l.db.PartFailed(ctx, p.ID, s, 0))
		r := l.db.Rebuild(l.run.ID)
		check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Name: "m1", MAC: bytes.Repeat([]byte{1}, 32), Previous: make([]byte, 32), Written: time.Unix(1e9, 5)}))
		check(t, r.CopyPart(ctx, provedPart("01", 9, catalog.PartWritten)))
		check(t, r.EndManifest(ctx))
		if parts := must(l.db.CopyParts(ctx, p.Copy))(t); len(parts) != 1 || parts[0].State != s {
			t.Errorf("state %d: %+v", s, parts)
		}
	}
}
