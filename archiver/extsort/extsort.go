// Package extsort sorts any number of records in bounded memory, by sorted files on disk.
//
// A record is a key and a value, of any bytes. A Sorter gathers records in memory; when they exceed its limit they are sorted
// and written to a file, a run. Runs are merged while they are read. Records of equal keys come in the order in which they were added.
// The files have no names: nothing is left behind by a process that dies.
//
// The steps, each once and in this order: Add for each record, Sort, Next until there is none, Close.
//
// The package imports nothing of tapefs.
package extsort

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Memory is the memory a Sorter fills before it spills, bytes, unless its Limit says less or more. Ten million
// files of a hundred bytes make forty runs.
const Memory = 32 << 20

// Sorter orders any number of records by key, stable, in bounded memory: sorted runs go
// into unlinked files of Dir and are merged. Not safe for concurrent use.
type Sorter struct {
	Dir   string
	Limit int // bytes in memory; 0: Memory

	buf   []byte
	recs  []record
	runs  []*runReader
	merge runHeap
	next0 int // in recs, when nothing was spilled
}

type record struct{ start, key, end uint32 }

// Add takes a record. Its bytes are copied.
func (s *Sorter) Add(key, val []byte) error {
	limit := s.Limit
	if limit == 0 {
		limit = Memory
	}
	// A record costs 12 bytes besides its own.
	if len(s.recs) > 0 && len(s.buf)+12*len(s.recs)+len(key)+len(val) > limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	start := uint32(len(s.buf))
	s.buf = append(append(s.buf, key...), val...)
	s.recs = append(s.recs, record{start, start + uint32(len(key)), uint32(len(s.buf))})
	return nil
}

func (s *Sorter) order() {
	slices.SortFunc(s.recs, func(a, b record) int {
		if c := bytes.Compare(s.buf[a.start:a.key], s.buf[b.start:b.key]); c != 0 {
			return c
		}
		return cmp.Compare(a.start, b.start)
	})
}

func (s *Sorter) spill() error {
	s.order()
	f, err := os.CreateTemp(s.Dir, "run-")
	if err != nil {
		return fmt.Errorf("spill what is sorted: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return fmt.Errorf("spill what is sorted: %w", err)
	}
	s.runs = append(s.runs, &runReader{file: f, number: len(s.runs)})
	w := bufio.NewWriterSize(f, 1<<18)
	var head []byte
	for _, r := range s.recs {
		head = binary.AppendUvarint(head[:0], uint64(r.key-r.start))
		head = binary.AppendUvarint(head, uint64(r.end-r.key))
		_, _ = w.Write(head)
		_, _ = w.Write(s.buf[r.start:r.end])
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("spill what is sorted: %w", err)
	}
	s.buf, s.recs = s.buf[:0], s.recs[:0]
	return nil
}

// Sort ends adding.
func (s *Sorter) Sort() error {
	if len(s.runs) == 0 {
		s.order()
		return nil
	}
	if len(s.recs) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.buf, s.recs = nil, nil
	for _, r := range s.runs {
		if _, err := r.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read a sorted run: %w", err)
		}
		r.r = bufio.NewReaderSize(r.file, 1<<16)
		if ok, err := r.advance(); err != nil {
			return err
		} else if ok {
			s.merge = append(s.merge, r)
		}
	}
	heap.Init(&s.merge)
	return nil
}

// Next returns the record with the smallest key, valid until the following call. ok is false when there is none left.
func (s *Sorter) Next() (key, val []byte, ok bool, err error) {
	if len(s.runs) == 0 {
		if s.next0 == len(s.recs) {
			return nil, nil, false, nil
		}
		r := s.recs[s.next0]
		s.next0++
		return s.buf[r.start:r.key], s.buf[r.key:r.end], true, nil
	}
	if len(s.merge) > 0 && s.merge[0].taken {
		r := s.merge[0]
		ok, err := r.advance()
		if err != nil {
			return nil, nil, false, err
		}
		if ok {
			heap.Fix(&s.merge, 0)
		} else {
			heap.Pop(&s.merge)
		}
	}
	if len(s.merge) == 0 {
		return nil, nil, false, nil
	}
	r := s.merge[0]
	r.taken = true
	return r.key, r.val, true, nil
}

// Close gives up memory and files.
func (s *Sorter) Close() {
	for _, r := range s.runs {
		r.file.Close()
	}
	s.runs, s.merge, s.buf, s.recs = nil, nil, nil, nil
}

type runReader struct {
	file   *os.File
	number int
	r      *bufio.Reader
	key    []byte
	val    []byte
	taken  bool // key and val were handed out
}

func (r *runReader) advance() (bool, error) {
	r.taken = false
	k, err := binary.ReadUvarint(r.r)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	var v uint64
	if err == nil {
		v, err = binary.ReadUvarint(r.r)
	}
	if err == nil {
		r.key = slices.Grow(r.key[:0], int(k))[:k]
		r.val = slices.Grow(r.val[:0], int(v))[:v]
		if _, err = io.ReadFull(r.r, r.key); err == nil {
			_, err = io.ReadFull(r.r, r.val)
		}
	}
	if err != nil {
		return false, fmt.Errorf("read a sorted run: %w", err)
	}
	return true, nil
}

type runHeap []*runReader

func (h runHeap) Len() int { return len(h) }
func (h runHeap) Less(i, j int) bool {
	if c := bytes.Compare(h[i].key, h[j].key); c != 0 {
		return c < 0
	}
	return h[i].number < h[j].number
}
func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *runHeap) Push(x any)   { *h = append(*h, x.(*runReader)) }
func (h *runHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
