package cache

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// Spans answer "how much of this version is cached" without the catalog: a listing asks that for
// each file. They are noted when a version is read and kept beside the extents, in a file
// "versions" of lines "ID START SIZE" (offsets in sealed bytes), so that they outlive the process.
// They only count; what is read is never found by them.

// Note remembers where a version's bytes lie, as long as the cache has anything of its object.
func (c *Cache) Note(id catalog.ID, oid string, start, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[oid]
	if o == nil || c.closed || c.spans[id] == (span{o, start, size}) {
		return
	}
	c.setSpan(id, span{o, start, size})
	if !c.own.Load() {
		return
	}
	err := appendSpan(c.spansFile(o), id, c.spans[id])
	if err != nil {
		c.log.Debug("note cached version", "object", oid, "version", id, "err", err)
	}
}

// Cached returns how many of a version's bytes are cached.
func (c *Cache) Cached(id catalog.ID) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.spans[id]
	if !ok || s.size == 0 {
		return 0
	}
	end := s.start + s.size
	first, last := s.extents()
	n := s.c.have.Count(first, last+1) * catalog.ExtentSize
	if s.c.have.Get(first) {
		n -= s.start - first*catalog.ExtentSize
	}
	if s.c.have.Get(last) {
		n -= (last+1)*catalog.ExtentSize - end
	}
	return n
}

func (c *Cache) setSpan(id catalog.ID, s span) {
	if old, ok := c.spans[id]; ok {
		delete(old.c.versions, id)
	}
	c.spans[id] = s
	s.c.versions[id] = struct{}{}
}

// forgetEmpty drops all that is known of an object without extents and pins.
func (c *Cache) forgetEmpty(o *cached) {
	if len(o.extents) > 0 || len(o.pinnedBy) > 0 {
		return
	}
	for id := range o.versions {
		delete(c.spans, id)
	}
	delete(c.objects, o.oid)
	if c.own.Load() {
		os.Remove(c.spansFile(o))
		os.Remove(filepath.Dir(c.spansFile(o)))
	}
}

func (c *Cache) spansFile(o *cached) string {
	return filepath.Join(c.dir, o.oid[:2], o.oid, "versions")
}

func (c *Cache) readSpans(o *cached) {
	for id, s := range c.readSpanFile(c.spansFile(o)) {
		s.c = o
		c.setSpan(id, s)
	}
}

// maxNotes bounds what is read of one file of notes, bytes: some hundred thousand versions in one object.
const maxNotes = 16 << 20

// spanLine is how a span is noted: version, start, size.
const spanLine = "%d %d %d\n"

func appendSpan(name string, id catalog.ID, s span) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, spanLine, id, s.start, s.size)
	return errors.Join(err, f.Close())
}

// readSpanFile reads noted spans, without their object. Lines that make no sense are skipped.
func (c *Cache) readSpanFile(name string) map[catalog.ID]span {
	f, err := openRegular(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	spans := map[catalog.ID]span{}
	r := bufio.NewReader(io.NewSectionReader(f, 0, maxNotes))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.log.Debug("read noted versions", "file", name, "err", err)
			}
			return spans
		}
		var id catalog.ID
		var s span
		if n, _ := fmt.Sscanf(strings.TrimSuffix(line, "\n"), "%d %d %d", &id, &s.start, &s.size); n != 3 {
			continue
		}
		if id > 0 && s.start >= 0 && s.size > 0 && s.size <= maxExtents*catalog.ExtentSize-s.start {
			spans[id] = s
		}
	}
}
