package recall

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tapefs/catalog"
	"tapefs/changer"
	"tapefs/changer/virtual"
)

// The queue's schedule, measured on a clock that only the simulated drives move: loads, locates and
// streaming take what the virtual library says they take, and all else takes no time.

// demand is one read of one extent.
type demand struct {
	reader  int
	barcode string
	addr    int64 // byte on the tape
}

const (
	tapeBytes = 12e12 // LTO-8
	lto8Wraps = 204.0 // of its data partition
)

// demands draws reads all over the tapes, in the order in which the readers, taking turns, ask.
func demands(reads, readers, tapes int) []demand {
	r := rand.New(rand.NewPCG(4, 2))
	var list []demand
	for i := range reads {
		block := r.Int64N(int64(tapeBytes)/tapeBlock - catalog.ExtentSize/tapeBlock)
		list = append(list, demand{i % readers, fmt.Sprintf("T%05dL8", r.IntN(tapes)), block * tapeBlock})
	}
	return list
}

// account is what drives did, in virtual seconds.
type account struct {
	mounts                    int
	change, seek, stream, end float64 // end: when the last read was answered
}

// head is one simulated drive.
type head struct {
	tape    string
	mounted bool
	at      int64
}

// bring loads and mounts a tape; seconds.
func (h *head) bring(barcode string) float64 {
	s := 0.0
	if h.tape != barcode {
		if h.mounted {
			s += virtual.UnmountSeconds
		}
		if h.tape != "" {
			s += virtual.UnloadSeconds
		}
		s += virtual.LoadSeconds
		h.tape, h.mounted = barcode, false
	}
	if !h.mounted {
		s += virtual.MountSeconds
		h.mounted, h.at = true, 0
	}
	return s
}

// read reads one extent; seconds.
func (h *head) read(addr int64) (seek, stream float64) {
	if addr != h.at {
		seek = virtual.SeekSeconds(float64(h.at)/tapeBytes, float64(addr)/tapeBytes)
	}
	h.at = addr + catalog.ExtentSize
	return seek, catalog.ExtentSize / virtual.StreamRate
}

// inOrder serves the reads one after the other, each by the drive that has its tape, else by the one that is
// free first.
func inOrder(list []demand, drives int) account {
	var a account
	heads := make([]head, drives)
	free := make([]float64, drives)
	for _, d := range list {
		k := slices.IndexFunc(heads, func(h head) bool { return h.tape == d.barcode })
		if k < 0 {
			k = slices.Index(free, slices.Min(free))
		}
		change := heads[k].bring(d.barcode)
		if change > 0 {
			a.mounts++
		}
		seek, stream := heads[k].read(d.addr)
		free[k] += change + seek + stream
		a.change, a.seek, a.stream = a.change+change, a.seek+seek, a.stream+stream
	}
	a.end = slices.Max(free)
	return a
}

// bound is what no schedule can beat that knows all reads beforehand, with the drives empty at first: each
// tape is loaded and mounted once, and all but the last one of each drive unmounted and unloaded. On a tape
// every read takes one locate with its fixed part, every wrap but the first must be gone to once, and the
// head goes at least from the beginning to the farthest place along the length, less what it moves by
// reading. The work is divided evenly among the drives.
func bound(list []demand, drives int) account {
	var a account
	onTape := map[string][]demand{}
	for _, d := range list {
		onTape[d.barcode] = append(onTape[d.barcode], d)
	}
	a.mounts = len(onTape)
	a.change = float64(a.mounts)*(virtual.LoadSeconds+virtual.MountSeconds) + float64(max(0, a.mounts-drives))*(virtual.UnmountSeconds+virtual.UnloadSeconds)
	wrapBytes := tapeBytes / lto8Wraps
	same := virtual.SeekSeconds(0, 0)                                      // the fixed part of a locate
	whole := virtual.SeekSeconds(0, math.Nextafter(1/lto8Wraps, 0)) - same // the length of the tape
	wrap := virtual.SeekSeconds(0.75/lto8Wraps, 1.25/lto8Wraps) - same     // to the next wrap at the same place
	for _, reads := range onTape {
		far, wraps := 0.0, map[int64]bool{0: true}
		for _, d := range reads {
			x := geometry{wrapBytes}.along(d.addr)
			far = max(far, x)
			wraps[int64(float64(d.addr)/wrapBytes)] = true
		}
		moved := float64(len(reads)) * catalog.ExtentSize / wrapBytes
		a.seek += float64(len(reads))*same + max(0, far-moved)*whole + float64(len(wraps)-1)*wrap
		a.stream += float64(len(reads)) * catalog.ExtentSize / virtual.StreamRate
	}
	a.end = (a.change + a.seek + a.stream) / float64(drives)
	return a
}

