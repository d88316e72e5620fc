package recall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
	"github.com/tapefs/tapefs/crypto"
)

// archive is a virtual library, a catalog and a key.
type archive struct {
	*testing.T
	ctx  context.Context
	dir  string
	vl   *virtual.Library
	cfg  changer.Config
	lib  *changer.Library
	db   *catalog.DB
	keys *crypto.Keyring
	log  *slog.Logger

	run    catalog.Run
	source catalog.Source
	key    catalog.SealKey
	pool   catalog.Pool
}

func ok[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (a *archive) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

func newArchive(t *testing.T, o virtual.Options) *archive {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	a := &archive{T: t, dir: t.TempDir(), log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	var cancel context.CancelFunc
	a.ctx, cancel = context.WithTimeout(context.Background(), 2*time.Minute)
	a.vl = ok(virtual.Create(filepath.Join(a.dir, "library"), o))(t)
	bin := func(name string) string { return filepath.Join(a.vl.Bin, name) }
	a.cfg = changer.Config{Changer: a.vl.Changer, RunDir: filepath.Join(a.dir, "run"),
		Programs: changer.Programs{Mtx: bin("mtx"), Mt: bin("mt"), Mkltfs: bin("mkltfs"), Ltfs: bin("ltfs"), Ltfsck: bin("ltfsck"), Lsscsi: bin("lsscsi")},
	}
	for _, d := range a.vl.Drives {
		a.cfg.Drives = append(a.cfg.Drives, changer.DriveConfig{Serial: d.Serial, Device: d.Device, Tape: d.Tape, Element: d.Element})
	}
	a.lib = ok(changer.Open(a.cfg, a.log))(t)
	a.db = ok(catalog.Create(a.ctx, filepath.Join(a.dir, "catalog.db")))(t)
	t.Cleanup(func() {
		cancel()
		a.cleanup()
		if err := a.db.Close(); err != nil {
			t.Error(err)
		}
	})
	keys := filepath.Join(a.dir, "keys")
	a.must(os.Mkdir(keys, 0o700))
	a.keys = ok(crypto.LoadKeyring(keys))(t)
	key := ok(crypto.NewKey())(t)
	ok(a.keys.Add(keys, key))(t)

	a.run = ok(a.db.StartRun(a.ctx, "archive", nil))(t)
	a.source = ok(a.db.EnsureSource(a.ctx, "src", "/src"))(t)
	a.key = ok(a.db.EnsureKey(a.ctx, key.Fingerprint(), crypto.CTR, crypto.DefaultIterations))(t)
	a.pool = ok(a.db.EnsurePool(a.ctx, "main"))(t)
	return a
}

// cleanup leaves no mount and no process behind, also when the test failed.
func (a *archive) cleanup() {
	for deadline := time.Now().Add(10 * time.Second); a.anyLtfs(); time.Sleep(20 * time.Millisecond) {
		_ = a.vl.Fault("clear")
		for _, d := range a.cfg.Drives {
			_ = syscall.Unmount(filepath.Join(a.cfg.RunDir, "ltfs", d.Serial), syscall.MNT_DETACH)
		}
		if time.Now().After(deadline) {
			a.Error("an ltfs process could not be ended")
			return
		}
	}
}

func (a *archive) anyLtfs() bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(all, func(name string) bool {
		b, err := os.ReadFile(name)
		return err == nil && strings.Contains(string(b), "devname="+a.vl.Dir)
	})
}

// write seals one file of size bytes as an object with parts of partSize, on the given tape, and
// records all of it. Returns the version and its bytes.
func (a *archive) write(barcode, name string, size, partSize int64) (catalog.ID, []byte) {
	a.Helper()
	ctx := a.ctx
	const data = 1024 // of the bytes in the plain stream, where tar has its headers
	plain := make([]byte, data+size)
	rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(plain)

	// planned and fetched
	oid := fmt.Sprintf("%032x", sha256.Sum256([]byte(name)))[:32]
	batch, planned, err := a.db.PlanBatch(ctx, catalog.Batch{Run: a.run.ID, Source: a.source.ID, Dir: "b-" + name}, []catalog.NewObject{{
		OID: oid, Key: a.key.ID, PartSize: partSize, PlannedSize: size, Pools: []int64{a.pool.ID},
		Members: []catalog.NewVersion{{Existing: a.source.Root}, {Parent: a.source.Root, Name: name, Kind: catalog.File, Size: size}},
	}})
	a.must(err)
	v := planned[0].Versions[1]
	a.must(a.db.MarkFetched(ctx, a.run.ID, batch.ID, []catalog.Fetched{{Version: v.ID, Size: size}}, time.Now()))
	a.must(a.db.SetBatchState(ctx, batch.ID, catalog.Synced, size))

	// sealed
	key := ok(a.keys.Current())(a)
	salt := ok(a.db.DrawSalt(ctx, a.key.ID, "object"))(a)
	stream := ok(key.Stream(salt))(a)
	var sealed bytes.Buffer
	w := ok(stream.NewWriter(&sealed))(a)
	ok(w.Write(plain))(a)

	// written
	le := ok(a.lib.Lease(ctx, changer.Request{Barcode: changer.Barcode(barcode), Purpose: "archive"}))(a)
	defer func() { a.must(le.Release(ctx)) }()
	a.must(le.Load(ctx, changer.Barcode(barcode)))
	tape, err := a.db.TapeByBarcode(ctx, barcode)
	if errors.Is(err, catalog.ErrNotFound) {
		uuid := ok(le.Format(ctx, changer.FormatRequest{Barcode: changer.Barcode(barcode)}))(a)
		tape, err = a.db.AddTape(ctx, catalog.Tape{Barcode: barcode, UUID: uuid, Pool: a.pool.ID, State: catalog.TapeOpen})
	}
	a.must(err)
	vol := ok(le.Mount(ctx, changer.MountRequest{UUID: tape.UUID}))(a)
	owed := ok(a.db.OwedCopies(ctx, a.pool.ID))(a)
	if len(owed) != 1 {
		a.Fatalf("%d copies owed", len(owed))
	}
	var written []int64
	parts := slices.Collect(slices.Chunk(sealed.Bytes(), int(partSize)))
	for i, part := range parts {
		file := fmt.Sprintf("%s.tar.enc.%04d", oid, i)
		cp := ok(a.db.AddCopyPart(ctx, catalog.CopyPart{Copy: owed[0].ID, Number: i, Tape: tape.ID, Name: file}))(a)
		written = append(written, cp.ID)
		a.must(os.WriteFile(filepath.Join(vol.Dir, file), part, 0o600))
		sum := sha256.Sum256(part)
		closed := catalog.ClosedPart{CopyPart: cp.ID, StartBlock: ok(vol.StartBlock(file))(a),
			Part: catalog.Part{Number: i, Size: int64(len(part)), SHA256: sum[:]}}
		for e := range slices.Chunk(part, catalog.ExtentSize) {
			s := sha256.Sum256(e)
			closed.Part.Sums = append(closed.Part.Sums, s[:]...)
		}
		var packing *catalog.Packing
		if i == len(parts)-1 {
			packing = &catalog.Packing{Object: planned[0].ID, Salt: salt, PlainSize: int64(len(plain)), SealedSize: int64(sealed.Len()),
				Members: []catalog.PackedMember{
					{Member: catalog.Member{Version: a.source.Root, Header: 0, Data: -1}},
					{Member: catalog.Member{Version: v.ID, Header: 512, Data: data}, SHA256: sum[:]},
				}}
		}
		a.must(a.db.PartClosed(ctx, closed, packing))
	}
	// Durable is what a durable manifest names.
	ok(a.db.AddManifest(ctx, catalog.Manifest{Tape: tape.ID, Seq: 1, Name: "manifest", MAC: salt, Previous: make([]byte, 32)}, written))(a)
	generation := ok(vol.Sync(ctx))(a)
	a.must(a.db.MarkDurable(ctx, tape.ID, generation, 0, time.Now()))
	a.must(a.db.ReleaseBatch(ctx, batch.ID))
	return v.ID, plain[data:]
}

// events lists what the library did since the n-th event.
func (a *archive) events(n int) []virtual.Event {
	a.Helper()
	return ok(a.vl.Log())(a)[n:]
}

func (a *archive) queue(o Options) *Queue {
	a.Helper()
	db := ok(catalog.OpenReadOnly(a.ctx, filepath.Join(a.dir, "catalog.db")))(a)
	o.CacheDir, o.CacheMax, o.Log = filepath.Join(a.dir, "cache"), 1<<30, a.log
	q := ok(New(db, a.keys, a.lib, o))(a)
	a.Cleanup(func() {
		if err := q.Close(context.Background()); err != nil {
			a.Error(err)
		}
		db.Close()
		if a.anyLtfs() {
			a.Error("an ltfs process outlived the queue")
		}
	})
	return q
}

func TestVirtualLibrary(t *testing.T) {
	a := newArchive(t, virtual.Options{Slots: 4, Drives: 2, TapeSize: 256 << 20})
	big, bigBytes := a.write("VT0001L8", "big", 70<<20, 8*es)
	other, otherBytes := a.write("VT0002L8", "other", 3*es+77, 2*es)

	q := a.queue(Options{IdleUnmount: time.Hour})
	start := len(a.events(0))
	f := ok(q.Open(a.ctx, big))(t)
	if f.Complete() || q.CachedBytes(big) != 0 {
		t.Error("complete before anything was read")
	}
	check := func(f *File, want []byte, off int64, n int) {
		t.Helper()
		p := make([]byte, n)
		if _, err := f.ReadAt(a.ctx, p, off); err != nil || !bytes.Equal(p, want[off:off+int64(n)]) {
			t.Fatalf("read %d at %d: %v", n, off, err)
		}
	}
	delivered := func(barcode string) (n int64) {
		for _, e := range a.events(start) {
			if e.Kind == "read" && e.Barcode == barcode {
				n += e.Bytes
			}
		}
		return n
	}

	// The last 4 KiB bring in no more than the extents that hold them.
	check(f, bigBytes, int64(len(bigBytes))-4096, 4096)
	a.must(f.Close())
	a.must(q.Close(a.ctx)) // the drive's log is whole after the unmount
	if a.anyLtfs() {
		t.Error("an ltfs process outlived the queue")
	}
	if n := delivered("VT0001L8"); n == 0 || n > 2*es {
		t.Errorf("the drive delivered %d bytes for the last 4096", n)
	}
	start = len(a.events(0))
	q = a.queue(Options{IdleUnmount: time.Hour})
	f = ok(q.Open(a.ctx, big))(t)

	// All of it, in the size that the kernel asks for, from one mount, each extent once.
	for off := int64(0); off < int64(len(bigBytes)); off += 1 << 20 {
		check(f, bigBytes, off, int(min(1<<20, int64(len(bigBytes))-off)))
	}
	if !f.Complete() || q.CachedBytes(big) != int64(len(bigBytes)) {
		t.Error("all was read, and yet it is not complete")
	}

	// Another tape, in the other drive.
	g := ok(q.Open(a.ctx, other))(t)
	check(g, otherBytes, 2*es-5000, 10_000)
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		n := 1 + r.IntN(100_000)
		check(g, otherBytes, r.Int64N(int64(len(otherBytes)-n)), n)
		check(f, bigBytes, r.Int64N(int64(len(bigBytes)-n)), n)
	}
	mounts := map[string]int{}
	for _, e := range a.events(start) {
		if e.Kind == "mount" {
			mounts[e.Barcode]++
		}
	}
	if mounts["VT0001L8"] != 1 || mounts["VT0002L8"] != 1 {
		t.Errorf("mounts: %v", mounts)
	}
	for _, f := range []*File{f, g} {
		a.must(f.Close())
	}

	// Another process gets an idle drive at once.
	le := ok(a.lib.Lease(a.ctx, changer.Request{Barcode: "VT0001L8", Purpose: "archive"}))(t)
	a.must(le.Release(a.ctx))
	if n, most := delivered("VT0001L8"), int64(len(bigBytes)+es); n < int64(len(bigBytes))-2*es || n > most {
		t.Errorf("the drive delivered %d bytes of %d", n, len(bigBytes))
	}
}

