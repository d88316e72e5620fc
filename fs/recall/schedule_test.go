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

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
	"github.com/tapefs/tapefs/fs/recall/motion"
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

// drives8 and drives9 are the kinds of drives that are simulated.
var (
	drives8 = &kind{generation: 8, bytes: tapeBytes, load: virtual.LoadSeconds, unload: virtual.UnloadSeconds, rate: virtual.StreamRate, seek: virtual.SeekSeconds}
	drives9 = &kind{generation: 9, bytes: 18e12, load: virtual.LTO9LoadSeconds, unload: virtual.LTO9UnloadSeconds, rate: virtual.LTO9Rate, seek: virtual.PublishedLTO9.Seconds}
)

// kind is what drives and their tapes are like; seconds, and bytes a second.
type kind struct {
	generation         int
	bytes              float64 // that a tape holds
	load, unload, rate float64
	seek               func(from, to float64) float64
}

// demands draws reads all over the tapes, in the order in which the readers, taking turns, ask.
func (k *kind) demands(reads, readers, tapes int) []demand {
	r := rand.New(rand.NewPCG(4, 2))
	var list []demand
	for i := range reads {
		block := r.Int64N(int64(k.bytes)/tapeBlock - catalog.ExtentSize/tapeBlock)
		list = append(list, demand{i % readers, fmt.Sprintf("T%05dL%d", r.IntN(tapes), k.generation), block * tapeBlock})
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
	*kind
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
			s += h.unload
		}
		s += h.load
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
		seek = h.seek(float64(h.at)/h.bytes, float64(addr)/h.bytes)
	}
	h.at = addr + catalog.ExtentSize
	return seek, catalog.ExtentSize / h.rate
}

