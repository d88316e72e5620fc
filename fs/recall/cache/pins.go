package cache

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/tapefs/tapefs/catalog"
)

// Pins keep extents of chosen versions from being evicted. They are noted beside the extents, in a file
// "pinned" of lines "ID START SIZE" as those of spans, so that they outlive the process. What is pinned and
// not there yet stays once it is read.

// ErrPinned says that more would be pinned than the cache may give away.
var ErrPinned = errors.New("the cache cannot pin that much")

// pinnable is how much of the cache may be pinned: the rest is for everybody else.
func (c *Cache) pinnable() int64 { return c.max - c.max/10 }

// Pin keeps the extents of a version, size sealed bytes of the object oid from start on. It returns ErrPinned when they would be too many.
func (c *Cache) Pin(id catalog.ID, oid string, start, size int64) error {
	if size == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" || !c.own.Load() || c.closed {
		return errors.New("this process does not own the cache")
	}
	if s, ok := c.pins[id]; ok && s.c.oid == oid && s.start == start && s.size == size {
		return nil
	}
	c.removePin(id)
	s := span{c.object(oid), start, size}
	first, last := s.extents()
	fresh := int64(0)
	for n := first; n <= last; n++ {
		if s.c.pinned[n] == 0 {
			fresh++
		}
	}
	if (c.pinnedSpan+fresh)*catalog.ExtentSize > c.pinnable() {
		c.forgetEmpty(s.c)
		return ErrPinned
	}
	c.setPin(id, s)
	name := c.pinsFile(oid)
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err == nil {
		err = appendSpan(name, id, s)
	}
	if err != nil {
		c.removePin(id)
		return fmt.Errorf("note pinned version %d: %w", id, err)
	}
	return nil
}

// Unpin takes pins back and returns how many there were.
func (c *Cache) Unpin(ids []catalog.ID) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" || !c.own.Load() || c.closed {
		return 0, errors.New("this process does not own the cache")
	}
	changed := map[*cached]bool{}
	n := 0
	for _, id := range ids {
		if s, ok := c.pins[id]; ok {
			c.removePin(id)
			changed[s.c] = true
			n++
		}
	}
	var err error
	for o := range changed {
		err = errors.Join(err, c.writePins(o))
		c.forgetEmpty(o)
	}
	return n, err
}

// setPin counts what a pin adds. Called with the lock held, as all below.
func (c *Cache) setPin(id catalog.ID, s span) {
	c.pins[id] = s
	if s.c.pinnedBy == nil {
		s.c.pinnedBy, s.c.pinned = map[catalog.ID]struct{}{}, map[int64]int{}
	}
	s.c.pinnedBy[id] = struct{}{}
	first, last := s.extents()
	for n := first; n <= last; n++ {
		if s.c.pinned[n]++; s.c.pinned[n] == 1 {
			c.pinnedSpan++
			if e := s.c.extents[n]; e != nil {
				c.pinnedBytes += e.size
			}
		}
	}
}

// removePin forgets a pin; extents that another version pins stay.
func (c *Cache) removePin(id catalog.ID) {
	s, ok := c.pins[id]
	if !ok {
		return
	}
	delete(c.pins, id)
	delete(s.c.pinnedBy, id)
	first, last := s.extents()
	for n := first; n <= last; n++ {
		if s.c.pinned[n]--; s.c.pinned[n] == 0 {
			delete(s.c.pinned, n)
			c.pinnedSpan--
			if e := s.c.extents[n]; e != nil {
				c.pinnedBytes -= e.size
			}
		}
	}
}

// writePins replaces what is noted of an object's pins.
func (c *Cache) writePins(o *cached) error {
	name := c.pinsFile(o.oid)
	if len(o.pinnedBy) == 0 {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget pins of object %s: %w", o.oid, err)
		}
		return nil
	}
	var text []byte
	for id := range o.pinnedBy {
		s := c.pins[id]
		text = fmt.Appendf(text, spanLine, id, s.start, s.size)
	}
	if err := renameio.WriteFile(name, text, 0o600); err != nil {
		return fmt.Errorf("note pins of object %s: %w", o.oid, err)
	}
	return nil
}

func (c *Cache) pinsFile(oid string) string {
	return filepath.Join(c.dir, oid[:2], oid, "pinned")
}

// readPins takes up what an earlier process pinned in an object.
func (c *Cache) readPins(oid string) {
	for id, s := range c.readSpanFile(c.pinsFile(oid)) {
		s.c = c.object(oid)
		c.removePin(id)
		c.setPin(id, s)
	}
}

// Pinned returns the versions that are pinned, in no order.
func (c *Cache) Pinned() []catalog.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.pins))
}

// IsPinned reports whether a version is pinned.
func (c *Cache) IsPinned(id catalog.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.pins[id]
	return ok
}
