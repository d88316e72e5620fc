package blocksums

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzReadPage: a file of sums that was tampered with is noticed, or answers as the true one does.
func FuzzReadPage(f *testing.F) {
	content := bytes.Repeat([]byte("some content of a file"), 3*Block/22+1)
	sum := sha256.Sum256(content)
	name := filepath.Join(f.TempDir(), "sums")
	w, err := Create(name)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		f.Fatal(err)
	}
	if err := w.Commit(sum[:]); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, int64(0))
	f.Add(good, int64(3))
	f.Add(good[:len(good)-1], int64(1))
	f.Add(good[:headerSize], int64(-1))
	f.Fuzz(func(t *testing.T, text []byte, block int64) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := ReadPage(name, int64(len(content)), sum[:], block)
		if err != nil {
			return
		}
		if !p.Has(block) || block < 0 || block*Block >= int64(len(content)) {
			t.Fatalf("a page without block %d", block)
		}
		data := content[block*Block : min(int64(len(content)), (block+1)*Block)]
		if err := p.Check(block, data); errors.Is(err, ErrOther) {
			t.Fatalf("true bytes are called others by sums that are not those of the file: %v", err)
		}
	})
}
