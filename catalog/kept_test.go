package catalog_test

import (
	"context"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// The word for how a file is kept, through the life of two copies.
func TestKeptState(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "00000000000100000000000000000000", []int64{l.pools[0].ID, l.pools[1].ID}, "a", "b")
	kept := func(name string) catalog.Kept {
		t.Helper()
		v := must(l.db.Lookup(ctx, l.source.Root, name))(t)
		return must(l.db.Keeper().Of(ctx, &v))(t)
	}
	want := func(when string, asked int, states ...catalog.KeptState) {
		t.Helper()
		for i, name := range []string{"a", "b"} {
			k := kept(name)
			if got := k.State(asked); got != states[min(i, len(states)-1)] {
				t.Errorf("%s, %s with %d copies asked for: %s, want %s", when, name, asked, got, states[min(i, len(states)-1)])
			}
		}
	}
	l.fetch(t, b, o)
	want("in the spool", 1, catalog.KeptPending)
	l.store(t, 0, 0, must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t))
	want("on one tape", 1, catalog.KeptDurable)
	want("on one tape", 2, catalog.KeptPending)
	l.store(t, 1, 1, nil)
	want("on two tapes", 2, catalog.KeptDurable)
	want("on two tapes", 3, catalog.KeptPending)
	switch k := kept("b"); {
	case len(k.Objects) != 1 || k.Held() != 2 || len(k.Objects[0].Places) != 2:
		t.Errorf("kept: %+v", k)
	case k.Objects[0].OID != o.OID || k.Objects[0].Fingerprint != l.key.Fingerprint || k.Objects[0].At != 2*1024+512:
		t.Errorf("object: %+v", k.Objects[0])
	case k.Objects[0].Places[1].Parts[0].Barcode != "B00001L8":
		t.Errorf("second copy: %+v", k.Objects[0].Places[1])
	}
	set := func(state string) {
		_, err := l.db.UpdateTape(ctx, l.tapes[1].ID, func(t *catalog.Tape) error { t.State = state; return nil })
		check(t, err)
	}
	set(catalog.TapeSuspect)
	want("one tape suspect", 2, catalog.KeptSuspect)
	want("one tape suspect", 1, catalog.KeptDurable)
	set(catalog.TapeOpen)

	must(l.db.RetireTape(ctx, l.tapes[1].ID, "old"))(t)
	want("retired, and owed again", 2, catalog.KeptPending)
	behind(t, l.db.FilePath(), `UPDATE copy SET state = 4 WHERE pool = (SELECT id FROM pool WHERE name = 'offsite')`)
	want("damaged", 1, catalog.KeptDamaged)
	behind(t, l.db.FilePath(), `UPDATE copy SET state = 4`, `UPDATE copy_part SET state = 4`, `UPDATE version SET batch = NULL`, `UPDATE version SET state = 2 WHERE name = x'62'`)
	want("damaged everywhere", 1, catalog.KeptLost, catalog.KeptVoid)
}