func TestVirtualReadError(t *testing.T) {
	a := newArchive(t, virtual.Options{Slots: 3, Drives: 1, TapeSize: 64 << 20})
	id, want := a.write("VT0001L8", "file", 3*es, 4*es)
	a.must(a.vl.Fault(fmt.Sprintf("read-eio=VT0001L8:%d", 5<<20)))
	q := a.queue(Options{})
	f := ok(q.Open(a.ctx, id))(t)
	defer f.Close()
	p := make([]byte, 100)
	damaged := 0
	for _, off := range []int64{0, es, 2*es + 5000} {
		n, err := f.ReadAt(a.ctx, p, off)
		switch {
		case errors.Is(err, ErrDamaged) && n == 0:
			damaged++
		case err != nil || !bytes.Equal(p, want[off:off+100]):
			t.Errorf("read at %d: %v", off, err)
		}
	}
	if damaged != 1 {
		t.Errorf("%d of 3 extents are damaged", damaged)
	}
}

func TestVirtualLtfsDies(t *testing.T) {
	a := newArchive(t, virtual.Options{Slots: 3, Drives: 1, TapeSize: 64 << 20})
	id, want := a.write("VT0001L8", "file", 3*es, 4*es)
	q := a.queue(Options{IdleUnmount: time.Hour})
	f := ok(q.Open(a.ctx, id))(t)
	defer f.Close()
	p := make([]byte, 100)
	for _, off := range []int64{0, 2 * es} {
		if _, err := f.ReadAt(a.ctx, p, off); err != nil || !bytes.Equal(p, want[off:off+100]) {
			t.Fatalf("read at %d: %v", off, err)
		}
		a.must(a.vl.Fault("kill-ltfs"))
	}
}
