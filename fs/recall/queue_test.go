package recall

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// TestMain makes the test binary the programs of the virtual library.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "virtual" {
		os.Exit(virtual.Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	code := m.Run()
	// Every queue was closed: none of our goroutines may be left.
	deadline := time.Now().Add(10 * time.Second)
	for code == 0 {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "recall.(*Queue)") && !strings.Contains(stacks, "recall.(*session)") {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintln(os.Stderr, "goroutines are left:\n"+stacks)
			code = 1
		}
		runtime.Gosched()
	}
	os.Exit(code)
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func (q *Queue) waiters() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, f := range q.fetches {
		n += f.waiters
	}
	return n
}

func TestOneFetchForAllWhoWait(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es-100, 4*es)
	place := w.place(o, 0, "A")
	want := w.version(1, o, 0, es-100, place)
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	const readers = 50
	var wait sync.WaitGroup
	for i := range readers {
		f := w.open(q, 1)
		wait.Go(func() {
			p := make([]byte, 1000)
			off := int64(i * 1000)
			if _, err := f.ReadAt(context.Background(), p, off); err != nil || string(p) != string(want[off:off+1000]) {
				t.Errorf("reader %d: %v", i, err)
			}
		})
	}
	eventually(t, "all readers wait", func() bool { return q.waiters() == readers })
	q.mu.Lock()
	n := len(q.fetches)
	q.mu.Unlock()
	if n != 1 {
		t.Errorf("%d requests for one extent", n)
	}
	close(w.gate)
	wait.Wait()
	if n := w.count("lease"); n != 1 {
		t.Errorf("%d leases", n)
	}
	if n := extentsOnDisk(t, q.o.CacheDir); n != 1 {
		t.Errorf("%d extents", n)
	}
}

func TestInterruptedReaderLeavesAtOnce(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(3*es, 4*es)
	want := w.version(1, o, 0, 3*es, w.place(o, 0, "A"))
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	f := w.open(q, 1)
	ctx, cancel := context.WithCancel(context.Background())
	alone, shared := make(chan error, 1), make(chan error, 1)
	go func() { _, err := f.ReadAt(ctx, make([]byte, 10), 2*es); alone <- err }()
	go func() { _, err := f.ReadAt(ctx, make([]byte, 10), 0); shared <- err }()
	stays := make(chan error, 1)
	p := make([]byte, 10)
	go func() { _, err := f.ReadAt(context.Background(), p, 0); stays <- err }()
	eventually(t, "all wait", func() bool { return q.waiters() == 3 })
	cancel() // while the tape is being loaded
	for _, c := range []chan error{alone, shared} {
		if err := <-c; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	q.mu.Lock()
	n := len(q.fetches)
	q.mu.Unlock()
	if n != 1 {
		t.Errorf("%d requests are left", n)
	}
	close(w.gate)
	if err := <-stays; err != nil || string(p) != string(want[:10]) {
		t.Errorf("the reader who stayed: %v", err)
	}
	if n := extentsOnDisk(t, q.o.CacheDir); n != 1 {
		t.Errorf("%d extents were read", n)
	}
}

func TestNobodyWaitsForADriveInVain(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	w.version(1, o, 0, es, w.place(o, 0, "A"))
	held := <-w.free // another process has the drive
	q := w.queue(Options{})
	f := w.open(q, 1)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error)
	go func() { _, err := f.ReadAt(ctx, make([]byte, 10), 0); got <- err }()
	eventually(t, "a session waits for the drive", func() bool { return w.count("lease") == 1 })
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "the session is gone", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.sessions) == 0
	})
	w.free <- held
	if n := w.count("load A"); n != 0 {
		t.Errorf("the tape was loaded %d times for nobody", n)
	}
}