// inOrder serves the reads one after the other, each by the drive that has its tape, else by the one that is
// free first.
func (k *kind) inOrder(list []demand, drives int) account {
	var a account
	heads := make([]head, drives)
	for i := range heads {
		heads[i].kind = k
	}
	free := make([]float64, drives)
	for _, d := range list {
		i := slices.IndexFunc(heads, func(h head) bool { return h.tape == d.barcode })
		if i < 0 {
			i = slices.Index(free, slices.Min(free))
		}
		change := heads[i].bring(d.barcode)
		if change > 0 {
			a.mounts++
		}
		seek, stream := heads[i].read(d.addr)
		free[i] += change + seek + stream
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
			x := motion.Layout{WrapBytes: wrapBytes}.Along(d.addr)
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
	*kind
	dir   string
	heads []*head
	free  chan *head
	skew  func(barcode string) float64 // by how much the queue's idea of a tape's capacity is wrong; nil: by nothing
	slots []string
	known []catalog.Move // from an earlier process
	told  []catalog.Move // to a later one, by way of the catalog

	mu sync.Mutex // protects all below
	a  account
}

type simLease struct {
	l *simLibrary
	h *head
}

func (l *simLibrary) TapeByBarcode(_ context.Context, barcode string) (catalog.Tape, error) {
	capacity := l.bytes
	if l.skew != nil {
		capacity *= 1 + l.skew(barcode)
	}
	return catalog.Tape{ID: simTape(barcode), Barcode: barcode, UUID: barcode, Generation: l.generation, Capacity: int64(capacity)}, nil
}

// simTape is a tape's number in the catalog.
func simTape(barcode string) (id int64) {
	_, _ = fmt.Sscanf(barcode, "T%05d", &id)
	return id + 1
}

func (l *simLibrary) MovesOf(_ context.Context, tape int64) (of []catalog.Move, err error) {
	for _, m := range l.known {
		if m.Tape == tape && m.Kind == catalog.MoveLocate {
			of = append(of, m)
		}
	}
	return of, nil
}

func (l *simLibrary) BestMoved(_ context.Context, generation int) (string, error) {
	if len(l.known) == 0 {
		return "", catalog.ErrNotFound
	}
	return fmt.Sprintf("T%05dL%d", l.known[0].Tape-1, generation), nil
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
func (simLease) Held() error                                 { return nil }
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

func (l *simLibrary) account() account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.a
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
func (k *kind) byQueue(t *testing.T, list []demand, drives int, atOnce bool, skew func(barcode string) float64) account {
	a, _ := k.byQueueKnowing(t, list, drives, atOnce, skew, nil)
	return a
}

// byQueueKnowing is byQueue with what an earlier process left in the catalog; it returns what this one leaves.
func (k *kind) byQueueKnowing(t *testing.T, list []demand, drives int, atOnce bool, skew func(barcode string) float64, known []catalog.Move) (a account, told []catalog.Move) {
	dir := t.TempDir()
	content := []byte("the same bytes everywhere")
	sum := sha256.Sum256(content)
	w := newWorld(t, 0)
	l := &simLibrary{world: w, kind: k, dir: dir, free: make(chan *head, drives), skew: skew, known: known}
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
			h := &head{kind: k}
			l.heads = append(l.heads, h)
			l.free <- h
		}
		q, err := newQueue(l, nil, l, Options{CacheMax: -1, Moved: func(moves []catalog.Move) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.told = append(l.told, moves...)
		}})
		if err != nil {
			t.Fatal(err)
		}
		q.onRead = l.read
		start := time.Now()
		var wait sync.WaitGroup
		read := func(o *object) {
			p := make([]byte, len(content))
			if err := q.readExtent(t.Context(), asker{}, o, 0, p, 0); err != nil || string(p) != string(content) {
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
		a = l.account()
		a.end = time.Since(start).Seconds()
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return a, l.told
}

// percent is wrong about all tapes by as much, and percents about each one by something else, as far as 1 %.
func percent(string) float64 { return 0.01 }

func percents(barcode string) float64 {
	sum := sha256.Sum256([]byte(barcode))
	return (float64(sum[0])/127.5 - 1) / 100
}

// compareSchedules runs all schedules.
func (k *kind) compareSchedules(t *testing.T, reads, readers, tapes, drives int) (queue, first, least account) {
	list := k.demands(reads, readers, tapes)
	perReader := slices.Clone(list)
	slices.SortStableFunc(perReader, func(a, b demand) int { return a.reader - b.reader })
	first = k.inOrder(list, drives)
	queue = k.byQueue(t, list, drives, true, nil)
	t.Logf("LTO-%d, %d reads of 4 MiB by %d readers over %d tapes, %d drives; seconds of a virtual clock", k.generation, reads, readers, tapes, drives)
	t.Logf("%-60s %7s %9s %9s %7s %10s %12s", "", "mounts", "changing", "seeking", "stream", "until done", "first-come/x")
	row := func(name, goal string, a account) {
		if strings.HasPrefix(name, "tapefs") {
			t.Logf("bench| LTO-%d, recall in the order of %s | first come, first served | %.2f | %s", k.generation, name, a.end/first.end, goal)
		}
		t.Logf("%-60s %7d %9.0f %9.0f %7.0f %10.0f %12.1f", name, a.mounts, a.change, a.seek, a.stream, a.end, first.end/a.end)
	}
	goals := map[string]string{"order": "none", "wrong": "none", "directory": "none"}
	if k == drives8 {
		goals = map[string]string{"order": "at most 0.10", "wrong": "at most 0.11", "directory": "at most 0.14"}
	}
	row("first come, first served", "", first)
	row("one reader after the other", "", k.inOrder(perReader, drives))
	row("tapefs", goals["order"], queue)
	row("tapefs, capacity of tapes 1 % wrong", goals["wrong"], k.byQueue(t, list, drives, true, percent))
	each, moves := k.byQueueKnowing(t, list, drives, true, percents, nil)
	row("tapefs, capacity of each tape up to 1 % wrong", "none", each)
	again, _ := k.byQueueKnowing(t, list, drives, true, percents, moves)
	row("tapefs, the same in a later process", goals["order"], again)
	row("tapefs, readers that ask one by one, here and there", "none", k.byQueue(t, list, drives, false, nil))
	row("tapefs, readers that ask one by one, a directory each", goals["directory"], k.byDirectory(t, list, drives))
	if k == drives8 { // for which the bound was worked out
		least = bound(list, drives)
		row("bound: nothing can be faster", "", least)
	}
	return queue, first, least
}

// TestSchedule is the short form: each tape is mounted once, and the goals hold.
func TestSchedule(t *testing.T) {
	queue, first, least := drives8.compareSchedules(t, 400, 20, 8, 2)
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
	drives9.compareSchedules(t, 1000, 50, 20, 2)
	queue, first, least := drives8.compareSchedules(t, 1000, 50, 20, 2)
	holdSchedule(t, queue, first, least)
}

// TestAWrongCapacityMattersLittle: where wraps end is learned while the tapes are read, and known when they are read again.
func TestAWrongCapacityMattersLittle(t *testing.T) {
	list := drives8.demands(400, 20, 8)
	first := drives8.inOrder(list, 2)
	wrong, moves := drives8.byQueueKnowing(t, list, 2, true, percent, nil)
	if t.Logf("%.1f times as fast as first-come", first.end/wrong.end); wrong.end*8 > first.end {
		t.Errorf("with a capacity that is 1 %% wrong %.1f times as fast as first-come, not 8", first.end/wrong.end)
	}
	again, _ := drives8.byQueueKnowing(t, list, 2, true, percent, moves)
	if t.Logf("%.1f times in a later process", first.end/again.end); again.end*11 > first.end {
		t.Errorf("in a later process %.1f times as fast as first-come, not 11", first.end/again.end)
	}
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
