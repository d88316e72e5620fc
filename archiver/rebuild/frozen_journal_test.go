package rebuild

import (
	"errors"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// What two manifests once told of an archive to which nearly everything happened is understood as it was then: files that vanished, that
// safe removed with receipts, that were forgotten, renamed, replaced, lost and found again; copies that were found damaged and good
// again; tapes that became suspect and were trusted.
func TestFrozenJournal(t *testing.T) {
	ctx := t.Context()
	db, err := takeRecords(t, frozenRecords(t, "journal"))
	must(t, err)
	kinds := map[string]int{}
	must(t, db.Changes(ctx, 0, func(c *catalog.Change) error { kinds[c.Kind]++; return nil }))
	for kind, n := range map[string]int{"directory": 1, "forget": 2, "found": 7, "lost": 9, "metadata": 11, "moved": 1, "removed": 8, "replaced": 4, "vanished": 10,
		catalog.FoundPartDamaged: 7, catalog.FoundPartGood: 3, catalog.FoundTapeSuspect: 5, catalog.FoundTapeTrusted: 5} {
		if kinds[kind] != n {
			t.Errorf("%d changes of the kind %s, want %d", kinds[kind], kind, n)
		}
	}
	states := map[string]string{}
	tapes, err := db.Tapes(ctx)
	must(t, err)
	for _, tape := range tapes {
		states[tape.Barcode] = tape.State
	}
	for barcode, state := range map[string]string{"VT0002L8": catalog.TapeFull, "VT0003L8": catalog.TapeOpen, "VT0004L8": catalog.TapeSuspect} {
		if states[barcode] != state {
			t.Errorf("tape %s is %q, want %q", barcode, states[barcode], state)
		}
	}
	var receipts []int64
	must(t, db.Receipts(ctx, time.Time{}, func(r *catalog.Receipt) error { receipts = append(receipts, r.ID); return nil }))
	if len(receipts) != 8 {
		t.Errorf("%d receipts, want 8: %v", len(receipts), receipts)
	}
	for path, removed := range map[string]bool{"/src/1": true, "/src/4": true, "/src/fuenf": false} {
		if v, err := db.Resolve(ctx, path); err != nil || v.Removed != removed {
			t.Errorf("%s: %+v, %v", path, v, err)
		}
	}
	if v, err := db.Resolve(ctx, "/src/7"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("/src/7 was forgotten, and is there: %+v, %v", v, err)
	}
}
