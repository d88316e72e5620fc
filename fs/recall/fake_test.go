package recall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/crypto"
)

const (
	es  = catalog.ExtentSize
	oid = "0123456789abcdef0123456789abcdef"
)

// world is a catalog, a key and a library made of folders: WORLD/tapes/BARCODE/NAME.
type world struct {
	t   testing.TB
	dir string
	key *crypto.Key
	log *logBuffer

	mu      sync.Mutex
	locs    map[catalog.ID]catalog.Location
	sums    map[[2]int64][]byte
	plains  map[int64][]byte // by object
	located int
	slots   map[string]bool // barcodes in the library
	drives  []*fakeDrive
	events  []string      // "lease", "load A", "mount A", "release"
	gate    chan struct{} // non-nil: Load waits until it is closed
	loading chan string   // told of each load
	fail    map[string]error
	free    chan *fakeDrive
	nextID  int64
	proved  map[int64]time.Time // by CopyPart.ID
	short   map[string]int      // by barcode: how often a mount still fails for lack of descriptors
}

type fakeDrive struct {
	serial string
	tape   string
	wanted bool
	leased bool
}

func newWorld(t testing.TB, drives int, barcodes ...string) *world {
	t.Helper()
	key, err := crypto.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, dir: t.TempDir(), key: key, log: &logBuffer{},
		locs: map[catalog.ID]catalog.Location{}, sums: map[[2]int64][]byte{}, plains: map[int64][]byte{}, slots: map[string]bool{},
		fail: map[string]error{}, short: map[string]int{}, proved: map[int64]time.Time{}, loading: make(chan string, 1000), free: make(chan *fakeDrive, drives),
	}
	for _, b := range barcodes {
		w.slots[b] = true
	}
	for i := range drives {
		d := &fakeDrive{serial: fmt.Sprint("D", i)}
		w.drives = append(w.drives, d)
		w.free <- d
	}
	return w
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Key makes the world a keyring of one key.
func (w *world) Key(fingerprint string) (*crypto.Key, error) {
	if fingerprint != w.key.Fingerprint() {
		return nil, crypto.ErrNoKey
	}
	return w.key, nil
}

func (w *world) Foreign(string) ([]byte, error) { return nil, crypto.ErrNoKey }

func (w *world) ForeignMD5(context.Context, int64) ([]byte, error) { return nil, catalog.ErrNotFound }

func (w *world) Locate(_ context.Context, id catalog.ID) (catalog.Location, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.located++
	loc, ok := w.locs[id]
	if !ok {
		return loc, catalog.ErrNotFound
	}
	return loc, nil
}

func (w *world) Files(_ context.Context, id catalog.ID, fn func(*catalog.Version) error) error {
	w.mu.Lock()
	loc, ok := w.locs[id]
	w.mu.Unlock()
	if !ok {
		return catalog.ErrNotFound
	}
	return fn(&loc.Version)
}

func (w *world) Next(_ context.Context, dir, after catalog.ID, limit int) ([]catalog.Version, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var files []catalog.Version
	for _, id := range slices.Sorted(maps.Keys(w.locs)) {
		if v := w.locs[id].Version; id > after && v.Parent == dir && len(files) < limit {
			files = append(files, v)
		}
	}
	return files, nil
}

func (w *world) BytesAt(_ context.Context, id catalog.ID) (object, offset int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.locs[id].Object.ID, w.locs[id].Data, nil
}

func (w *world) PartSums(_ context.Context, object int64, number int) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.sums[[2]int64{object, int64(number)}]
	if !ok {
		return nil, catalog.ErrNotFound
	}
	return s, nil
}

func (w *world) ProvedAt(_ context.Context, copyPart int64) (time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.proved[copyPart], nil
}

func (w *world) MovesOf(context.Context, int64) ([]catalog.Move, error) { return nil, nil }

func (w *world) BestMoved(context.Context, int) (string, error) { return "", catalog.ErrNotFound }

func (w *world) TapeByBarcode(_ context.Context, barcode string) (catalog.Tape, error) {
	return catalog.Tape{Barcode: barcode, UUID: "uuid-" + barcode}, nil
}

