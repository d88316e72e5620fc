package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// An extent's SHA-256 is compared when it is first used in a process. Its file may rot afterwards, when its pages have left the
// memory, and a SHA-256 of 4 MiB for each read would cost more than the read. So a keyed hash of each block is kept from
// that comparison, and every read of the extent is held against those, wherever its bytes come from.

// MarkBlock is how many bytes one kept hash stands for: reads are widened to whole blocks.
const MarkBlock = 64 << 10

// markSeed is this process's, and never leaves it: no file on disk can be made to fit.
var markSeed = rand.Uint64()

// MarkOf is a hash that runs at the speed of memory: of what a cached read costs, deciphering above all, it is a few percent
// (BenchmarkCachedRead).
func MarkOf(block []byte) uint64 { return xxh3.HashSeed(block, markSeed) }

// marksOf are the hashes of an extent's blocks.
func marksOf(data []byte) []uint64 {
	marks := make([]uint64, 0, (len(data)+MarkBlock-1)/MarkBlock)
	for block := range slices.Chunk(data, MarkBlock) {
		marks = append(marks, MarkOf(block))
	}
	return marks
}

// maxCacheFiles bounds how many files of the cache are open at once: readers of cached files are many, and descriptors few.
const maxCacheFiles = 32

// Read copies bytes of an extent from offset on into dst, all of them held against the catalog's sum or what was kept of it. It
// reports false when the extent is not there, or was bad and is gone now. An error is one of this machine or of ctx, and says nothing
// of the extent. Size is the whole extent's, sum its SHA-256.
func (c *Cache) Read(ctx context.Context, oid string, n, size int64, sum [sha256.Size]byte, dst []byte, offset int64) (bool, error) {
	c.mu.Lock()
	e := c.entry(oid, n)
	for e != nil && e.checking != nil {
		wait := e.checking
		c.mu.Unlock()
		<-wait
		c.mu.Lock()
		e = c.entry(oid, n)
	}
	if e == nil {
		c.mu.Unlock()
		return false, nil
	}
	if e.size != size {
		c.log.Warn("cached extent has a wrong size", "object", oid, "extent", n, "bytes", e.size)
		c.drop(e)
		c.mu.Unlock()
		return false, nil
	}
	e.reads++
	e.used = time.Now()
	c.used.MoveToFront(e.elem)
	touch := c.own.Load() && e.used.Sub(e.touched) > touchEvery
	if touch {
		e.touched = e.used
	}
	when, marks := e.used, e.marks
	var pages *pageMarks
	if marks == nil {
		e.checking = make(chan struct{})
	} else if len(dst) <= smallRead {
		pages = c.pagesOf(e)
	}
	checking := e.checking
	c.mu.Unlock()

	name := c.file(oid, n)
	var fresh []uint64
	err := changer.WithPatience(ctx, 0, func() (err error) {
		if err := TakeSlot(ctx, c.files, dst); err != nil {
			return err
		}
		defer func() { <-c.files }()
		if marks == nil {
			fresh, err = verifyFile(name, size, sum, dst, offset)
			return err
		}
		return readMarked(name, size, marks, pages, dst, offset)
	})
	if touch && err == nil {
		// Only the order of eviction after a restart hangs on it.
		_ = os.Chtimes(name, when, when)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	e.reads--
	if checking != nil {
		close(checking)
		e.checking = nil
	}
	switch fault := changer.FaultOf(err); {
	case err == nil:
		if fresh != nil {
			e.prove(fresh)
		}
		return true, nil
	case fault == changer.Missing:
		c.drop(e) // somebody emptied the cache
		return false, nil
	case fault.Passing():
		clear(dst)
		return false, fmt.Errorf("read cached extent: %w", err)
	}
	clear(dst)
	c.log.Warn("cached extent is bad and is fetched again", "object", oid, "extent", n, "err", err)
	c.drop(e)
	return false, nil
}

// TakeSlot waits until one more read may be under way, or until ctx ends. Meanwhile the buffer to be filled, dst, holds no memory. The
// caller receives from slots when the read is over.
func TakeSlot(ctx context.Context, slots chan struct{}, dst []byte) error {
	select {
	case slots <- struct{}{}:
		return nil
	default:
	}
	GiveBackPages(dst)
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prove notes that an extent equalled its sum. Called with the cache's lock held.
func (e *entry) prove(marks []uint64) {
	e.marks = marks
	e.c.verified.Set(e.n, true)
}

// ErrSum is an extent that is not what was written.
var ErrSum = fmt.Errorf("%w: SHA-256 differs from the catalog's", changer.ErrAltered)

// errMark: a block differs from what it was when its extent was verified.
var errMark = fmt.Errorf("%w: it changed after it was verified", changer.ErrAltered)

// verifyBuffers keeps a few *[]byte of an extent's size: a reader of many files needs one for each extent, for a moment.
// blockBuffers keeps those of a block's.
var (
	verifyBuffers sync.Pool
	blockBuffers  = sync.Pool{New: func() any { return new([MarkBlock]byte) }}
)

// openRegular opens a file of the cache's folder. Somebody may have put anything in its place since: what is no file of its own is
// refused, and nobody waits for the other end of a pipe.
func openRegular(name string) (extentFile, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := extentFile(fd)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("%w: %s is no regular file", changer.ErrAltered, name)
	}
	if err != nil {
		f.Close()
		return 0, err
	}
	return f, nil
}

// extentFile is an open descriptor. A cached file is opened for each read of it, and an os.File would cost more than the read of a page:
// it is entered into the poller, which refuses regular files, and has a finalizer.
type extentFile int

func (f extentFile) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		k, err := unix.Pread(int(f), p[n:], off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("read: %w", err)
		}
		if k == 0 {
			return n, io.EOF
		}
		n += k
	}
	return n, nil
}

