package cache

import (
	"slices"
	"sync/atomic"

	"github.com/tapefs/tapefs/catalog"
)

// A program that reads a few KiB here and there would have 64 KiB read and hashed for each read. So when a block was held against its
// mark for a small read, marks of its pages are kept, and the next small reads there are held against those. They are kept for the
// extents that were read in this way last.

const (
	pageSize = 4 << 10
	// smallRead is the size up to which a read goes by pages, bytes: beyond it blocks cost little more.
	smallRead = 32 << 10
	// maxPageMarks bounds the extents with marks of pages, 8 KiB each.
	maxPageMarks = 1024
)

// pageMarks are the marks of an extent's pages. Zero: none yet. All methods take nil for an extent without any.
type pageMarks [catalog.ExtentSize / pageSize]atomic.Uint64

// pagesOf returns the marks of an extent's pages, at first none, and lets go of the oldest extent's where there are too many. Called
// with the lock held.
func (c *Cache) pagesOf(e *entry) *pageMarks {
	if e.pages == nil {
		if len(c.paged) >= maxPageMarks {
			c.paged[0].pages = nil
			c.paged = slices.Delete(c.paged, 0, 1)
		}
		e.pages = new(pageMarks)
		c.paged = append(c.paged, e)
	}
	return e.pages
}

// forgetPages takes the marks of an extent's pages away. Called with the lock held.
func (c *Cache) forgetPages(e *entry) {
	if e.pages != nil {
		e.pages = nil
		c.paged = slices.DeleteFunc(c.paged, func(x *entry) bool { return x == e })
	}
}

// note keeps the marks of a block that is as it should be.
func (m *pageMarks) note(n int64, block []byte) {
	if m == nil {
		return
	}
	i := n * MarkBlock / pageSize
	for page := range slices.Chunk(block, pageSize) {
		m[i].Store(MarkOf(page))
		i++
	}
}

// have reports whether all pages that a read of some bytes touches have marks.
func (m *pageMarks) have(size, offset int64, length int) bool {
	if m == nil || length == 0 {
		return false
	}
	for i := offset / pageSize; i <= (min(offset+int64(length), size)-1)/pageSize; i++ {
		if m[i].Load() == 0 {
			return false
		}
	}
	return true
}

// read fills dst from pages that all have marks.
func (m *pageMarks) read(f extentFile, size int64, dst []byte, offset int64) error {
	buffer := blockBuffers.Get().(*[MarkBlock]byte)
	defer blockBuffers.Put(buffer)
	start := offset / pageSize * pageSize
	end := min((offset+int64(len(dst))+pageSize-1)/pageSize*pageSize, size)
	data := buffer[:end-start]
	if err := ReadAll(f, data, start); err != nil {
		return err
	}
	i := start / pageSize
	for page := range slices.Chunk(data, pageSize) {
		if MarkOf(page) != m[i].Load() {
			return errMark
		}
		i++
	}
	copy(dst, data[offset-start:])
	return nil
}
