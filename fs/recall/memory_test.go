package recall

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
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

// TestWaitingReadsHoldNoMemory: reads that wait for a tape have buffers that others used before them, and hold next to nothing of them.
func TestWaitingReadsHoldNoMemory(t *testing.T) {
	const reads, size = 128, 1 << 20
	w := newWorld(t, 1, "A")
	o := w.seal(2*es, 4*es)
	want := w.version(1, o, 0, 2*es, w.place(o, 0, "A"))
	w.gate = make(chan struct{})
	q := w.queue(Options{})
	f := w.open(q, 1)
	buffers := make([][]byte, reads)
	for i := range buffers {
		buffers[i] = make([]byte, size)
		for at := 0; at < size; at += 512 {
			buffers[i][at] = 1
		}
	}
	debug.FreeOSMemory()
	before := resident(t)
	done := make(chan error, reads)
	for i, p := range buffers {
		go func() {
			n, err := f.ReadAt(context.Background(), p, int64(i%7)*1000)
			if err == nil && string(p[:n]) != string(want[i%7*1000:i%7*1000+size]) {
				err = fmt.Errorf("read %d gave other bytes", i)
			}
			done <- err
		}()
	}
	eventually(t, "all wait", func() bool {
		l := q.Waiting()
		return len(l) == 1 && l[0].Readers == reads
	})
	eventually(t, "their memory is given back", func() bool { return before-resident(t) > reads*size*3/4 })
	close(w.gate)
	for range reads {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
