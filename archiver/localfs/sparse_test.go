package localfs

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/fs/recall/blocksums"
)

// What is zeros becomes a hole, and the file keeps its bytes and its time. What sums alone call zeros stays as it is.
func TestPunchMakesHolesOfZerosAlone(t *testing.T) {
	const size = 4<<20 + 1000
	content := bytes.Repeat([]byte{7}, size)
	clear(content[1<<20 : 3<<20])
	for what, summed := range map[string][]byte{"its own sums": content, "sums of zeros": make([]byte, size)} {
		dir := t.TempDir()
		name, sums := filepath.Join(dir, "file"), filepath.Join(dir, "sums")
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := blocksums.Create(sums)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(summed)
		sum := sha256.Sum256(summed)
		zeros := w.Zeros()
		if err := w.Commit(sum[:]); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var before, after unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &before); err != nil {
			t.Fatal(err)
		}
		if err := Punch(t.Context(), f, sums, size, sum[:], zeros); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if err := unix.Fstat(int(f.Fd()), &after); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(got, content) || after.Mtim != before.Mtim {
			t.Errorf("%s: %v, or other bytes, or another time", what, err)
		}
		if saved := (before.Blocks - after.Blocks) * 512; saved != 2<<20 {
			t.Errorf("%s: %d bytes saved", what, saved)
		}
	}
}

// Files that are restored take no room for their zeros, wherever the pieces begin that are written.
func TestSparseWriterLeavesZerosOut(t *testing.T) {
	content := bytes.Repeat([]byte{7}, 3<<20)
	clear(content[100<<10 : 2<<20])
	clear(content[len(content)-300<<10:])
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &SparseWriter{F: f}
	for rest := content; len(rest) > 0; {
		n := min(len(rest), 70001)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%v, or other bytes", err)
	}
}
