package manifest

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
	text, err := os.ReadFile(filepath.Join(l.hands[0].dir, MacName(m.Name)))
	must(t, err)
	proof, err := ParseProof(text)
	must(t, err)

	proof.Previous = bytes.Repeat([]byte{7}, 32)
	h := l.key.ManifestMAC(proof.Header())
	h.Write(sealed)
	proof.MAC = h.Sum(nil)
	_, err = Read(m.Name, bytes.NewReader(sealed), proof.text(), l.key, func(any) error { return nil })
	if !errors.Is(err, ErrUnproved) {
		t.Errorf("it is believed: %v", err)
	}
}
