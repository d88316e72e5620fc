package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Put keeps an extent, which the caller has compared with its sum. It reports whether the extent is on disk now.
func (c *Cache) Put(oid string, n int64, data []byte) bool {
	size := int64(len(data))
	if c.dir == "" || !c.own.Load() || size > c.max {
		return false
	}
	c.mu.Lock()
	if c.entry(oid, n) != nil {
		c.mu.Unlock()
		return true
	}
	if c.closed || !c.room(size) {
		c.mu.Unlock()
		return false
	}
	c.bytes += size
	c.temp++
	temp := filepath.Join(c.dir, "tmp", fmt.Sprint(c.temp))
	c.mu.Unlock()

	err := os.WriteFile(temp, data, 0o600)
	if errors.Is(err, os.ErrNotExist) { // somebody emptied the cache: it is begun anew
		if err = os.MkdirAll(filepath.Dir(temp), 0o700); err == nil {
			err = os.WriteFile(temp, data, 0o600)
		}
	}
	marks := marksOf(data)

	c.mu.Lock()
	defer c.mu.Unlock()
	name := c.file(oid, n)
	if err == nil {
		// Under the lock: drop removes the folder of an object that lost its last extent.
		if err = os.MkdirAll(filepath.Dir(name), 0o700); err == nil {
			err = os.Rename(temp, name)
		}
	}
	if err != nil {
		os.Remove(temp)
		c.bytes -= size
		if !c.refused {
			c.log.Warn("the cache takes nothing more, reading goes on without it", "err", err)
		}
		c.refused = true
		return false
	}
	c.refused = false
	now := time.Now()
	if old := c.entry(oid, n); old != nil { // put twice at once: one file, counted once
		c.bytes -= size
		old.prove(marks)
		return true
	}
	c.add(oid, n, size, now).prove(marks)
	return true
}

// add enters an extent that is on disk, as the most recently used; its bytes are counted already. Called
// with the lock held.
func (c *Cache) add(oid string, n, size int64, used time.Time) *entry {
	o := c.object(oid)
	e := &entry{c: o, n: n, size: size, used: used, touched: used}
	e.elem = c.used.PushFront(e)
	o.extents[n] = e
	if o.pinned[n] > 0 {
		c.pinnedBytes += size
	}
	o.have.Set(n, true)
	return e
}

// drop removes an extent, from disk too when this process owns the cache. Called with the lock held.
func (c *Cache) drop(e *entry) {
	o := e.c
	if o.extents[e.n] != e || c.objects[o.oid] != o {
		return // gone already, or of before this process owned the cache
	}
	if c.own.Load() {
		if err := os.Remove(c.file(o.oid, e.n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			// Its bytes still lie there and stay counted.
			c.log.Warn("remove cached extent", "object", o.oid, "extent", e.n, "err", err)
		} else {
			c.bytes -= e.size
		}
	} else {
		c.bytes -= e.size
	}
	c.used.Remove(e.elem)
	c.forgetPages(e)
	delete(o.extents, e.n)
	o.have.Set(e.n, false)
	o.verified.Set(e.n, false)
	if o.pinned[e.n] > 0 {
		c.pinnedBytes -= e.size
	}
	c.forgetEmpty(o)
}
