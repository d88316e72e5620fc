package archiver

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A manifest whose proof names another one before it than its first record does is not proved, though its MAC is right.
func TestManifestSaysTwiceWhatWasBefore(t *testing.T) {
	l := newJournalLife(t)
	l.archive(oid(1), map[string]string{"a": "a"}, nil, 4<<20, 0)
	l.manifest(0)
	l.archive(oid(2), map[string]string{"b": "b"}, nil, 4<<20, 0)
	m := l.manifest(0)
	sealed, err := os.ReadFile(filepath.Join(l.hands[0].dir, m.Name))
	must(t, err)
	text, err := os.ReadFile(filepath.Join(l.hands[0].dir, macName(m.Name)))
	must(t, err)
	proof, err := parseMAC(text)
	must(t, err)

	proof.Previous = bytes.Repeat([]byte{7}, 32)
	h := l.key.ManifestMAC(proof.header())
	h.Write(sealed)
	proof.MAC = h.Sum(nil)
	_, err = readManifest(m.Name, bytes.NewReader(sealed), proof.text(), l.key, func(any) error { return nil })
	if !errors.Is(err, ErrUnproved) {
		t.Errorf("it is believed: %v", err)
	}
}

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