func TestTapeIsReadForwards(t *testing.T) {
	w := newWorld(t, 1, "A")
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	var mu sync.Mutex
	var read []string
	q.onRead = func(_ string, at position) {
		mu.Lock()
		defer mu.Unlock()
		read = append(read, fmt.Sprintf("%d/%d", at.block, at.extent))
	}
	blocks := []int64{500, 100, 900, 300, 700}
	var wait sync.WaitGroup
	for i, block := range blocks {
		o := w.seal(3*es-16, 4*es)
		id := catalog.ID(i + 1)
		w.version(id, o, 0, 3*es-16, w.place(o, block, "A"))
		f := w.open(q, id)
		for _, off := range []int64{2 * es, 0} {
			wait.Go(func() {
				if _, err := f.ReadAt(context.Background(), make([]byte, 10), off); err != nil {
					t.Error(err)
				}
			})
		}
	}
	eventually(t, "all wait", func() bool { return q.waiters() == 2*len(blocks) })
	close(w.gate)
	wait.Wait()
	var want []string
	for _, block := range slices.Sorted(slices.Values(blocks)) {
		want = append(want, fmt.Sprintf("%d/0", block), fmt.Sprintf("%d/2", block))
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(read, want) {
		t.Errorf("read in the order %v, not %v", read, want)
	}
	if n := w.count("load A"); n != 1 {
		t.Errorf("%d loads", n)
	}
}

func TestMountedTapeFirstThenTheOldest(t *testing.T) {
	w := newWorld(t, 1, "A", "B", "C")
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	var wait sync.WaitGroup
	read := func(id catalog.ID, tape string) {
		o := w.seal(es, 4*es)
		w.version(id, o, 0, es, w.place(o, 0, tape))
		f := w.open(q, id)
		before := q.waiters()
		wait.Go(func() {
			if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); err != nil {
				t.Error(err)
			}
		})
		eventually(t, "it waits", func() bool { return q.waiters() == before+1 })
	}
	read(1, "A")
	<-w.loading
	read(2, "C")
	read(3, "B")
	read(4, "A")
	read(5, "C")
	close(w.gate)
	wait.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var loads []string
	for _, e := range w.events {
		if strings.HasPrefix(e, "load") {
			loads = append(loads, e)
		}
	}
	if got := strings.Join(loads, ","); got != "load A,load C,load B" {
		t.Errorf("loads: %s", got)
	}
}

func TestSeveralDrivesWorkAtOnce(t *testing.T) {
	w := newWorld(t, 2, "A", "B")
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	var wait sync.WaitGroup
	for i, tape := range []string{"A", "B"} {
		o := w.seal(es, 4*es)
		id := catalog.ID(i + 1)
		w.version(id, o, 0, es, w.place(o, 0, tape))
		f := w.open(q, id)
		wait.Go(func() {
			if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); err != nil {
				t.Error(err)
			}
		})
	}
	<-w.loading // both are being loaded while the gate is closed
	<-w.loading
	close(w.gate)
	wait.Wait()
}

func TestNearerCopyIsTaken(t *testing.T) {
	w := newWorld(t, 2, "A", "B")
	w.drives[1].tape = "B"
	o := w.seal(es, 4*es)
	want := w.version(1, o, 0, es, w.place(o, 0, "A"), w.place(o, 0, "B"))
	w.read(w.open(w.queue(Options{}), 1), want, 0, 100)
	if w.count("load A") != 0 || w.count("load B") != 1 {
		t.Errorf("events %v", w.events)
	}
}

func TestIdleVolumeStaysMounted(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(4*es, 8*es)
	want := w.version(1, o, 0, 4*es, w.place(o, 0, "A"))
	q := w.queue(Options{IdleUnmount: time.Hour})
	for i := range int64(4) {
		f, err := q.Open(context.Background(), 1)
		if err != nil {
			t.Fatal(err)
		}
		w.read(f, want, i*es, 10)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count("mount A"); n != 1 {
		t.Errorf("%d mounts", n)
	}
	if n := w.count("release"); n != 0 {
		t.Errorf("released %d times", n)
	}
	w.mu.Lock()
	w.drives[0].wanted = true
	w.mu.Unlock()
	eventually(t, "the drive is given up", func() bool { return w.count("release") == 1 })
	w.read(w.open(q, 1), want, 0, 10) // cached: needs no drive
	if n := w.count("mount A"); n != 1 {
		t.Errorf("%d mounts", n)
	}
}

func TestIdleVolumeIsUnmountedInTheEnd(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 8*es)
	want := w.version(1, o, 0, es, w.place(o, 0, "A"))
	q := w.queue(Options{IdleUnmount: time.Millisecond})
	w.read(w.open(q, 1), want, 0, 10)
	eventually(t, "the drive is given up", func() bool { return w.count("release") == 1 })
}

