package rebuild

import (
	"bytes"
	"slices"
	"testing"
)

// What one record of a proved manifest says is refused by name; all others are taken.
func TestRecordsAreRefusedAlone(t *testing.T) {
	records := frozenRecords(t, "records")
	odd := slices.Clone(records)
	n := 0
	for _, raw := range records {
		if bytes.HasPrefix(raw, []byte(`{"type":"dir"`)) || bytes.HasPrefix(raw, []byte(`{"type":"member"`)) {
			// Beside each there is one that no catalog can hold.
			bad := bytes.Replace(raw, []byte(`"id":`), []byte(`"id":-7,"was":`), 1)
			odd = append(odd, bad, raw)
			n++
		}
	}
	db, err := takeRecords(t, odd)
	must(t, err)
	if n == 0 {
		t.Fatal("no record was changed")
	}
	if v, err := db.Resolve(t.Context(), "/src/d\xff/deep/f\n<&>"); err != nil || v.Size != 3 {
		t.Errorf("%+v, %v", v, err)
	}
}
