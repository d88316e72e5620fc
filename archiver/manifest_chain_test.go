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

// All manifests of a tape are proved by then. One that follows another one than the tape has is taken and remarked on: an older
// catalog was put back once. One behind a gap is taken, and the gap is named.
func TestManifestsFollowEachOther(t *testing.T) {
	mac := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	first := foundManifest{Name: "1", Seq: 1, MAC: mac(1), Previous: mac(0)}
	second := foundManifest{Name: "2", Seq: 2, MAC: mac(2), Previous: mac(1)}
	fourth := foundManifest{Name: "4", Seq: 4, MAC: mac(4), Previous: mac(3)}
	stranger := foundManifest{Name: "stranger", Seq: 2, MAC: mac(9), Previous: mac(8)}

	s := &survey{Manifests: []foundManifest{first, second, fourth}}
	s.chain()
	if len(s.Manifests) != 3 || len(s.Refused) != 0 || len(s.Remarks) != 0 || len(s.Gaps) != 1 || s.Gaps[0] != 3 {
		t.Errorf("manifests %v, refused %v, gaps %v", s.Manifests, s.Refused, s.Gaps)
	}
	s = &survey{Manifests: []foundManifest{first, stranger}}
	s.chain()
	if len(s.Manifests) != 2 || len(s.Refused) != 0 || len(s.Remarks) != 1 || s.Remarks[0].Name != "stranger" {
		t.Errorf("manifests %v, refused %v, remarks %v", s.Manifests, s.Refused, s.Remarks)
	}
	s = &survey{Manifests: []foundManifest{{Name: "1", Seq: 1, MAC: mac(1), Previous: mac(5)}}}
	s.chain()
	if len(s.Manifests) != 1 || len(s.Refused) != 0 || len(s.Remarks) != 1 {
		t.Errorf("a first one that follows another: manifests %v, refused %v, remarks %v", s.Manifests, s.Refused, s.Remarks)
	}
}
