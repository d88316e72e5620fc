package recall

import (
	"crypto/sha256"
	"errors"
	"os"
	"sync"
	"time"

	"tapefs/catalog"
)

// read copies bytes of an extent from offset on into dst. It reports false when the extent is not
// there, or was bad and is gone now. Size is the whole extent's, sum its SHA-256.
func (c *Cache) read(oid string, n, size int64, sum [sha256.Size]byte, dst []byte, offset int64) bool {
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
		return false
	}
	if e.size != size {
		c.log.Warn("cached extent has a wrong size", "object", oid, "extent", n, "bytes", e.size)
		c.drop(e)
		c.mu.Unlock()
		return false
	}
	e.reads++
	e.used = time.Now()
	c.used.MoveToFront(e.elem)
	touch := c.own.Load() && e.used.Sub(e.touched) > touchEvery
	if touch {
		e.touched = e.used
	}
	when := e.used
	check := !e.verified
	if check {
		e.checking = make(chan struct{})
	}
	c.mu.Unlock()

	name := c.file(oid, n)
	var err error
	if check {
		err = verifyFile(name, size, sum, dst, offset)
	} else {
		err = readFile(name, dst, offset)
	}
	if touch && err == nil {
		// Only the order of eviction after a restart hangs on it.
		_ = os.Chtimes(name, when, when)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	e.reads--
	if check {
		close(e.checking)
		e.checking = nil
	}
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			c.log.Warn("cached extent dropped", "object", oid, "extent", n, "err", err)
		}
		c.drop(e)
		return false
	}
	if check {
		e.verified = true
		e.c.verified.set(n, true)
	}
	return true
}

func readFile(name string, dst []byte, offset int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.ReadAt(dst, offset)
	return err
}

var errSum = errors.New("SHA-256 differs from the catalog's")

// verifyBuffers keeps a few *[]byte of an extent's size: a reader of many files needs one for each extent, for a moment.
var verifyBuffers sync.Pool

// verifyFile reads the whole file and copies from it only when it has the size and sum.
func verifyFile(name string, size int64, sum [sha256.Size]byte, dst []byte, offset int64) error {
	var data []byte
	if kept, ok := verifyBuffers.Get().(*[]byte); ok && int64(cap(*kept)) >= size {
		data = (*kept)[:size]
	} else {
		data = make([]byte, max(size, catalog.ExtentSize))[:size]
	}
	defer verifyBuffers.Put(&data)
	if err := readFile(name, data, 0); err != nil {
		return err
	}
	if sha256.Sum256(data) != sum {
		return errSum
	}
	copy(dst, data[offset:])
	return nil
}
