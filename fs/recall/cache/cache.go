package cache

import (
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// touchEvery bounds how far the order of use on disk lags behind the one in memory.
const touchEvery = 10 * time.Minute

// Cache keeps sealed extents as files: DIR/ab/OID/000012 is extent 12 of the object OID, which
// begins with ab. It survives restarts and crashes: the folder is scanned when it is opened, and
// nothing found there is served before it equalled its sum once in this process. A file's
// modification time is when it was last used, to 10 minutes after a crash, exactly after Close.
//
// One process owns the folder, by an flock on DIR/.lock. Another reads what it finds, and neither
// adds nor removes anything, until Acquire makes it the owner.
//
// The bytes on disk never exceed the maximum, files being written included. To make room the
// least recently used extents go until a tenth of the maximum is free. A reserve of the file
// system stays free, whatever the maximum. When the disk refuses a
// write the extent is not kept, and that is all.
type Cache struct {
	dir     string // "" : nothing is cached
	lock    *flock.Flock
	own     atomic.Bool
	max     int64
	log     *slog.Logger
	reserve int64 // left free on the file system, bytes; see Open

	files chan struct{} // as many as may be open at once

	mu       sync.Mutex // protects all below
	objects  map[string]*cached
	spans    map[catalog.ID]span
	pins     map[catalog.ID]span // versions whose extents stay
	used     *list.List          // of *entry, most recently used first
	bytes    int64               // on disk and being written
	temp     int64               // names of temporary files
	refused  bool                // the last write failed
	draining bool                // on the way from the maximum down to nine tenths of it
	closed   bool

	paged []*entry // with marks of pages, the first of which is the oldest

	pinnedSpan  int64 // extents that pins keep, there or not
	pinnedBytes int64 // of those that are there
}

// cached is what the cache has of one object.
type cached struct {
	oid      string
	extents  map[int64]*entry
	have     Bits                    // extents on disk
	verified Bits                    // of these, the ones that equalled their sum in this process
	versions map[catalog.ID]struct{} // whose spans point here
	holds    map[int64]int           // how many open files rely on an extent staying
	pinned   map[int64]int           // how many pins keep an extent
	pinnedBy map[catalog.ID]struct{} // versions that pin them
}

// entry is one extent on disk.
type entry struct {
	c        *cached
	n        int64
	size     int64 // bytes
	used     time.Time
	touched  time.Time     // modification time on disk
	marks    []uint64      // of its blocks; nil: it did not equal its sum in this process yet
	pages    *pageMarks    // nil: nothing was read of it in small pieces
	checking chan struct{} // closed when the check that is under way ends; nil when none is
	reads    int           // under way
	elem     *list.Element
}

// span is where a version's bytes lie in an object's sealed bytes, so that they can be counted.
type span struct {
	c           *cached
	start, size int64
}

// extents are the first and last extent of a span.
func (s span) extents() (first, last int64) { return Extents(s.start, s.size) }

// Extents returns the first and the last extent of size sealed bytes from start on; size is above 0.
func Extents(start, size int64) (first, last int64) {
	return start / catalog.ExtentSize, (start + size - 1) / catalog.ExtentSize
}

func newCache(dir string, max, reserve int64, log *slog.Logger) *Cache {
	c := &Cache{dir: dir, max: max, reserve: reserve, log: log, files: make(chan struct{}, maxCacheFiles)}
	c.reset()
	return c
}

// reset forgets what is known. Called with the lock held, or before the cache is shared.
func (c *Cache) reset() {
	c.objects, c.spans, c.pins, c.used = map[string]*cached{}, map[catalog.ID]span{}, map[catalog.ID]span{}, list.New()
	c.paged = nil
	c.bytes, c.pinnedSpan, c.pinnedBytes = 0, 0, 0
}

// Open opens or makes a cache folder of at most max bytes. An empty dir or a negative max caches nothing. What is left free on the
// file system is reserve, bytes; 0: 5 % of it or 1 GiB, whichever is less; below 0: nothing. Close it.
func Open(dir string, max, reserve int64, log *slog.Logger) (*Cache, error) {
	c := newCache(dir, max, reserve, log)
	if dir == "" || max < 0 {
		c.dir = ""
		return c, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return c.without(dir, err)
	}
	c.lock = flock.New(filepath.Join(dir, ".lock"), flock.SetPermissions(0o600))
	own, err := c.lock.TryLock()
	if err != nil {
		return c.without(dir, fmt.Errorf("lock cache: %w", err))
	}
	if !own {
		log.Info("another process owns the cache: what is read from tape is not kept until that ends", "dir", dir)
	}
	if err := c.scan(own); err != nil {
		c.lock.Close()
		c.own.Store(false)
		c.reset()
		return c.without(dir, err)
	}
	return c, nil
}

// without returns a cache that keeps nothing, when this machine refuses the folder just now: files can be read without it. Any other
// error is one of the configuration.
func (c *Cache) without(dir string, err error) (*Cache, error) {
	if changer.FaultOf(err) != changer.Shortage {
		return nil, err
	}
	c.log.Warn("the cache cannot be used: what is read from tape is not kept", "dir", dir, "err", err)
	c.dir, c.lock = "", nil
	return c, nil
}

// Acquire makes this process the owner when no other is any more. It reports whether it owns the cache now.
func (c *Cache) Acquire() (bool, error) {
	if c.dir == "" || c.own.Load() {
		return c.own.Load(), nil
	}
	if ok, err := c.lock.TryLock(); err != nil || !ok {
		return false, err
	}
	if err := c.scan(true); err != nil {
		return false, errors.Join(err, c.lock.Unlock())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.own.Store(false)
		return false, c.lock.Unlock()
	}
	return true, nil
}

// Use is how full a cache is, in bytes.
type Use struct {
	Max    int64 `json:"max"`
	Bytes  int64 `json:"bytes"`
	Pinned int64 `json:"pinned"` // of Bytes
}

// Use returns how full the cache is.
func (c *Cache) Use() Use {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Use{c.max, c.bytes, c.pinnedBytes}
}

// FileUse is what the cache has of one version.
type FileUse struct {
	Cached int64 `json:"cached"` // of the version's bytes
	Pinned bool  `json:"pinned"`
}

// Of returns what is cached of a version. Only versions that were read or pinned through the cache are known.
func (c *Cache) Of(id catalog.ID) FileUse { return FileUse{c.Cached(id), c.IsPinned(id)} }

// Inspect looks at a cache folder that nobody owns just now, or that another process owns. Nothing is
// read through it, nothing locked and nothing changed.
func Inspect(dir string, max int64) (*Cache, error) {
	c := newCache(dir, max, 0, slog.New(slog.DiscardHandler))
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	return c, c.scan(false)
}

func (c *Cache) file(oid string, n int64) string {
	return filepath.Join(c.dir, oid[:2], oid, fmt.Sprintf("%06d", n))
}

// Caches reports whether there is a folder, be it this process's or another's.
func (c *Cache) Caches() bool { return c.dir != "" }

// Has reports whether an extent is on disk, verified or not.
func (c *Cache) Has(oid string, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[oid]
	return o != nil && o.have.Get(n)
}

// Held is what an open file keeps from being evicted.
type Held struct {
	o           *cached
	first, last int64
}

// Hold keeps extents first to last from being evicted until Release. It returns nil, and holds none of them, when not all are on disk
// and verified.
func (c *Cache) Hold(oid string, first, last int64) *Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[oid]
	if o == nil || o.verified.Count(first, last+1) != last+1-first {
		return nil
	}
	if o.holds == nil {
		o.holds = map[int64]int{}
	}
	for n := first; n <= last; n++ {
		o.holds[n]++
	}
	return &Held{o, first, last}
}