func TestReaderSliceEndsForAWaitingProcess(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(4*es, 8*es)
	want := w.version(1, o, 0, 4*es, w.place(o, 0, "A"))
	q := w.queue(Options{ReaderSlice: time.Nanosecond, IdleUnmount: time.Hour})
	w.gate = make(chan struct{})
	f := w.open(q, 1)
	var wait sync.WaitGroup
	for _, off := range []int64{0, 2 * es} {
		wait.Go(func() {
			if _, err := f.ReadAt(context.Background(), make([]byte, 10), off); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "both wait", func() bool { return q.waiters() == 2 })
	w.mu.Lock()
	w.drives[0].wanted = true
	w.mu.Unlock()
	close(w.gate)
	wait.Wait()
	if n := w.count("mount A"); n != 2 {
		t.Errorf("%d mounts: work that was left waits for the drive again", n)
	}
	w.read(f, want, 0, 10)
}

func TestSequentialReaderStreams(t *testing.T) {
	w := newWorld(t, 1, "A")
	const n = 24
	o := w.seal(n*es, 64*es)
	half := int64(n / 2 * es)
	want := w.version(1, o, 0, half, w.place(o, 0, "A"))
	q := w.queue(Options{IdleUnmount: time.Hour})
	f := w.open(q, 1)
	w.read(f, want, 0, 64<<10) // a look at the head
	w.read(f, want, 10*es, 64<<10)
	q.idleNow(t)
	if n := extentsOnDisk(t, q.o.CacheDir); n != 2 {
		t.Errorf("%d extents after two short reads", n)
	}
	var most int64
	for off := int64(0); off < half; off += 128 << 10 {
		w.read(f, want, off, 128<<10)
		f.mu.Lock()
		most = max(most, f.window)
		f.mu.Unlock()
	}
	if most < 8 {
		t.Errorf("the window grew to %d extents only", most)
	}
	q.idleNow(t)
	if got := extentsOnDisk(t, q.o.CacheDir); got != n/2+1 {
		t.Errorf("%d extents: read ahead past the version's end", got)
	}
}

// idleNow waits until nothing is asked for any more.
func (q *Queue) idleNow(t *testing.T) {
	t.Helper()
	eventually(t, "nothing is asked for", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.fetches) == 0
	})
}

func TestRandomReaderGetsNoReadAhead(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(32*es, 64*es)
	want := w.version(1, o, 0, 32*es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	f := w.open(q, 1)
	for _, n := range []int64{3, 17, 9, 30, 21} {
		w.read(f, want, n*es+100, 600<<10)
	}
	q.idleNow(t)
	if n := extentsOnDisk(t, q.o.CacheDir); n != 5 {
		t.Errorf("%d extents for five reads", n)
	}
}

func TestClosedFileAsksForNothing(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(9*es, 64*es)
	w.version(1, o, 0, 9*es, w.place(o, 0, "A"))
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	f := w.open(q, 1)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error)
	go func() { _, err := f.ReadAt(ctx, make([]byte, 8*es), 0); got <- err }()
	eventually(t, "the whole read is asked for", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.fetches) == 9
	})
	cancel()
	<-got
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	q.mu.Lock()
	n := len(q.fetches)
	q.mu.Unlock()
	if n != 0 {
		t.Errorf("%d requests are left", n)
	}
	close(w.gate)
}

func TestCloseEndsWaitingReaders(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	w.version(1, o, 0, es, w.place(o, 0, "A"))
	held := <-w.free
	q := w.queue(Options{})
	f := w.open(q, 1)
	got := make(chan error)
	go func() { _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); got <- err }()
	eventually(t, "it waits", func() bool { return w.count("lease") == 1 })
	if err := q.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := q.Open(context.Background(), 1); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	w.free <- held
}

func TestCloseRunsOutOfTime(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	w.version(1, o, 0, es, w.place(o, 0, "A"))
	w.gate = make(chan struct{}) // never opened: a stuck robot
	q := w.queue(Options{})
	f := w.open(q, 1)
	got := make(chan error)
	go func() { _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); got <- err }()
	<-w.loading
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := q.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	q.running.Wait()
}

// TestDriveAway: a read whose only drive is switched off fails at once with that, or waits as long as it may wait for a tape outside the library.
func TestDriveAway(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	w.version(1, o, 0, es, w.place(o, 0, "A"))
	off := fmt.Errorf("drive 0 is not there: %w", errors.Join(changer.ErrNoDrive, changer.ErrDriveAway))
	w.fail["A"] = off
	q := w.queue(Options{})
	f := w.open(q, 1)
	if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); !errors.Is(err, changer.ErrDriveAway) {
		t.Error(err)
	}
	if why := q.NoDrive(); !strings.Contains(why, "drive 0 is not there") {
		t.Errorf("the mount says %q", why)
	}

	patient := w.queue(Options{OfflineWait: time.Hour})
	f = w.open(patient, 1)
	got := make(chan error)
	go func() { _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); got <- err }()
	for patient.NoDrive() == "" {
		select {
		case err := <-got:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	w.mu.Lock()
	delete(w.fail, "A")
	w.mu.Unlock()
	if err := <-got; err != nil {
		t.Errorf("with the drive switched on again: %v", err)
	}
	if why := patient.NoDrive(); why != "" {
		t.Errorf("the mount still says %q", why)
	}
}

func TestLibraryTrouble(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	w.version(1, o, 0, es, w.place(o, 0, "A"))
	w.drives[0].serial = "" // none of the drives is configured
	f := w.open(w.queue(Options{}), 1)
	if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); !errors.Is(err, changer.ErrNoDrive) {
		t.Error(err)
	}
	w.mu.Lock()
	w.drives[0].serial = "D0"
	w.fail["A"] = changer.ErrIncompatible
	w.mu.Unlock()
	for range 3 {
		if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); !errors.Is(err, changer.ErrIncompatible) {
			t.Error(err)
		}
	}
	if n := w.count("load A"); n != 1 {
		t.Errorf("a tape that cannot be loaded was tried %d times", n)
	}
}

