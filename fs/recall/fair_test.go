package recall

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// The reader in the simulation of whom the fairness is for: he comes to two drives that one other user keeps busy with six threads, each
// of which reads on and on, all over two tapes.

const simContent = "the same bytes everywhere"

// simObject is a small object at an address of a simulated tape.
func simObject(barcode string, id int64, addr int64) *object {
	sum := sha256.Sum256([]byte(simContent))
	part := catalog.CopyPart{ID: id, Barcode: barcode, Name: "data", Size: int64(len(simContent)), StartBlock: addr / tapeBlock, State: catalog.PartDurable}
	return &object{id: id, oid: fmt.Sprintf("%032x", id), partSize: catalog.ExtentSize, sealed: part.Size,
		places: []catalog.Place{{Parts: []catalog.CopyPart{part}}}, sums: map[int][]byte{0: sum[:]}}
}

// firstByte is how long the other user waits, who asks for one extent of a tape after a while, in virtual time. The one who is there
// first has six threads on two tapes.
func firstByte(t *testing.T, slice, arrives time.Duration, barcode string, addr int64, drives int) (took time.Duration, mounts int) {
	dir := t.TempDir()
	l := &simLibrary{world: newWorld(t, 0), kind: drives8, dir: dir, slots: []string{"T00000L8", "T00001L8", "T00002L8"}}
	for _, b := range l.slots {
		if err := os.MkdirAll(filepath.Join(dir, b), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, b, "data"), []byte(simContent), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wanted := simObject(barcode, 1_000_000, addr)
	next := int64(0)
	var many [6][]*object
	for thread := range many {
		for range 300 {
			next++
			// Each thread reads forwards, from a place of its own.
			at := int64(thread)*tapeBytes/6/tapeBlock*tapeBlock + next%300*catalog.ExtentSize
			many[thread] = append(many[thread], simObject(l.slots[thread%2], next, at))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l.free = make(chan *head, drives)
		for range drives {
			h := &head{kind: drives8}
			l.heads = append(l.heads, h)
			l.free <- h
		}
		q, err := newQueue(l, nil, l, Options{CacheMax: -1, UserSlice: slice})
		if err != nil {
			t.Fatal(err)
		}
		q.onRead = l.read
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		for _, objects := range many {
			go func() {
				defer func() { done <- struct{}{} }()
				p := make([]byte, 25)
				for _, o := range objects {
					if q.readExtent(ctx, asker{user: 1000}, o, 0, p, 0) != nil {
						return
					}
					time.Sleep(5 * time.Millisecond) // it does something with them
				}
			}()
		}
		time.Sleep(arrives)
		began := time.Now()
		if err := q.readExtent(t.Context(), asker{user: 2000}, wanted, 0, make([]byte, 25), 0); err != nil {
			t.Error(err)
		}
		took = time.Since(began)
		stop()
		for range many {
			<-done
		}
		l.mu.Lock()
		mounts = l.a.mounts
		l.mu.Unlock()
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return took, mounts
}

// TestFirstByteOfAnotherUser: nobody's first byte is kept away for more than the slice and a load, wherever it lies.
func TestFirstByteOfAnotherUser(t *testing.T) {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	load := seconds(virtual.UnmountSeconds + virtual.UnloadSeconds + virtual.LoadSeconds + virtual.MountSeconds)
	locate := seconds(2 * virtual.SeekSeconds(0, 0.99/lto8Wraps)) // the one under way, and his own
	const never = 1000 * time.Hour
	t.Logf("one user reads with six threads from two tapes; when another one, who comes after a while, has his first byte")
	t.Logf("%-46s %12s %12s %12s", "", "comes after", "before", "now")
	for _, c := range []struct {
		what    string
		barcode string
		addr    int64
		drives  int
	}{
		{"from a third tape, two drives", "T00002L8", tapeBytes / 2, 2},
		{"from a third tape, one drive", "T00002L8", tapeBytes / 2, 1},
		{"from one of the same tapes, two drives", "T00001L8", tapeBytes * 3 / 4, 2},
		{"from one of the same tapes, one drive", "T00001L8", tapeBytes * 3 / 4, 1},
	} {
		for _, arrives := range []time.Duration{time.Second, 10 * time.Minute} {
			before, _ := firstByte(t, never, arrives, c.barcode, c.addr, c.drives)
			now, mounts := firstByte(t, defaultUserSlice, arrives, c.barcode, c.addr, c.drives)
			t.Logf("%-46s %12s %12s %12s  (%d mounts)", c.what, arrives, before.Round(time.Second), now.Round(time.Second), mounts)
			// A tape that is just being brought when he comes has its slice, too.
			if limit := defaultUserSlice + load + load + locate; now > limit {
				t.Errorf("%s, after %s: %s until the first byte, not %s", c.what, arrives, now, limit)
			}
		}
	}
	long, _ := firstByte(t, 10*time.Minute, time.Second, "T00001L8", tapeBytes*3/4, 2)
	short, _ := firstByte(t, 10*time.Second, time.Second, "T00001L8", tapeBytes*3/4, 2)
	if t.Logf("from one of the same tapes, two drives, with a slice of 10 min: %s, of 10 s: %s", long.Round(time.Second), short.Round(time.Second)); short > 10*time.Second+load+load+locate || long < short+8*time.Minute {
		t.Error("the slice that is given is not the one that counts")
	}
}

// TestOneUserAloneChangesNoTape: without another user there are no slices, whatever he waits for.
func TestOneUserAloneChangesNoTape(t *testing.T) {
	q := &Queue{fetches: map[extentKey]*fetch{}, served: map[uint32]time.Time{}, sessions: map[*session]struct{}{}, drives: 1}
	s := &session{q: q, barcode: "A", mounted: time.Now().Add(-time.Hour)}
	q.sessions[s] = struct{}{}
	copies := func(barcode string) []catalog.CopyPart { return []catalog.CopyPart{{ID: 1, Barcode: barcode}} }
	o := &object{oid: oid}
	q.fetches[extentKey{1, 1}] = &fetch{o: o, users: map[uint32]int{7: 1}, copies: copies("A"), tape: "A", since: time.Now().Add(-time.Hour)}
	q.fetches[extentKey{1, 2}] = &fetch{o: o, users: map[uint32]int{7: 1}, copies: copies("B"), tape: "B", since: time.Now().Add(-time.Hour)}
	if q.makesRoom(s) {
		t.Error("one user's tape makes room for his own other one")
	}
	q.fetches[extentKey{1, 2}].users = map[uint32]int{8: 1}
	if !q.makesRoom(s) {
		t.Error("nothing makes room for another user, who waits for an hour")
	}
	s.mounted = time.Now()
	if q.o.UserSlice = defaultUserSlice; q.makesRoom(s) {
		t.Error("a tape that was just mounted makes room")
	}
}