func (f extentFile) Close() error { return unix.Close(int(f)) }

// verifyFile reads the whole file and copies from it only when it has the size and sum. It returns its blocks' marks.
func verifyFile(name string, size int64, sum [sha256.Size]byte, dst []byte, offset int64) ([]uint64, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var data []byte
	if kept, ok := verifyBuffers.Get().(*[]byte); ok && int64(cap(*kept)) >= size {
		data = (*kept)[:size]
	} else {
		data = make([]byte, max(size, catalog.ExtentSize))[:size]
	}
	defer verifyBuffers.Put(&data)
	if _, err = f.ReadAt(data, 0); err != nil {
		return nil, err
	}
	if sha256.Sum256(data) != sum {
		return nil, ErrSum
	}
	copy(dst, data[offset:])
	return marksOf(data), nil
}

// readMarked reads bytes of an extent that was verified before, by whole blocks that must have their marks, or by pages where all that
// are touched have marks of their own. Pages may be nil.
func readMarked(name string, size int64, marks []uint64, pages *pageMarks, dst []byte, offset int64) error {
	f, err := openRegular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if pages.have(size, offset, len(dst)) {
		return pages.read(f, size, dst, offset)
	}
	return ReadBlocks(f, size, dst, offset, func(n int64, block []byte) error {
		if MarkOf(block) != marks[n] {
			return errMark
		}
		pages.note(n, block)
		return nil
	})
}

// ReadBlocks fills dst with bytes of a file from offset on. It reads whole blocks of MarkBlock bytes, the last of which ends where the
// file does, at size, and hands each with its number to check; the first error of check ends it.
func ReadBlocks(f io.ReaderAt, size int64, dst []byte, offset int64, check func(n int64, block []byte) error) error {
	buffer := blockBuffers.Get().(*[MarkBlock]byte)
	defer blockBuffers.Put(buffer)
	for len(dst) > 0 {
		n := offset / MarkBlock
		start := n * MarkBlock
		end := min(start+MarkBlock, size)
		if offset == start && int64(len(dst)) >= end-start { // whole blocks go where they are wanted
			whole := int64(len(dst))
			if offset+whole < size {
				whole -= whole % MarkBlock
			}
			if err := ReadAll(f, dst[:whole], offset); err != nil {
				return err
			}
			for block := range slices.Chunk(dst[:whole], MarkBlock) {
				if err := check(n, block); err != nil {
					return err
				}
				n++
			}
			dst, offset = dst[whole:], offset+whole
			continue
		}
		block := buffer[:end-start]
		if err := ReadAll(f, block, start); err != nil {
			return err
		}
		if err := check(n, block); err != nil {
			return err
		}
		k := copy(dst, block[offset-start:])
		dst, offset = dst[k:], offset+int64(k)
	}
	return nil
}

// ReadAll fills p from off on. It returns io.ErrUnexpectedEOF when the file ends before that.
func ReadAll(f io.ReaderAt, p []byte, off int64) error {
	_, err := f.ReadAt(p, off)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