func (w *world) event(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, s)
}

func (w *world) count(event string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.events {
		if e == event {
			n++
		}
	}
	return n
}

func (w *world) Inventory(context.Context) (*changer.Inventory, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, "inventory")
	inv := &changer.Inventory{}
	in := map[string]bool{}
	for i, d := range w.drives {
		inv.Drives = append(inv.Drives, changer.DriveElement{Number: i, Serial: d.serial, Full: d.tape != "", Barcode: changer.Barcode(d.tape)})
		in[d.tape] = true
	}
	for b := range w.slots {
		if !in[b] {
			inv.Slots = append(inv.Slots, changer.Slot{Number: len(inv.Slots) + 1, Full: true, Barcode: changer.Barcode(b)})
		}
	}
	return inv, nil
}

// Lease waits for the drive that holds the tape, as a real library does, else for any.
func (w *world) Lease(ctx context.Context, r changer.Request) (lease, error) {
	w.event("lease")
	for {
		select {
		case d := <-w.free:
			if w.suits(d, string(r.Barcode)) {
				return &fakeLease{w, d}, nil
			}
			w.free <- d
			time.Sleep(time.Millisecond)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// suits takes a free drive unless another one holds the tape.
func (w *world) suits(d *fakeDrive, barcode string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.drives {
		if other != d && other.tape == barcode && barcode != "" {
			return false
		}
	}
	d.leased = true
	return true
}

type fakeLease struct {
	w *world
	d *fakeDrive
}

func (l *fakeLease) Held() error { return nil }

func (l *fakeLease) Wanted() bool {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	return l.d.wanted
}

func (l *fakeLease) Load(ctx context.Context, b changer.Barcode) error {
	l.w.loading <- string(b)
	l.w.mu.Lock()
	gate := l.w.gate
	l.w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.events = append(l.w.events, "load "+string(b))
	if err := l.w.fail[string(b)]; err != nil {
		return err
	}
	for _, d := range l.w.drives {
		if d != l.d && d.tape == string(b) {
			if d.leased {
				return errors.New("tape is in another drive")
			}
			d.tape = ""
		}
	}
	l.d.tape = string(b)
	return nil
}

func (l *fakeLease) Mount(_ context.Context, uuid string) (dir, found string, err error) {
	if uuid != "uuid-"+l.d.tape {
		return "", "", changer.ErrWrongVolume
	}
	l.w.event("mount " + l.d.tape)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.short[l.d.tape] > 0 {
		l.w.short[l.d.tape]--
		return "", "", &os.SyscallError{Syscall: "pipe2", Err: unix.EMFILE}
	}
	return l.w.tape(l.d.tape), uuid, nil
}

func (l *fakeLease) Release(context.Context) error {
	l.w.event("release")
	l.w.mu.Lock()
	l.d.wanted, l.d.leased = false, false
	l.w.mu.Unlock()
	l.w.free <- l.d
	return nil
}

func (w *world) tape(barcode string) string {
	dir := filepath.Join(w.dir, "tapes", barcode)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// sealed is an object of the world.
type sealed struct {
	catalog.Object
	plain []byte
	bytes []byte
}

// seal makes an object of size plain bytes and its sums.
func (w *world) seal(size, partSize int64) *sealed {
	w.t.Helper()
	w.nextID++
	plain := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(w.nextID)})
	r.Read(plain)
	salt := []byte{1, 2, 3, 4, 5, 6, 7, byte(w.nextID)}
	stream, err := w.key.Stream(salt)
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	sw, err := stream.NewWriter(&b)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := sw.Write(plain); err != nil {
		w.t.Fatal(err)
	}
	o := &sealed{plain: plain, bytes: b.Bytes(), Object: catalog.Object{
		ID: w.nextID, OID: fmt.Sprintf("%032x", w.nextID), Fingerprint: w.key.Fingerprint(), Salt: salt,
		PartSize: partSize, PlainSize: size, SealedSize: int64(b.Len()), State: catalog.ObjectPacked,
	}}
	w.plains[o.ID] = plain
	for number, p := range o.parts() {
		var sums []byte
		for e := range slices.Chunk(p, es) {
			s := sha256.Sum256(e)
			sums = append(sums, s[:]...)
		}
		w.mu.Lock()
		w.sums[[2]int64{o.ID, int64(number)}] = sums
		w.mu.Unlock()
	}
	return o
}

func (o *sealed) parts() [][]byte {
	return slices.Collect(slices.Chunk(o.bytes, int(o.PartSize)))
}

// place writes a copy to tapes, one for each part (the last one takes the rest), at a start block.
func (w *world) place(o *sealed, block int64, barcodes ...string) catalog.Place {
	w.t.Helper()
	w.nextID++
	p := catalog.Place{Copy: catalog.Copy{ID: w.nextID, Object: o.ID, State: catalog.Durable}}
	for i, data := range o.parts() {
		b := barcodes[min(i, len(barcodes)-1)]
		name := fmt.Sprintf("%s.tar.enc.%04d", o.OID, i)
		if err := os.WriteFile(filepath.Join(w.tape(b), name), data, 0o600); err != nil {
			w.t.Fatal(err)
		}
		w.nextID++
		p.Parts = append(p.Parts, catalog.CopyPart{ID: w.nextID, Copy: p.ID, Number: i, Barcode: b, Name: name,
			Size: int64(len(data)), StartBlock: block + int64(i)*1000, State: catalog.PartDurable})
	}
	return p
}

// version puts a file of size bytes at data in an object into the catalog.
func (w *world) version(id catalog.ID, o *sealed, data, size int64, places ...catalog.Place) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locs[id] = catalog.Location{
		Version: catalog.Version{ID: id, Kind: catalog.File, Size: size, State: catalog.Present, Data: id, Inode: id},
		Object:  o.Object, Data: data, Places: places,
	}
	return o.plain[data : data+size]
}

// flip changes one bit of a file.
// extentName is where the cache of a queue keeps an extent.
func extentName(q *Queue, oid string, n int64) string {
	return filepath.Join(q.o.CacheDir, oid[:2], oid, fmt.Sprintf("%06d", n))
}

func flip(t *testing.T, name string, off int64) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[off] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) queue(o Options) *Queue {
	w.t.Helper()
	return w.queueOf(w, o)
}

