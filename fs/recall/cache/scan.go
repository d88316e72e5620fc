package cache

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// maxExtents bounds what a file name in the cache folder can make us allocate: 64 TiB of one object.
const maxExtents = 1 << 24

// scan finds what earlier processes left, and clears up when this one is the owner. Nothing found is trusted: it is checked before its first use.
func (c *Cache) scan(own bool) error {
	if own {
		if err := c.clearTemp(); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(c.dir, "tmp"), 0o700); err != nil {
			return err
		}
	}
	type found struct {
		oid     string
		n, size int64
		used    time.Time
	}
	var all []found
	var pinned []string
	groups, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if !g.IsDir() || len(g.Name()) != 2 {
			continue
		}
		objects, err := os.ReadDir(filepath.Join(c.dir, g.Name()))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, o := range objects {
			oid := o.Name()
			if !ValidOID(oid) || oid[:2] != g.Name() {
				continue
			}
			files, err := os.ReadDir(filepath.Join(c.dir, g.Name(), oid))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			for _, f := range files {
				if f.Name() == "pinned" {
					pinned = append(pinned, oid)
				}
				n, err := strconv.ParseInt(f.Name(), 10, 64)
				if err != nil || n < 0 || n >= maxExtents || f.Name() != fmt.Sprintf("%06d", n) {
					continue
				}
				st, err := f.Info()
				if err != nil || !st.Mode().IsRegular() {
					continue // gone since the listing, or not ours
				}
				if st.Size() == 0 || st.Size() > catalog.ExtentSize {
					if own {
						os.Remove(c.file(oid, n))
					}
					continue
				}
				all = append(all, found{oid, n, st.Size(), st.ModTime()})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b found) int { return a.used.Compare(b.used) })

	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
	for _, f := range all {
		c.bytes += f.size
		c.add(f.oid, f.n, f.size, f.used)
	}
	for _, o := range c.objects {
		c.readSpans(o)
	}
	for _, oid := range pinned {
		c.readPins(oid)
	}
	if own {
		c.own.Store(true)
		c.room(0) // the maximum may have been lowered
	}
	return nil
}

func (c *Cache) clearTemp() error {
	if err := os.RemoveAll(filepath.Join(c.dir, "tmp")); err != nil {
		return fmt.Errorf("clear temporary files of the cache: %w", err)
	}
	return nil
}

// ValidOID reports whether an object id is 32 hex digits: anything else could be a path that leaves the cache's folder.
func ValidOID(oid string) bool {
	_, err := hex.DecodeString(oid)
	return err == nil && len(oid) == 32
}
