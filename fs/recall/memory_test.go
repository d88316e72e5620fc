package recall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"testing"
)

// resident is how much memory this process has, bytes.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// TestWaitingReadsHoldNoMemory: 4,000 reads of 1 MiB that wait for a tape have buffers that others used before them, and hold next to
// nothing of them: no more than 64 MiB and no descriptor.
func TestWaitingReadsHoldNoMemory(t *testing.T) {
	const (
		reads, size = 4000, 1 << 20
		bound       = 64 << 20
		atOnce      = 100 // buffers that still are full; the rest already waits
	)
	if race {
		t.Skip("the race detector's own memory cannot be told from what reads hold")
	}
	w := newWorld(t, 1, "A")
	o := w.seal(2*es, 4*es)
	want := w.version(1, o, 0, 2*es, w.place(o, 0, "A"))
	w.gate = make(chan struct{})
	open := sync.OnceFunc(func() { close(w.gate) })
	q := w.queue(Options{})
	t.Cleanup(open) // also when it fails: the queue is closed after this
	f := w.open(q, 1)
	debug.FreeOSMemory()
	before, files := resident(t), descriptors(t)
	waiting := func(n int) func() bool {
		return func() bool {
			l := q.Waiting()
			return len(l) == 1 && l[0].Readers == n
		}
	}
	done := make(chan error, reads)
	leaving, cancel := context.WithCancel(t.Context())
	defer cancel()
	read := func(i int, p []byte) error {
		ctx := leaving
		if i < atOnce {
			ctx = t.Context() // these stay until the tape has come
		}
		n, err := f.ReadAt(ctx, p, int64(i%7)*1000)
		if err == nil && string(p[:n]) != string(want[i%7*1000:i%7*1000+size]) {
			err = fmt.Errorf("read %d gave other bytes", i)
		}
		if i >= atOnce && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	for i := range reads {
		p := make([]byte, size)
		for at := 0; at < size; at += 512 {
			p[at] = 1
		}
		go func() { done <- read(i, p) }()
		if (i+1)%atOnce == 0 {
			eventually(t, "all wait", waiting(i+1))
		}
	}
	var held int64
	eventually(t, "their memory is given back", func() bool {
		held = resident(t) - before
		return held <= bound
	})
	more := descriptors(t) - files
	t.Logf("%d waiting reads of %d KiB hold %d KiB, %.1f KiB each, and %d descriptors", reads, size>>10, held>>10, float64(held)/reads/1024, more)
	if more > 16 {
		t.Errorf("%d descriptors for reads that wait", more)
	}
	cancel()
	eventually(t, "who was interrupted has left", waiting(atOnce))
	open()
	for range reads {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
