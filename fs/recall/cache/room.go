package cache

import (
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// Capacity returns how many bytes of extents that are on a list can be kept at once: all the cache may hold
// after an eviction, but what is pinned or held and not on the list.
func (c *Cache) Capacity(listed func(oid string, n int64) bool) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.limit()
	free := limit - limit/10
	for oid, o := range c.objects {
		if len(o.holds) == 0 && len(o.pinned) == 0 {
			continue
		}
		for n, e := range o.extents {
			if o.stays(n) && !listed(oid, n) {
				free -= e.size
			}
		}
	}
	return free
}

// maxWindow is how many extents a sequential reader asks for ahead: 256 MiB, a second of a drive
// at full speed.
const maxWindow = 64

// UnkeptWindow is how many extents a reader asks for ahead when the cache cannot keep them: whoever reads holds them in memory.
const UnkeptWindow = 4

// Window returns how many extents a reader may ask for ahead: few when they cannot be kept.
func (c *Cache) Window() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" || !c.own.Load() || c.refused {
		return UnkeptWindow
	}
	return min(maxWindow, max(1, c.max/catalog.ExtentSize/4))
}

// RoomForSurvey returns how large an object may be, in bytes, so that it is kept while it is surveyed: it is read next, from its beginning.
func (c *Cache) RoomForSurvey() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max / 2
}

// evictAtOnce is how many extents more than needed one call of room removes: readers of cached
// files wait for the lock meanwhile.
const evictAtOnce = 32

// room evicts until size more bytes fit and, over several calls, a tenth of the maximum is free.
// It reports false when what is in use leaves too little. Called with the lock held, as is limit.
func (c *Cache) room(size int64) bool {
	limit := c.limit()
	if c.bytes+size > limit {
		c.draining = true
	}
	low := limit - limit/10
	extra := 0
	for el := c.used.Back(); c.draining && el != nil && extra < evictAtOnce; {
		if c.bytes+size <= low {
			c.draining = false
			break
		}
		if c.bytes+size <= limit {
			extra++
		}
		e := el.Value.(*entry)
		el = el.Prev()
		if e.reads == 0 && !e.c.stays(e.n) {
			c.drop(e)
		}
	}
	return c.bytes+size <= limit
}

// reserveBytes and a twentieth of a file system bound what the cache leaves free by itself.
const reserveBytes = 1 << 30

// limit is what the cache may hold now: its maximum, or less when the file system has no more to give.
func (c *Cache) limit() int64 {
	var st unix.Statfs_t
	if c.reserve < 0 || unix.Statfs(c.dir, &st) != nil {
		return c.max
	}
	reserve := c.reserve
	if reserve == 0 {
		reserve = min(int64(st.Blocks)*st.Bsize/20, reserveBytes)
	}
	return max(0, min(c.max, c.bytes+int64(st.Bavail)*st.Bsize-reserve))
}
