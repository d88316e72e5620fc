package cache

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestShortageLosesNoExtent: a cached extent that cannot be opened for lack of descriptors stays, and is no damage.
func TestShortageLosesNoExtent(t *testing.T) {
	c, err := Open(t.TempDir(), 1<<30, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := bytes.Repeat([]byte("extent"), 50_000)
	c.Put(oid, 0, data)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	if ok, err := c.Read(t.Context(), oid, 0, int64(len(data)), sha256.Sum256(data), p, 0); !ok || err != nil {
		t.Fatal(ok, err)
	}
	none := was
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	give := time.AfterFunc(300*time.Millisecond, func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &was) })
	defer func() { give.Stop(); unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }()
	ok, err := c.Read(t.Context(), oid, 0, int64(len(data)), sha256.Sum256(data), p, 0)
	if !ok || err != nil || !bytes.Equal(p, data[:100]) {
		t.Errorf("read once there are descriptors again: %v, %v", ok, err)
	}
	if !c.Has(oid, 0) {
		t.Error("the extent was dropped")
	}
}

// TestPagesHaveMarks: each page has a mark of its own once its block was read for a small read, and a bit of it that flips is noticed.
func TestPagesHaveMarks(t *testing.T) {
	c, err := Open(t.TempDir(), 1<<30, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := make([]byte, es)
	rand.NewChaCha8([32]byte{}).Read(data)
	sum := sha256.Sum256(data)
	p := make([]byte, 90)
	for _, at := range []int64{pageSize, 9*pageSize + 5, es - 1} {
		c.Put(oid, 0, data)
		from := min(at, es-90)
		if ok, err := c.Read(t.Context(), oid, 0, es, sum, p, from); !ok || err != nil || !bytes.Equal(p, data[from:from+90]) {
			t.Fatalf("read at %d: %v, %v", from, ok, err)
		}
		if pages := c.entry(oid, 0).pages; pages == nil || pages[at/pageSize].Load() == 0 {
			t.Fatalf("no mark is kept of the page at %d", at)
		}
		rotten := bytes.Clone(data)
		rotten[at] ^= 1
		if err := os.WriteFile(c.file(oid, 0), rotten, 0o600); err != nil {
			t.Fatal(err)
		}
		if ok, err := c.Read(t.Context(), oid, 0, es, sum, p[:20], min(at, es-20)); ok || err != nil {
			t.Errorf("a flipped bit at %d was not noticed: %v, %v", at, ok, err)
		}
	}
}
