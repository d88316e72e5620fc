package recall

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall/blocksums"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// What waits in the spool may lie there for weeks, on a disk that may rot. Whatever is read of it is held against what was fetched:
// a small file as a whole against its SHA-256, a large one block by block against sums that were made together with its SHA-256. A
// file of a source that is read in place was not fetched, and its owner may change it: it is known by inode, time and owner.

// errRot: what lies in the spool is not what was fetched.
var errRot = fmt.Errorf("%w: its bytes are not those that were fetched", changer.ErrAltered)

// spoolProof is what the bytes of a spool file are held against.
type spoolProof struct {
	local bool // a source that is read in place
	size  int64
	sum   []byte // SHA-256
	sums  string // the file of block sums

	proofMu sync.Mutex     // protects all below
	mark    uint64         // of a small file, once its SHA-256 was right
	marked  bool           // there is one
	page    blocksums.Page // of a large one: those of the last read
	making  *sumsMaking    // nil: nobody is at it
	bad     error          // its SHA-256 was wrong
	told    bool           // its damage was noted
}

// sumsMaking is block sums being made.
type sumsMaking struct {
	done chan struct{}
	err  error // after that
}

// proofOf says how a version in the spool is proved. The file name of its block sums is that which the archiver gave it.
func (q *Queue) proofOf(loc catalog.Location) *spoolProof {
	p := &spoolProof{local: loc.Batch.Local, size: loc.Version.Size, sum: loc.Version.SHA256}
	if !p.local {
		p.sums = blocksums.Name(filepath.Join(q.o.SpoolDir, loc.Batch.Dir+catalog.FetchSuffix), int64(loc.Version.ID))
	}
	return p
}

// summed reports whether reading it waits for nothing but the disk.
func (s *spoolFile) summed() bool {
	return s.local || s.size < blocksums.Least || blocksums.Check(s.sums, s.size, s.sum) == nil
}

// readShared reads bytes of a spool file, all of which are proved. The error is changer.Damaged when they are not those that were
// fetched, after a second try past the memory.
func (q *Queue) readShared(ctx context.Context, s *spoolFile, p []byte, off int64) error {
	err := q.readSharedOnce(ctx, s, p, off)
	if s.local || !changer.FaultOf(err).OfFile() || s.isBad() != nil {
		return err
	}
	from := off / blocksums.Block * blocksums.Block
	// Only an advice: pages of the memory may be bad, or were read when the disk was.
	_ = unix.Fadvise(int(s.Fd()), from, off+int64(len(p))+blocksums.Block-from, unix.FADV_DONTNEED)
	return q.readSharedOnce(ctx, s, p, off)
}

func (q *Queue) readSharedOnce(ctx context.Context, s *spoolFile, p []byte, off int64) error {
	if err := s.isBad(); err != nil {
		return err
	}
	large := !s.local && s.size >= blocksums.Least
	var page blocksums.Page
	if large { // before a slot is taken: it may take long
		var err error
		if page, err = q.pageOf(ctx, s, off/blocksums.Block); err != nil {
			return err
		}
	}
	if err := cache.TakeSlot(ctx, q.spoolReads, p); err != nil {
		return err
	}
	defer func() { <-q.spoolReads }()
	switch {
	case s.local:
		_, err := s.ReadAt(p, off)
		return err
	case !large:
		return s.readSmall(p, off)
	}
	return cache.ReadBlocks(s.File, s.size, p, off, func(n int64, block []byte) (err error) {
		if !page.Has(n) {
			if page, err = q.pageOf(ctx, s, n); err != nil {
				return err
			}
		}
		if err := page.Check(n, block); err != nil {
			return fmt.Errorf("%w: %w", changer.ErrAltered, err)
		}
		return nil
	})
}

func (s *spoolFile) isBad() error {
	s.proofMu.Lock()
	defer s.proofMu.Unlock()
	return s.bad
}

// smallBuffers keeps a few buffers for whole small files.
var smallBuffers = sync.Pool{New: func() any { return new([blocksums.Least]byte) }}

