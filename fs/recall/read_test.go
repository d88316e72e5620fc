package recall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

func TestReadsAcrossExtentsAndParts(t *testing.T) {
	w := newWorld(t, 2, "A", "B")
	o := w.seal(5*es+12345, 2*es) // parts of 2, 2 and 2 extents
	whole := w.version(1, o, 0, int64(len(o.plain)), w.place(o, 10, "A", "B", "A"))
	const from, size = es - 700, 3*es + 99
	inner := w.version(2, o, from, size, w.locs[1].Places...)
	q := w.queue(Options{})
	f1, f2 := w.open(q, 1), w.open(q, 2)
	// Borders of extents in the plain stream lie 16 bytes before multiples of the extent size.
	for _, at := range []int64{0, 1, es - 17, es - 16, es - 15, 2*es - 16 - 100, 4*es - 16 - 1} {
		w.read(f1, whole, at, 1)
		w.read(f1, whole, at, 300)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		w.read(f1, whole, r.Int64N(int64(len(whole))), 1+r.IntN(200_000))
		w.read(f2, inner, r.Int64N(size), 1+r.IntN(200_000))
	}
	w.read(f1, whole, 0, len(whole))
	w.read(f2, inner, 0, len(inner)+10)
	w.read(f2, inner, size-1, 1)
	w.read(f2, inner, size, 1)
	w.read(f2, inner, size+es, 1)
	if _, err := f2.ReadAt(context.Background(), make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read at -1: %v", err)
	}
	if !f1.Complete() || !f2.Complete() {
		t.Error("all was read, and yet a file is not complete")
	}
	if n := q.CachedBytes(1); n != int64(len(whole)) {
		t.Errorf("%d cached bytes, not %d", n, len(whole))
	}
	if n := q.CachedBytes(2); n != size {
		t.Errorf("%d cached bytes, not %d", n, size)
	}
}

func TestEmptyFile(t *testing.T) {
	w := newWorld(t, 1, "A")
	w.locs[7] = catalog.Location{Version: catalog.Version{ID: 7, Kind: catalog.File, State: catalog.Present}}
	f := w.open(w.queue(Options{}), 7)
	w.read(f, nil, 0, 10)
	if !f.Complete() {
		t.Error("an empty file is not complete")
	}
}

func TestLastBytesOfAGiBBringInOneExtent(t *testing.T) {
	w := newWorld(t, 1, "A")
	// Only the end of the object is made; the rest is a hole with sums that it does not have.
	const size = 1 << 30
	salt := []byte("saltsalt")
	stream, err := w.key.Stream(salt)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789abcdef"), 4096/16)
	tail := make([]byte, crypto.HeaderSize)
	stream.At(size-crypto.HeaderSize).XORKeyStream(tail[:16], want[4096-16:])
	before := make([]byte, es)
	copy(before[es-4080:], want[:4080])
	stream.At(size-es-crypto.HeaderSize).XORKeyStream(before, before)
	name := filepath.Join(w.tape("A"), "big")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), func() error { _, err := f.WriteAt(tail, size); return err }(),
		func() error { _, err := f.WriteAt(before, size-es); return err }(), f.Close()); err != nil {
		t.Fatal(err)
	}
	sums := make([]byte, (size/es+1)*sha256.Size)
	s := sha256.Sum256(before)
	copy(sums[(size/es-1)*sha256.Size:], s[:])
	s = sha256.Sum256(tail)
	copy(sums[size/es*sha256.Size:], s[:])
	w.sums[[2]int64{1, 0}] = sums
	w.locs[1] = catalog.Location{
		Version: catalog.Version{ID: 1, Kind: catalog.File, Size: size, State: catalog.Present},
		Object: catalog.Object{ID: 1, OID: "0123456789abcdef0123456789abcdef", Fingerprint: w.key.Fingerprint(), Salt: salt,
			PartSize: 2 << 30, PlainSize: size, SealedSize: size + crypto.HeaderSize, State: catalog.ObjectPacked},
		Places: []catalog.Place{{Parts: []catalog.CopyPart{{ID: 1, Barcode: "A", Name: "big", Size: size + crypto.HeaderSize, State: catalog.PartDurable}}}},
	}

	q := w.queue(Options{})
	file := w.open(q, 1)
	p := make([]byte, 4096)
	if _, err := file.ReadAt(context.Background(), p, size-4096); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p, want) {
		t.Error("not the original's bytes")
	}
	if n := extentsOnDisk(t, q.o.CacheDir); n != 2 {
		t.Errorf("%d extents were read from tape", n)
	}
	if file.Complete() {
		t.Error("complete after its last bytes")
	}
	if n := q.CachedBytes(1); n != es+crypto.HeaderSize {
		t.Errorf("%d cached bytes", n)
	}
	if _, err := file.ReadAt(context.Background(), p, 0); !errors.Is(err, ErrDamaged) {
		t.Errorf("a hole was read: %v", err)
	}
}

