package recall

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tapefs/catalog"
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

func TestRestartKeepsTheCache(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(3*es, 4*es)
	want := w.version(1, o, 0, 3*es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	w.read(w.open(q, 1), want, 0, len(want))
	if err := q.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(q.o.CacheDir, "tmp")); !os.IsNotExist(err) {
		t.Errorf("temporary files are left: %v", err)
	}

	q = w.queueOf(nil, Options{})
	if n := q.CachedBytes(1); n != 3*es {
		t.Errorf("%d cached bytes after a restart", n)
	}
	if n := q.CachedBytes(2); n != 0 {
		t.Errorf("%d cached bytes of an unknown version", n)
	}
	before := w.located
	for range 1000 {
		q.CachedBytes(1)
		q.CachedBytes(77)
	}
	if w.located != before {
		t.Error("CachedBytes asked the catalog")
	}
	f := w.open(q, 1)
	if f.Complete() {
		t.Error("what was not verified yet counts as complete")
	}
	w.read(f, want, 0, len(want))
	if !f.Complete() {
		t.Error("not complete")
	}
}

func TestBadCacheEntriesAreFetchedAgain(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(3*es, 4*es)
	want := w.version(1, o, 0, 3*es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	dir := filepath.Join(q.o.CacheDir, o.OID[:2], o.OID)
	for i, spoil := range []func(name string) error{
		func(name string) error { flip(t, name, 0); return nil },
		func(name string) error { flip(t, name, es/2); return nil },
		func(name string) error { flip(t, name, es-1); return nil },
		func(name string) error { return os.Truncate(name, es-1) },
		func(name string) error { return os.Truncate(name, 0) },
		func(name string) error { return os.Remove(name) },
		func(name string) error { return os.WriteFile(name, make([]byte, es), 0o600) },
	} {
		w.read(w.open(q, 1), want, 0, len(want))
		if err := q.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		loads := w.count("load A")
		if err := spoil(filepath.Join(dir, "000001")); err != nil {
			t.Fatal(err)
		}
		q = w.queue(Options{})
		f := w.open(q, 1)
		w.read(f, want, 0, 1000)
		if w.count("load A") != loads {
			t.Errorf("case %d: a tape was loaded for a good extent", i)
		}
		w.read(f, want, es, 1000)
		if w.count("load A") != loads+1 {
			t.Errorf("case %d: a bad extent was not fetched again", i)
		}
	}
}

func TestCacheNeverExceedsItsMaximum(t *testing.T) {
	w := newWorld(t, 1, "A")
	const n = 12
	o := w.seal(n*es, n*es*2)
	want := w.version(1, o, 0, n*es, w.place(o, 0, "A"))
	const limit = 5*es + 100
	q := w.queue(Options{CacheMax: limit})
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			q.cache.mu.Lock() // else a file is seen twice: before and after it was renamed
			if b := extentBytes(t, q.o.CacheDir); b > limit {
				t.Errorf("%d bytes in a cache of %d", b, limit)
			}
			q.cache.mu.Unlock()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var readers sync.WaitGroup
	for i := range 4 {
		f := w.open(q, 1)
		readers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			p := make([]byte, 1000)
			for range 30 {
				off := r.Int64N(n*es - 1000)
				if _, err := f.ReadAt(context.Background(), p, off); err != nil || string(p) != string(want[off:off+1000]) {
					t.Errorf("read at %d: %v", off, err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	watch.Wait()
	if b := extentBytes(t, q.o.CacheDir); b == 0 || b > limit {
		t.Errorf("%d bytes in a cache of %d", b, limit)
	}
	q.cache.mu.Lock()
	counted := q.cache.bytes
	q.cache.mu.Unlock()
	if b := extentBytes(t, q.o.CacheDir); b != counted {
		t.Errorf("%d bytes counted, %d on disk", counted, b)
	}
}

func TestLeastRecentlyUsedGoes(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, 1)
	open := func(max int64) *Cache {
		t.Helper()
		c, err := OpenCache(dir, max, w.queue(Options{CacheDir: t.TempDir()}).log)
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
			if c.has(oid, n) != in {
				t.Errorf("extent %d: in the cache is %v", n, !in)
			}
		}
	}
	c := open(10_000)
	data := make([]byte, 1000)
	for n := range int64(10) {
		if !c.put(oid, n, data) {
			t.Fatalf("extent %d not taken", n)
		}
	}
	read := func(c *Cache, n int64) {
		t.Helper()
		if ok, err := c.read(t.Context(), oid, n, 1000, sha256.Sum256(data), make([]byte, 1), 0); !ok || err != nil {
			t.Fatalf("extent %d not read: %v", n, err)
		}
	}
	read(c, 0)
	c.put(oid, 10, data) // down to nine tenths: 1 and 2 go
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
	if c.hold(oid, 0, 0) != nil {
		t.Error("an extent was held that nobody verified")
	}
	read(c, 0)
	read(c, 10)
	held, also := c.hold(oid, 0, 0), c.hold(oid, 10, 10)
	if c.put(oid, 11, data) {
		t.Error("held extents made room")
	}
	has(c, 0, 10)
	c.release(also)
	if !c.put(oid, 11, data) {
		t.Error("no room after release")
	}
	has(c, 0, 11) // an open file holds its own extents only
	c.release(held)
	if !c.put(oid, 12, data) {
		t.Error("no room after all was released")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

const oid = "0123456789abcdef0123456789abcdef"

func TestSecondProcessReadsWithoutWriting(t *testing.T) {
	w := newWorld(t, 2, "A")
	o := w.seal(2*es, 4*es)
	want := w.version(1, o, 0, 2*es, w.place(o, 0, "A"))
	owner := w.queue(Options{IdleUnmount: time.Nanosecond})
	w.read(w.open(owner, 1), want, 0, 1000)
	other := w.queue(Options{})
	f := w.open(other, 1)
	leases := w.count("lease")
	w.read(f, want, 0, 1000)
	if w.count("lease") != leases {
		t.Error("a cached extent was read from tape")
	}
	w.read(f, want, es, 1000)
	w.read(f, want, es+5000, 1000)
	if n := w.count("lease"); n != leases+1 {
		t.Errorf("%d leases for one extent", n-leases)
	}
	if n := extentsOnDisk(t, other.o.CacheDir); n != 1 {
		t.Errorf("%d extents in the owner's cache", n)
	}
	// Files that the owner evicts are missing, nothing worse.
	name := owner.cache.file(o.OID, 0)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	w.read(f, want, 0, 1000)
	if err := other.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !owner.cache.put(o.OID, 0, o.bytes[:es]) && !owner.cache.has(o.OID, 0) {
		t.Error("the owner cannot write any more")
	}
}

func TestFullDiskServesFromMemory(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(12*es, 40*es)
	want := w.version(1, o, 0, 12*es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	// Writes fail for root too when the folder is a file.
	tmp := filepath.Join(q.o.CacheDir, "tmp")
	if err := os.Remove(tmp); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tmp, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := w.open(q, 1)
	for off := 0; off < len(want); off += 1 << 20 {
		w.read(f, want, int64(off), 1<<20)
	}
	if n := extentsOnDisk(t, q.o.CacheDir); n != 0 {
		t.Errorf("%d extents on a full disk", n)
	}
	w.wantLog("takes nothing more")
	if err := os.Remove(tmp); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	w.read(f, want, 0, 100)
	if n := extentsOnDisk(t, q.o.CacheDir); n != 1 {
		t.Errorf("%d extents when the disk has room again", n)
	}
}

func TestForeignFilesInTheCacheFolder(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, oid[:2], oid)
	for _, d := range []string{sub, filepath.Join(dir, "zz", "nothing"), filepath.Join(dir, "tmp"), filepath.Join(sub, "000007")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range map[string]string{
		"000001": "good", "1": "x", "-00001": "x", "00000x": "x", "99999999999999": "x", "000002": "",
		"versions": "5 0 4\n6 0\nx\n-1 0 4\n7 -5 4\n8 0 99999999999999999\n",
	} {
		if err := os.WriteFile(filepath.Join(sub, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "9"), []byte("left over"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := OpenCache(dir, 1<<20, newWorld(t, 0).queue(Options{}).log)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.bytes != 4 || !c.has(oid, 1) {
		t.Errorf("%d bytes found", c.bytes)
	}
	if len(c.spans) != 1 || c.bytesOf(catalog.ID(5)) != 0 {
		t.Errorf("spans %v", c.spans)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp", "9")); !os.IsNotExist(err) {
		t.Errorf("temporary file is left: %v", err)
	}
}

func TestBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var b bits
	in := map[int64]bool{}
	for range 500 {
		n := r.Int64N(300)
		v := r.IntN(3) > 0
		b.set(n, v)
		in[n] = v
		lo := r.Int64N(310)
		hi := lo + r.Int64N(100)
		var want int64
		for i := lo; i < hi; i++ {
			if in[i] != b.get(i) {
				t.Fatalf("%d: %v", i, b.get(i))
			}
			if in[i] {
				want++
			}
		}
		if got := b.count(lo, hi); got != want {
			t.Fatalf("count %d to %d: %d, want %d", lo, hi, got, want)
		}
	}
}

// The cache leaves its reserve of the file system free, however large its maximum is.
func TestCacheReserve(t *testing.T) {
	c, err := OpenCache(t.TempDir(), 1<<40, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	oid := strings.Repeat("ab", 16)
	c.reserve = -1
	if !c.put(oid, 0, []byte("kept")) {
		t.Error("an extent is refused without a reserve")
	}
	c.reserve = 1 << 60
	if c.put(oid, 1, []byte("refused")) || c.has(oid, 1) {
		t.Error("an extent is kept although the reserve is not free")
	}
	if c.has(oid, 0) {
		t.Error("an extent stays although the reserve is not free")
	}
}