// simLibrary is the library of simulated drives.
type simLibrary struct {
	*world
	dir   string
	heads []*head
	free  chan *head
	skew  float64 // by how much the queue's idea of a tape's capacity is wrong
	slots []string

	mu sync.Mutex // protects all below
	a  account
}

type simLease struct {
	l *simLibrary
	h *head
}

func (l *simLibrary) TapeByBarcode(_ context.Context, barcode string) (catalog.Tape, error) {
	return catalog.Tape{Barcode: barcode, UUID: barcode, Generation: 8, Capacity: int64(tapeBytes * (1 + l.skew))}, nil
}

func (l *simLibrary) Inventory(context.Context) (*changer.Inventory, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	inv := &changer.Inventory{}
	for i, h := range l.heads {
		inv.Drives = append(inv.Drives, changer.DriveElement{Number: i, Serial: fmt.Sprint(i), Full: h.tape != "", Barcode: changer.Barcode(h.tape)})
	}
	for i, b := range l.slots {
		if !slices.ContainsFunc(l.heads, func(h *head) bool { return h.tape == b }) {
			inv.Slots = append(inv.Slots, changer.Slot{Number: i + 1, Full: true, Barcode: changer.Barcode(b)})
		}
	}
	return inv, nil
}

// Lease gives out any drive, as a real library does; one that holds the tape, or is empty, before others.
func (l *simLibrary) Lease(ctx context.Context, r changer.Request) (lease, error) {
	var got []*head
	select {
	case h := <-l.free:
		got = append(got, h)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for more := true; more; {
		select {
		case h := <-l.free:
			got = append(got, h)
		default:
			more = false
		}
	}
	l.mu.Lock()
	best := slices.MaxFunc(got, func(a, b *head) int {
		value := func(h *head) int { return 2*rank(h.tape == string(r.Barcode)) + rank(h.tape == "") }
		return value(a) - value(b)
	})
	l.mu.Unlock()
	for _, h := range got {
		if h != best {
			l.free <- h
		}
	}
	return simLease{l, best}, nil
}

func (simLease) Wanted() bool                                { return false }
func (simLease) Load(context.Context, changer.Barcode) error { return nil } // Mount does both

func (s simLease) Mount(_ context.Context, uuid string) (dir, is string, err error) {
	s.l.mu.Lock()
	seconds := s.h.bring(uuid)
	s.l.a.mounts++
	s.l.a.change += seconds
	s.l.mu.Unlock()
	pass(seconds)
	return filepath.Join(s.l.dir, uuid), uuid, nil
}

func (s simLease) Release(context.Context) error {
	s.l.mu.Lock()
	mounted := s.h.mounted
	s.h.mounted = false
	if mounted {
		s.l.a.change += virtual.UnmountSeconds
	}
	s.l.mu.Unlock()
	if mounted {
		pass(virtual.UnmountSeconds)
	}
	s.l.free <- s.h
	return nil
}

func pass(seconds float64) { time.Sleep(time.Duration(seconds * float64(time.Second))) }

func (l *simLibrary) read(barcode string, at position) {
	l.mu.Lock()
	i := slices.IndexFunc(l.heads, func(h *head) bool { return h.tape == barcode && h.mounted })
	seek, stream := l.heads[i].read(at.addr)
	l.a.seek, l.a.stream = l.a.seek+seek, l.a.stream+stream
	l.mu.Unlock()
	pass(seek + stream)
}

// byQueue has the real queue serve the reads. atOnce: each reader asks for all it wants at once, as a copy
// with many threads does; else for the next one when the last is there.
func byQueue(t *testing.T, list []demand, drives int, atOnce bool, skew float64) (a account) {
	dir := t.TempDir()
	content := []byte("the same bytes everywhere")
	sum := sha256.Sum256(content)
	w := newWorld(t, 0)
	l := &simLibrary{world: w, dir: dir, free: make(chan *head, drives), skew: skew}
	readers := map[int][]*object{}
	for i, d := range list {
		if !slices.Contains(l.slots, d.barcode) {
			l.slots = append(l.slots, d.barcode)
			if err := os.Mkdir(filepath.Join(dir, d.barcode), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, d.barcode, "data"), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		part := catalog.CopyPart{ID: int64(i + 1), Barcode: d.barcode, Name: "data", Size: int64(len(content)), StartBlock: d.addr / tapeBlock, State: catalog.PartDurable}
		readers[d.reader] = append(readers[d.reader], &object{id: int64(i + 1), oid: fmt.Sprintf("%032x", i+1), partSize: catalog.ExtentSize, sealed: part.Size,
			places: []catalog.Place{{Parts: []catalog.CopyPart{part}}}, sums: map[int][]byte{0: sum[:]}})
	}
	synctest.Test(t, func(t *testing.T) {
		l.free = make(chan *head, drives)
		for range drives {
			h := &head{}
			l.heads = append(l.heads, h)
			l.free <- h
		}
		q, err := newQueue(l, nil, l, Options{CacheMax: -1})
		if err != nil {
			t.Fatal(err)
		}
		q.onRead = l.read
		start := time.Now()
		var wait sync.WaitGroup
		read := func(o *object) {
			p := make([]byte, len(content))
			if err := q.readExtent(t.Context(), 0, o, 0, p, 0); err != nil || string(p) != string(content) {
				t.Errorf("read: %v", err)
			}
		}
		for _, objects := range readers {
			if atOnce {
				for _, o := range objects {
					wait.Go(func() { read(o) })
				}
			} else {
				wait.Go(func() {
					for _, o := range objects {
						read(o)
					}
				})
			}
		}
		wait.Wait()
		l.mu.Lock()
		a = l.a
		l.mu.Unlock()
		a.end = time.Since(start).Seconds()
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return a
}

// compare runs all schedules.
func compareSchedules(t *testing.T, reads, readers, tapes, drives int) (queue, first, least account) {
	list := demands(reads, readers, tapes)
	perReader := slices.Clone(list)
	slices.SortStableFunc(perReader, func(a, b demand) int { return a.reader - b.reader })
	first, least = inOrder(list, drives), bound(list, drives)
	queue = byQueue(t, list, drives, true, 0)
	t.Logf("%d reads of 4 MiB by %d readers over %d tapes, %d drives; seconds of a virtual clock", reads, readers, tapes, drives)
	t.Logf("%-42s %7s %9s %9s %7s %10s %12s %8s", "", "mounts", "changing", "seeking", "stream", "until done", "first-come/x", "x/bound")
	for _, row := range []struct {
		name string
		a    account
	}{
		{"first come, first served", first},
		{"one reader after the other", inOrder(perReader, drives)},
		{"tapefs", queue},
		{"tapefs, capacity of tapes 1 % wrong", byQueue(t, list, drives, true, 0.01)},
		{"tapefs, readers that ask one by one", byQueue(t, list, drives, false, 0)},
		{"bound: nothing can be faster", least},
	} {
		if strings.HasPrefix(row.name, "tapefs") {
			t.Logf("bench| recall in the order of %s | first come, first served | %.2f | less is quicker", row.name, row.a.end/first.end)
		}
		t.Logf("%-42s %7d %9.0f %9.0f %7.0f %10.0f %12.1f %8.2f", row.name, row.a.mounts, row.a.change, row.a.seek, row.a.stream, row.a.end, first.end/row.a.end, row.a.end/least.end)
	}
	return queue, first, least
}

// TestSchedule is the short form: each tape is mounted once, and the goals hold.
func TestSchedule(t *testing.T) {
	queue, first, least := compareSchedules(t, 400, 20, 8, 2)
	if queue.mounts != least.mounts {
		t.Errorf("%d mounts, not %d", queue.mounts, least.mounts)
	}
	holdSchedule(t, queue, first, least)
}

// TestBenchRecall is make bench-recall.
func TestBenchRecall(t *testing.T) {
	if os.Getenv("TAPEFS_BENCH_RECALL") == "" {
		t.Skip("make bench-recall")
	}
	queue, first, least := compareSchedules(t, 1000, 50, 20, 2)
	holdSchedule(t, queue, first, least)
}

func holdSchedule(t *testing.T, queue, first, least account) {
	t.Helper()
	if queue.end < least.end {
		t.Errorf("%f seconds are less than the bound, %f: the bound is none", queue.end, least.end)
	}
	if queue.end*10 > first.end {
		t.Errorf("%.1f times as fast as first-come, not 10", first.end/queue.end)
	}
	if queue.end > 1.25*least.end {
		t.Errorf("%.2f times the bound, not below 1.25", queue.end/least.end)
	}
}
