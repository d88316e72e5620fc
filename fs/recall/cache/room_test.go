package cache

import (
	"bytes"
	"crypto/sha256"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

const (
	oid = "0123456789abcdef0123456789abcdef"
	es  = catalog.ExtentSize
)

// extentBytes sums what lies below a cache folder, temporary files included.
func extentBytes(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "versions" {
			return nil // gone meanwhile
		}
		if st, err := d.Info(); err == nil {
			sum += st.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestNeverExceedsItsMaximum: whatever is put and read at once, the files never take more than the maximum, those being written included.
func TestNeverExceedsItsMaximum(t *testing.T) {
	const extents, size, limit = 12, 40_000, 5*40_000 + 100
	dir := t.TempDir()
	c, err := Open(dir, limit, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := bytes.Repeat([]byte("four"), size/4)
	sum := sha256.Sum256(data)
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			c.mu.Lock() // else a file is seen twice: before and after it was renamed
			if b := extentBytes(t, dir); b > limit {
				t.Errorf("%d bytes in a cache of %d", b, limit)
			}
			c.mu.Unlock()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var readers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			p := make([]byte, 1000)
			for range 300 {
				n, off := r.Int64N(extents), r.Int64N(size-1000)
				ok, err := c.Read(t.Context(), oid, n, size, sum, p, off)
				if err != nil || ok && !bytes.Equal(p, data[off:off+1000]) {
					t.Errorf("read extent %d at %d: %v", n, off, err)
				}
				if !ok {
					c.Put(oid, n, data)
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	watch.Wait()
	if b, counted := extentBytes(t, dir), c.Use().Bytes; b == 0 || b > limit || b != counted {
		t.Errorf("%d bytes on disk, %d counted, in a cache of %d", b, counted, limit)
	}
}

func TestLeastRecentlyUsedGoes(t *testing.T) {
	dir := t.TempDir()
	open := func(max int64) *Cache {
		t.Helper()
		c, err := Open(dir, max, 0, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	has := func(c *Cache, want ...int64) {
		t.Helper()
		for n := range int64(20) {
			in := false
			for _, x := range want {
				in = in || x == n
			}
			if c.Has(oid, n) != in {
				t.Errorf("extent %d: in the cache is %v", n, !in)
			}
		}
	}
	c := open(10_000)
	data := make([]byte, 1000)
	for n := range int64(10) {
		if !c.Put(oid, n, data) {
			t.Fatalf("extent %d not taken", n)
		}
	}
	read := func(c *Cache, n int64) {
		t.Helper()
		if ok, err := c.Read(t.Context(), oid, n, 1000, sha256.Sum256(data), make([]byte, 1), 0); !ok || err != nil {
			t.Fatalf("extent %d not read: %v", n, err)
		}
	}
	read(c, 0)
	c.Put(oid, 10, data) // down to nine tenths: 1 and 2 go
	has(c, 0, 3, 4, 5, 6, 7, 8, 9, 10)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(3_000) // lowered: the last used stay, across the restart
	has(c, 0, 10)
	if !c.own.Load() {
		t.Error("cache not owned")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	c = open(2_500)
	if c.Hold(oid, 0, 0) != nil {
		t.Error("an extent was held that nobody verified")
	}
	read(c, 0)
	read(c, 10)
	held, also := c.Hold(oid, 0, 0), c.Hold(oid, 10, 10)
	if c.Put(oid, 11, data) {
		t.Error("held extents made room")
	}
	has(c, 0, 10)
	c.Release(also)
	if !c.Put(oid, 11, data) {
		t.Error("no room after release")
	}
	has(c, 0, 11) // an open file holds its own extents only
	c.Release(held)
	if !c.Put(oid, 12, data) {
		t.Error("no room after all was released")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// The cache leaves its reserve of the file system free, however large its maximum is.
func TestCacheReserve(t *testing.T) {
	c, err := Open(t.TempDir(), 1<<40, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.reserve = -1
	if !c.Put(oid, 0, []byte("kept")) {
		t.Error("an extent is refused without a reserve")
	}
	c.reserve = 1 << 60
	if c.Put(oid, 1, []byte("refused")) || c.Has(oid, 1) {
		t.Error("an extent is kept although the reserve is not free")
	}
	if c.Has(oid, 0) {
		t.Error("an extent stays although the reserve is not free")
	}
}
