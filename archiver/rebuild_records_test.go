package archiver

import (
	"bytes"
	"slices"
	"testing"
)

// What one record of a proved manifest says is refused by name; all others are taken.
func TestRecordsAreRefusedAlone(t *testing.T) {
	records := frozenRecords(t)
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

// Half a .mac file is told from one that says something else.
func TestCutOffProof(t *testing.T) {
	m := macText{Catalog: "cccccccc-0000-0000-0000-000000000000", Volume: volumeA, Seq: 1, Previous: make([]byte, 32), MAC: make([]byte, 32)}
	whole := m.text()
	for n := range len(whole) {
		if !cutOff(whole[:n]) {
			t.Errorf("%d of %d bytes are taken for all", n, len(whole))
		}
	}
	for _, proof := range [][]byte{whole, []byte("something else"), append(whole, 'x'), bytes.Replace(whole, []byte("seq=1"), []byte("seq=2"), 1)} {
		if cutOff(proof) {
			t.Errorf("%q is taken for the beginning of a proof", proof)
		}
	}
}
