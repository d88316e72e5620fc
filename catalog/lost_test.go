package catalog_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Whether a file is lost holds by when that was found: where an older catalog was put back, the numbers of changes were given twice.
func TestLossOfTwoPasts(t *testing.T) {
	ctx := context.Background()
	const lost, found = "lost", "found"
	for name, c := range map[string]struct {
		one, two []catalog.Change
		lost     bool
	}{
		"lost later, with a lower number":  {[]catalog.Change{change(11, lost, 40)}, []catalog.Change{change(12, lost, 20), change(13, found, 30)}, true},
		"found later, with a lower number": {[]catalog.Change{change(12, lost, 10), change(13, found, 40)}, []catalog.Change{change(20, lost, 30)}, false},
		"one number for both":              {[]catalog.Change{change(11, found, 20)}, []catalog.Change{change(11, lost, 30)}, true},
		"one number, the other way":        {[]catalog.Change{change(11, lost, 20)}, []catalog.Change{change(11, found, 30)}, false},
	} {
		for _, order := range []string{"", ", the other first"} {
			t.Run(name+order, func(t *testing.T) {
				l, _ := lifeWithPart(t)
				file := must(l.db.Lookup(ctx, l.source.Root, "a"))(t)
				pasts := [][]catalog.Change{c.one, c.two}
				if order != "" {
					slices.Reverse(pasts)
				}
				for i, past := range pasts {
					for n := range past {
						past[n].Version = file.ID
					}
					told(t, l, i+1, past...)
				}
				if is := must(l.db.IsLost(ctx, file.ID))(t); is != c.lost {
					t.Errorf("lost: %v", is)
				}
			})
		}
	}
}

func change(id int64, kind string, at int64) catalog.Change {
	return catalog.Change{ID: id, At: time.Unix(at, 0), Kind: kind}
}

// A file that is lost, found and lost again counts as what was said last, also when the clock was set back in between.
func TestLossAndClock(t *testing.T) {
	ctx := context.Background()
	l, b, p := lifeWithClosedPart(t)
	must(l.manifest(t, 0, 1, 2, p.ID))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 4, 1<<40, time.Unix(1e9, 5)))
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	file := must(l.db.Lookup(ctx, l.source.Root, "a"))(t)
	isLost := func(want bool, when string) {
		t.Helper()
		if is := must(l.db.IsLost(ctx, file.ID))(t); is != want {
			t.Errorf("%s: lost is %v", when, is)
		}
	}
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartDamaged, 4000))
	check(t, l.db.MarkLost(ctx, l.run.ID, []catalog.ID{file.ID}, time.Unix(4e9, 0)))
	isLost(true, "lost")
	must(l.db.PartRecovered(ctx, p, 5000, time.Unix(1e9, 0)))(t)
	isLost(false, "found by a clock that goes years after")
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartDamaged, 4000))
	check(t, l.db.MarkLost(ctx, l.run.ID, []catalog.ID{file.ID}, time.Unix(2e9, 0)))
	isLost(true, "lost again")
}