// Release takes a Hold back; nil is taken, too.
func (c *Cache) Release(h *Held) {
	if h == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := h.first; n <= h.last; n++ {
		if h.o.holds[n]--; h.o.holds[n] == 0 {
			delete(h.o.holds, n)
		}
	}
}

// stays reports whether an extent is kept from being evicted, by an open file or a pin. Called with the lock held.
func (o *cached) stays(n int64) bool { return o.holds[n] > 0 || o.pinned[n] > 0 }

// WantsCheck reports whether the extent behind n is on disk and was not verified yet, while n and the one before n were.
func (c *Cache) WantsCheck(oid string, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[oid]
	if o == nil || !o.verified.Get(n) || n > 0 && !o.verified.Get(n-1) {
		return false
	}
	e := o.extents[n+1]
	return e != nil && e.marks == nil && e.checking == nil
}

// Keeps reports whether this process puts anything into the cache.
func (c *Cache) Keeps() bool { return c.dir != "" && c.own.Load() }

// Touch makes an extent the most recently used. It reports whether it is there, on disk as well: somebody may have emptied the cache.
func (c *Cache) Touch(oid string, n int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entry(oid, n)
	if e == nil {
		return false
	}
	if st, err := os.Lstat(c.file(oid, n)); errors.Is(err, os.ErrNotExist) || err == nil && st.Size() != e.size {
		c.drop(e)
		return false
	}
	e.used = time.Now()
	c.used.MoveToFront(e.elem)
	return true
}

// Doubt makes all extents of an object be checked before they are used again.
func (c *Cache) Doubt(oid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[oid]
	if o == nil {
		return
	}
	for n, e := range o.extents {
		e.marks = nil
		c.forgetPages(e)
		o.verified.Set(n, false)
	}
}

// entry finds an extent. Called with the lock held.
func (c *Cache) entry(oid string, n int64) *entry {
	if o := c.objects[oid]; o != nil {
		return o.extents[n]
	}
	return nil
}

// object finds what is cached of an object, at first nothing. Called with the lock held.
func (c *Cache) object(oid string) *cached {
	o := c.objects[oid]
	if o == nil {
		o = &cached{oid: oid, extents: map[int64]*entry{}, versions: map[catalog.ID]struct{}{}}
		c.objects[oid] = o
	}
	return o
}

// Close writes down the order of use and releases the folder.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" || c.closed {
		return nil
	}
	c.closed = true
	defer c.own.Store(false) // what is still read removes nothing from the next owner's folder
	if c.own.Load() {
		for el := c.used.Back(); el != nil; el = el.Prev() {
			e := el.Value.(*entry)
			if e.used.After(e.touched) {
				_ = os.Chtimes(c.file(e.c.oid, e.n), e.used, e.used)
			}
		}
		if err := c.clearTemp(); err != nil {
			c.lock.Close()
			return err
		}
	}
	return c.lock.Close()
}

// Missing reports whether any of the extents first to last is not on disk.
func (c *Cache) Missing(oid string, first, last int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[oid]
	return o == nil || o.have.Count(first, last+1) != last+1-first
}