func TestPermissions(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	want := w.version(1, o, 0, es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	w.read(w.open(q, 1), want, 0, 10)
	err := filepath.WalkDir(q.o.CacheDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil && st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, st.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestGapBetweenFilesChangesNoTape(t *testing.T) {
	w := newWorld(t, 1, "A", "B")
	a, b := w.seal(2*es, 4*es), w.seal(es, 4*es)
	wantA := w.version(1, a, 0, 2*es, w.place(a, 0, "A"))
	w.version(2, b, 0, es, w.place(b, 0, "B"))
	q := w.queue(Options{})
	q.linger = time.Hour
	f, g := w.open(q, 1), w.open(q, 2)
	w.read(f, wantA, 0, 10)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error)
	go func() { _, err := g.ReadAt(ctx, make([]byte, 10), 0); got <- err }()
	eventually(t, "the other tape is chosen", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return !q.waitingElsewhere().reader.IsZero()
	})
	w.read(f, wantA, es+100, 10)
	cancel()
	<-got
	if n := w.count("load A") + w.count("load B"); n != 1 {
		t.Errorf("%d loads", n)
	}
}

func TestAnotherTapeWaitsNoLongerThanMaxWait(t *testing.T) {
	w := newWorld(t, 1, "A", "B")
	a, b := w.seal(es, 4*es), w.seal(es, 4*es)
	wantA := w.version(1, a, 0, es, w.place(a, 0, "A"))
	wantB := w.version(2, b, 0, es, w.place(b, 0, "B"))
	q := w.queue(Options{MaxWait: time.Nanosecond})
	q.linger = time.Hour
	w.read(w.open(q, 1), wantA, 0, 10)
	w.read(w.open(q, 2), wantB, 0, 10)
}

func TestCompleteFileStaysCached(t *testing.T) {
	w := newWorld(t, 1, "A")
	a, b := w.seal(2*es-16, 4*es), w.seal(6*es, 8*es)
	wantA := w.version(1, a, 0, 2*es-16, w.place(a, 0, "A"))
	w.locs[3] = w.locs[1] // another name with the same bytes
	wantB := w.version(2, b, 0, 6*es, w.place(b, 10, "A"))
	q := w.queue(Options{CacheMax: 4 * es})
	f, g := w.open(q, 3), w.open(q, 2)
	w.read(f, wantA, 0, len(wantA))
	if !f.Complete() {
		t.Fatal("not complete")
	}
	if q.CachedBytes(1) != int64(len(wantA)) || q.CachedBytes(3) != int64(len(wantA)) {
		t.Error("cached bytes of one of two names are missing")
	}
	w.read(g, wantB, 0, len(wantB))
	if !f.Complete() {
		t.Error("an open file that was complete lost extents")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.read(g, wantB, 0, len(wantB))
	if n := q.CachedBytes(1); n == int64(len(wantA)) {
		t.Errorf("%d bytes of a closed file are still held", n)
	}
}

// TestIdleDriveIsNotKeptForWhatAnotherReads: a file has copies on both mounted tapes. While it is read from one of them, however long that
// takes, the drive of the other is given up to another process that wants it.
func TestIdleDriveIsNotKeptForWhatAnotherReads(t *testing.T) {
	w := newWorld(t, 2, "A", "B")
	only := map[string]catalog.ID{"A": 1, "B": 2}
	for _, barcode := range []string{"A", "B"} {
		o := w.seal(es, 4*es)
		w.version(only[barcode], o, 0, es, w.place(o, 0, barcode))
	}
	o := w.seal(es, 4*es)
	want := w.version(3, o, 0, es, w.place(o, 0, "A"), w.place(o, 0, "B"))
	q := w.queue(Options{IdleUnmount: time.Hour, CacheMax: -1})
	reading, gate := make(chan string, 1), make(chan struct{})
	var slow atomic.Bool
	q.onRead = func(barcode string, _ position) {
		if slow.Load() {
			reading <- barcode
			<-gate
		}
	}
	for _, id := range only {
		if _, err := w.open(q, id).ReadAt(t.Context(), make([]byte, 10), 0); err != nil {
			t.Fatal(err)
		}
	}
	slow.Store(true)
	var wait sync.WaitGroup
	wait.Go(func() { w.read(w.open(q, 3), want, 0, 10) })
	reads := <-reading
	w.mu.Lock()
	for _, d := range w.drives {
		d.wanted = d.tape != reads
	}
	w.mu.Unlock()
	eventually(t, "the idle drive is given up", func() bool { return w.count("release") == 1 })
	close(gate)
	wait.Wait()
}
