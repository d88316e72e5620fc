package manifest

import (
	"bytes"
	"testing"
)

// Half a .mac file is told from one that says something else.
func TestCutOffProof(t *testing.T) {
	m := Proof{Catalog: "cccccccc-0000-0000-0000-000000000000", Volume: volumeA, Seq: 1, Previous: make([]byte, 32), MAC: make([]byte, 32)}
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
