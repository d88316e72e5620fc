package rebuild

import (
	"bytes"
	"testing"
)

// A manifest that does not follow the one before it is remarked on, and so is a second one of the same number; one behind a
// gap is not, and the gap is named.
func TestManifestsFollowEachOther(t *testing.T) {
	mac := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	first := foundManifest{Name: "1", Seq: 1, MAC: mac(1), Previous: mac(0)}
	second := foundManifest{Name: "2", Seq: 2, MAC: mac(2), Previous: mac(1)}
	fourth := foundManifest{Name: "4", Seq: 4, MAC: mac(4), Previous: mac(3)}
	stranger := foundManifest{Name: "stranger", Seq: 2, MAC: mac(9), Previous: mac(8)}

	s := &survey{Manifests: []foundManifest{first, second, fourth}}
	s.chain()
	if len(s.Remarks) != 0 || len(s.Gaps) != 1 || s.Gaps[0] != 3 {
		t.Errorf("remarks %v, gaps %v", s.Remarks, s.Gaps)
	}
	for what, found := range map[string][]foundManifest{
		"one that follows another":         {first, stranger},
		"a second one of the same number":  {first, second, stranger},
		"a first one that follows another": {{Name: "stranger", Seq: 1, MAC: mac(1), Previous: mac(5)}},
	} {
		s := &survey{Manifests: found}
		s.chain()
		if len(s.Remarks) != 1 || s.Remarks[0].Name != "stranger" || len(s.Gaps) != 0 {
			t.Errorf("%s: remarks %v, gaps %v", what, s.Remarks, s.Gaps)
		}
	}
}
