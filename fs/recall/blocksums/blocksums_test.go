package blocksums

import (
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// make sums data, in pieces of odd sizes.
func makeSums(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	w, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(3*Block))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	sum := sha256.Sum256(data)
	if err := w.Commit(sum[:]); err != nil {
		t.Fatal(err)
	}
	return sum[:]
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(n)})
	rng.Read(b) //nolint:errcheck // it has no errors
	return b
}

// TestEveryBlockHasItsSum: of files that end within, at and behind a block and a page each block has its own sum and no other.
func TestEveryBlockHasItsSum(t *testing.T) {
	name := filepath.Join(t.TempDir(), "new", "7")
	for _, size := range []int{1, Block - 1, Block, Block + 1, 3*Block + 5, pageBlocks * Block, pageBlocks*Block + 1} {
		data := randomBytes(size)
		sum := makeSums(t, name, data)
		if err := Check(name, int64(size), sum); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		var p Page
		for n := range int64((size + Block - 1) / Block) {
			if !p.Has(n) {
				var err error
				if p, err = ReadPage(name, int64(size), sum, n); err != nil {
					t.Fatalf("%d bytes, block %d: %v", size, n, err)
				}
			}
			block := data[n*Block : min((n+1)*Block, int64(size))]
			if err := p.Check(n, block); err != nil || p.Zeros(n) {
				t.Errorf("%d bytes, block %d: %v", size, n, err)
			}
			block[len(block)/2] ^= 1
			if err := p.Check(n, block); !errors.Is(err, ErrOther) {
				t.Errorf("%d bytes, block %d with one bit changed: %v", size, n, err)
			}
		}
		if _, err := ReadPage(name, int64(size), sum, int64(size/Block+1)); err == nil {
			t.Errorf("%d bytes: sum of a block behind the end", size)
		}
	}
}

// TestSumsOfOthersAreNotUsed: whatever happens to a file of sums, it is never believed and never said to be the file's damage.
func TestSumsOfOthersAreNotUsed(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "7")
	data := randomBytes(5 * Block)
	sum := makeSums(t, name, data)
	other := sha256.Sum256(data[1:])
	for what, err := range map[string]error{
		"none":               Check(filepath.Join(dir, "8"), int64(len(data)), sum),
		"of another size":    Check(name, int64(len(data))-1, sum),
		"of another content": Check(name, int64(len(data)), other[:]),
	} {
		if !errors.Is(err, ErrUnusable) || errors.Is(err, ErrOther) {
			t.Errorf("sums %s: %v", what, err)
		}
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for at := range good {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x10
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPage(name, int64(len(data)), sum, 2); !errors.Is(err, ErrUnusable) {
			t.Fatalf("byte %d of the sums is changed: %v", at, err)
		}
	}
	for n := range good {
		if err := os.WriteFile(name, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPage(name, int64(len(data)), sum, 2); !errors.Is(err, ErrUnusable) {
			t.Fatalf("the sums end after %d bytes: %v", n, err)
		}
	}
}

// TestDropLeavesNothing also shows that sums which were there stay until others are whole.
func TestDropLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "7")
	data := randomBytes(3 * Block)
	sum := makeSums(t, name, data)
	w, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[:Block]); err != nil {
		t.Fatal(err)
	}
	w.Drop()
	if err := Check(name, int64(len(data)), sum); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestZeros: a whole block of zeros is known as one.
func TestZeros(t *testing.T) {
	name := filepath.Join(t.TempDir(), "7")
	data := make([]byte, 3*Block)
	data[Block+9] = 1
	sum := makeSums(t, name, data)
	p, err := ReadPage(name, int64(len(data)), sum, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Zeros(0) || p.Zeros(1) || !p.Zeros(2) {
		t.Errorf("zeros: %t %t %t", p.Zeros(0), p.Zeros(1), p.Zeros(2))
	}
}