func extentsOnDisk(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "??", "*", "[0-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestSpool(t *testing.T) {
	for _, local := range []bool{false, true} {
		w := newWorld(t, 1, "A")
		o := w.seal(es, es*2)
		want := w.version(1, o, 512, 5000, w.place(o, 0, "A"))
		spool := filepath.Join(w.dir, "spool")
		dir := filepath.Join(spool, "batch-1")
		if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "sub", "file")
		when := time.Unix(1234567890, 123456789)
		write := func(data []byte, mtime time.Time) {
			t.Helper()
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(name, mtime, mtime); err != nil {
				t.Fatal(err)
			}
		}
		loc := w.locs[1]
		loc.Version.MTime = catalog.Time{Sec: when.Unix(), Nsec: int32(when.Nanosecond())}
		sum := sha256.Sum256(want)
		loc.Version.SHA256 = sum[:]
		loc.Batch, loc.Path = &catalog.Batch{ID: 1, Dir: "batch-1", State: catalog.Synced}, "sub/file"
		if local {
			loc.Batch.Local, loc.Batch.Dir = true, dir
		}
		w.locs[1] = loc

		q := w.queue(Options{SpoolDir: spool})
		write(want, when)
		f := w.open(q, 1)
		if !f.Complete() {
			t.Error("a spool copy is not complete")
		}
		w.read(f, want, 100, 1000)
		w.read(f, want, 4000, 2000)
		released := w.open(q, 1)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		w.read(released, want, 0, 5000)
		if n := w.count("lease"); n != 0 {
			t.Errorf("%d leases for a spool copy", n)
		}
		// What was changed is not served, before or after it was opened.
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(want, when)
		f = w.open(q, 1)
		bad := bytes.Repeat([]byte("x"), 5000)
		write(bad, when.Add(1))
		w.read(f, want, 0, 5000)
		w.read(f, want, 3, 50)
		if n := w.count("lease"); n != 1 {
			t.Errorf("%d leases", n)
		}
		write(bad[:4999], when)
		w.read(w.open(q, 1), want, 0, 5000)
		write(bad, when.Add(-1))
		w.read(w.open(q, 1), want, 0, 5000)
	}
}

func TestSpoolNamesStayInside(t *testing.T) {
	w := newWorld(t, 1, "A")
	outside := filepath.Join(w.dir, "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(outside)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "spool", "b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	q := w.queue(Options{SpoolDir: filepath.Join(w.dir, "spool")})
	for i, c := range []struct{ dir, path string }{{"b", "../../outside"}, {"..", "outside"}, {"b", "link"}, {"b", outside}} {
		id := catalog.ID(10 + i)
		w.locs[id] = catalog.Location{
			Version: catalog.Version{ID: id, Kind: catalog.File, State: catalog.Present, Size: 6, SHA256: make([]byte, sha256.Size),
				MTime: catalog.Time{Sec: st.ModTime().Unix(), Nsec: int32(st.ModTime().Nanosecond())}},
			Batch: &catalog.Batch{Dir: c.dir, State: catalog.Synced}, Path: c.path,
		}
		if _, err := q.Open(context.Background(), id); !errors.Is(err, ErrNoBytes) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(1000, es)
	w.version(1, o, 0, 1000, w.place(o, 0, "A"))
	good := w.locs[1]
	q := w.queue(Options{})
	check := func(what string, want error, change func(*catalog.Location)) {
		t.Helper()
		loc := good
		change(&loc)
		w.locs[2] = loc
		f, err := q.Open(context.Background(), 2)
		if err == nil {
			f.Close()
			t.Errorf("%s: no error", what)
		} else if want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("planned", ErrNoBytes, func(l *catalog.Location) { l.Object = catalog.Object{} })
	check("void", ErrNoBytes, func(l *catalog.Location) { l.Version.State = catalog.Void })
	check("no copies", ErrNoBytes, func(l *catalog.Location) { l.Places = nil })
	check("unknown key", ErrNoKey, func(l *catalog.Location) { l.Object.Fingerprint = "x"; l.Object.ID = 99 })
	check("object id", nil, func(l *catalog.Location) { l.Object.OID = "../../../../../../../../etc" })
	check("part size", nil, func(l *catalog.Location) { l.Object.PartSize = es + 1 })
	check("size", nil, func(l *catalog.Location) { l.Version.Size = 1001 })
	check("offset", nil, func(l *catalog.Location) { l.Data = -1 })
	check("directory", nil, func(l *catalog.Location) { l.Version.Kind = catalog.Directory })
	if _, err := q.Open(context.Background(), 3); !errors.Is(err, catalog.ErrNotFound) {
		t.Error(err)
	}
}

func TestWithoutLibrary(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(2*es, 4*es)
	want := w.version(1, o, 0, 2*es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	w.read(w.open(q, 1), want, 0, 100)
	if err := q.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	q = w.queueOf(nil, Options{})
	f := w.open(q, 1)
	w.read(f, want, 0, 100)
	_, err := f.ReadAt(context.Background(), make([]byte, 10), es+100)
	if !errors.Is(err, ErrOffline) {
		t.Error(err)
	}
}
