package archiver

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

// sortedRun is the memory a sorter fills before it spills, bytes. Ten million
// files of a hundred bytes make forty runs.
const sortedRun = 32 << 20

// sorter orders any number of records by key, stable, in bounded memory: sorted runs go
// into unlinked files of dir and are merged. add all, then sort, then next until false, then close.
type sorter struct {
	dir   string
	limit int // bytes in memory; 0: sortedRun
	buf   []byte
	recs  []record
	runs  []*runReader
	merge runHeap
	next0 int // in recs, when nothing was spilled
}

type record struct{ start, key, end uint32 }

func (s *sorter) add(key, val []byte) error {
	limit := s.limit
	if limit == 0 {
		limit = sortedRun
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

func (s *sorter) order() {
	slices.SortFunc(s.recs, func(a, b record) int {
		if c := bytes.Compare(s.buf[a.start:a.key], s.buf[b.start:b.key]); c != 0 {
			return c
		}
		return cmp.Compare(a.start, b.start)
	})
}

func (s *sorter) spill() error {
	s.order()
	f, err := os.CreateTemp(s.dir, "run-")
	if err != nil {
		return fmt.Errorf("spill the listing: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return fmt.Errorf("spill the listing: %w", err)
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
		return fmt.Errorf("spill the listing: %w", err)
	}
	s.buf, s.recs = s.buf[:0], s.recs[:0]
	return nil
}

// sort ends adding.
func (s *sorter) sort() error {
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

// next returns the record with the smallest key, valid until the following call.
func (s *sorter) next() (key, val []byte, ok bool, err error) {
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

func (s *sorter) close() {
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