// readSmall reads the whole file, and copies from it only when it is what was fetched.
func (s *spoolFile) readSmall(p []byte, off int64) error {
	buffer := smallBuffers.Get().(*[blocksums.Least]byte)
	defer smallBuffers.Put(buffer)
	data := buffer[:s.size]
	if err := cache.ReadAll(s.File, data, 0); err != nil {
		return err
	}
	s.proofMu.Lock()
	mark, marked := s.mark, s.marked
	s.proofMu.Unlock()
	if marked {
		if cache.MarkOf(data) != mark {
			return errRot
		}
	} else {
		if sha256.Sum256(data) != [sha256.Size]byte(s.sum) {
			return errRot
		}
		s.proofMu.Lock()
		s.mark, s.marked = cache.MarkOf(data), true
		s.proofMu.Unlock()
	}
	copy(p, data[off:])
	return nil
}

// pageOf finds the sums of a block of a large file. Where there are none they are made first, which reads the whole file once.
func (q *Queue) pageOf(ctx context.Context, s *spoolFile, block int64) (blocksums.Page, error) {
	s.proofMu.Lock()
	page := s.page
	s.proofMu.Unlock()
	if page.Has(block) {
		return page, nil
	}
	page, err := blocksums.ReadPage(s.sums, s.size, s.sum, block)
	if errors.Is(err, blocksums.ErrUnusable) {
		var st unix.Stat_t
		if serr := unix.Fstat(int(s.Fd()), &st); serr == nil && st.Nlink == 0 {
			return page, errChanged // it is safe on tape, and its batch was removed
		}
		if err := q.makeSums(ctx, s, err); err != nil {
			return page, err
		}
		page, err = blocksums.ReadPage(s.sums, s.size, s.sum, block)
	}
	if errors.Is(err, blocksums.ErrUnusable) { // it says nothing of the file
		return page, fmt.Errorf("read the block sums that were made just now: %v", err) //nolint:errorlint // no fault of the file's
	}
	if err != nil {
		return page, err
	}
	s.proofMu.Lock()
	s.page = page
	s.proofMu.Unlock()
	return page, nil
}

// makeSums waits until a file's block sums were made anew from its bytes, which must have their SHA-256. It goes on when ctx ends and
// nobody waits: the next reader will want them.
func (q *Queue) makeSums(ctx context.Context, s *spoolFile, why error) error {
	s.proofMu.Lock()
	m := s.making
	if m == nil {
		m = &sumsMaking{done: make(chan struct{})}
		q.mu.Lock()
		closed := q.closed
		if !closed {
			q.running.Add(1)
		}
		q.mu.Unlock()
		if closed {
			s.proofMu.Unlock()
			return ErrClosed
		}
		s.making = m
		q.log.Info("a file in the spool has no block sums: it is read whole once before it is served", "version", s.id, "bytes", s.size, "why", why)
		go func() {
			defer q.running.Done()
			err := q.sumBlocks(s)
			s.proofMu.Lock()
			if errors.Is(err, errRot) {
				s.bad = err
			}
			s.making, m.err = nil, err
			s.proofMu.Unlock()
			close(m.done)
		}()
	}
	s.proofMu.Unlock()
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sumBlocks makes the block sums of a file that is what was fetched.
func (q *Queue) sumBlocks(s *spoolFile) error {
	select {
	case q.spoolSums <- struct{}{}:
		defer func() { <-q.spoolSums }()
	case <-q.soft.Done():
		return ErrClosed
	}
	w, err := blocksums.Create(s.sums)
	if err != nil {
		return err
	}
	h := sha256.New()
	in := io.NewSectionReader(s.File, 0, s.size)
	buf := make([]byte, 1<<20)
	for {
		n, err := in.Read(buf)
		h.Write(buf[:n])
		if _, werr := w.Write(buf[:n]); err == nil {
			err = werr
		}
		if q.soft.Err() != nil {
			err = ErrClosed
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			w.Drop()
			return err
		}
	}
	if [sha256.Size]byte(h.Sum(nil)) != [sha256.Size]byte(s.sum) {
		w.Drop()
		return errRot
	}
	return w.Commit(s.sum)
}

// noteRot tells once of a file in the spool that is not what was fetched.
func (q *Queue) noteRot(s *spoolFile, off int64, why error) {
	s.proofMu.Lock()
	told := s.told
	s.told = true
	s.proofMu.Unlock()
	if told {
		return
	}
	q.log.Warn("a file in the spool is damaged: the next archive run fetches it again", "version", s.id, "offset", off, "err", why)
	if q.o.SpoolDamaged != nil {
		q.o.SpoolDamaged(s.id, why)
	}
}