func (w *world) queueOf(tp tapes, o Options) *Queue {
	w.t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(w.dir, "cache")
	}
	if o.CacheMax == 0 {
		o.CacheMax = 1 << 30
	}
	if o.Log == nil {
		o.Log = w.logger()
	}
	q, err := newQueue(w, w, tp, o)
	if err != nil {
		w.t.Fatal(err)
	}
	q.poll, q.linger = 5*time.Millisecond, 10*time.Millisecond
	w.t.Cleanup(func() {
		if err := q.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	return q
}

func (w *world) logger() *slog.Logger { return slog.New(slog.NewTextHandler(w.log, nil)) }

func (w *world) open(q *Queue, id catalog.ID) *File {
	w.t.Helper()
	f, err := q.Open(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.Close() })
	return f
}

// read reads n bytes at off and compares them.
func (w *world) read(f *File, want []byte, off int64, n int) {
	w.t.Helper()
	p := make([]byte, n)
	got, err := f.ReadAt(context.Background(), p, off)
	rest := max(0, int64(len(want))-off)
	if int64(n) > rest {
		if !errors.Is(err, io.EOF) {
			w.t.Fatalf("read %d at %d: error %v, want EOF", n, off, err)
		}
	} else if err != nil {
		w.t.Fatalf("read %d at %d: %v", n, off, err)
	}
	if int64(got) != min(int64(n), rest) || !bytes.Equal(p[:got], want[min(off, int64(len(want))):][:got]) {
		w.t.Fatalf("read %d at %d: %d bytes, not the original's", n, off, got)
	}
}

func (w *world) wantLog(s string) {
	w.t.Helper()
	if !strings.Contains(w.log.String(), s) {
		w.t.Errorf("log does not mention %q:\n%s", s, w.log.String())
	}
}
