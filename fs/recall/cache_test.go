package recall

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

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
	name := extentName(owner, o.OID, 0)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	w.read(f, want, 0, 1000)
	if err := other.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !owner.cache.Put(o.OID, 0, o.bytes[:es]) && !owner.cache.Has(o.OID, 0) {
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
