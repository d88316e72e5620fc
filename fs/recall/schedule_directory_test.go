package recall

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// byDirectory has the real queue serve the reads, of which each reader's are the files of a directory of its own. It copies them as cp -r
// does: in their order, and each when it has the one before.
func (k *kind) byDirectory(t *testing.T, list []demand, drives int) (a account) {
	w := newWorld(t, 0)
	l := &simLibrary{world: w, kind: k, dir: filepath.Join(w.dir, "tapes")}
	one := w.seal(100, catalog.ExtentSize)
	content := one.plain
	files := map[int][]catalog.ID{}
	for i, d := range list {
		id := catalog.ID(i + 1)
		loc := catalog.Location{Object: one.Object, Version: catalog.Version{ID: id, Data: id, Inode: id, Parent: catalog.ID(1_000_000 + d.reader),
			Kind: catalog.File, Size: int64(len(content)), State: catalog.Present}}
		loc.Object.ID, loc.Object.OID = int64(i+1), fmt.Sprintf("%032x", i+1)
		w.sums[[2]int64{loc.Object.ID, 0}] = w.sums[[2]int64{one.ID, 0}]
		place := w.place(one, d.addr/tapeBlock, d.barcode)
		loc.Places = []catalog.Place{place}
		w.locs[id] = loc
		files[d.reader] = append(files[d.reader], id)
		if !slices.Contains(l.slots, d.barcode) {
			l.slots = append(l.slots, d.barcode)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l.free = make(chan *head, drives)
		for range drives {
			h := &head{kind: k}
			l.heads = append(l.heads, h)
			l.free <- h
		}
		q, err := newQueue(l, w, l, Options{CacheDir: filepath.Join(w.dir, "cache"), CacheReserve: -1, Ahead: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		q.onRead = l.read
		start := time.Now()
		var wait sync.WaitGroup
		for _, ids := range files {
			wait.Go(func() {
				for _, id := range ids {
					if err := copyWhole(q, id, content); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		a = l.account()
		a.end = time.Since(start).Seconds()
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return a
}

// copyWhole reads a file from beginning to end.
func copyWhole(q *Queue, id catalog.ID, want []byte) error {
	f, err := q.Open(context.Background(), id)
	if err != nil {
		return err
	}
	defer f.Close()
	p := make([]byte, len(want))
	if n, err := f.ReadAt(context.Background(), p, 0); n != len(p) || !bytes.Equal(p, want) {
		return fmt.Errorf("read %d bytes of version %d: %w", n, id, err)
	}
	f.Complete() // as the mount asks when it is opened the next time
	return nil
}

// TestReadersThatAskOneByOne: what comes next in a directory is foreseen, on whatever tape it is.
func TestReadersThatAskOneByOne(t *testing.T) {
	list := drives8.demands(400, 20, 8)
	first, a := drives8.inOrder(list, 2), drives8.byDirectory(t, list, 2)
	if t.Logf("%.1f times as fast as first-come, %d mounts", first.end/a.end, a.mounts); a.end*7 > first.end {
		t.Errorf("readers that ask one by one are served %.1f times as fast as first-come, not 7", first.end/a.end)
	}
}
