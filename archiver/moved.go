package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"tapefs/catalog"
)

// maxMoved bounds how many vanished files one run looks for under new names, for the memory's sake.
const maxMoved = 1 << 19

// moveKey is what a file keeps under another name.
type moveKey struct{ size, mtime int64 }

// lost remembers a file that the listing lacks or has something else for: it may have got another name.
func (c *comparison) lost(v *catalog.Version) {
	if v.Kind != catalog.File || v.Size == 0 || v.Nlink > 1 || len(v.SHA256) == 0 || v.State != catalog.Present || c.misses >= maxMoved {
		return
	}
	if c.missed == nil {
		c.missed = map[moveKey][]catalog.ID{}
	}
	key := moveKey{v.Size, v.MTime.Sec}
	c.misses++
	c.missed[key] = append(c.missed[key], v.ID)
}

// later keeps a new or changed file until all that vanished is known; false: it is planned at once.
func (c *comparison) later(e *listEntry, parent catalog.ID) (bool, error) {
	if !c.again || c.dry || e.kind != catalog.File || e.size == 0 || e.link != "" || e.first {
		return false, nil
	}
	return true, c.news.add(pathKey(e.path), e.encode(binary.AppendVarint(nil, int64(parent))))
}

// planNews plans the new and changed files. Those that may be vanished ones under another name are compared with them
// when they are fetched.
func (c *comparison) planNews(ctx context.Context) error {
	if err := c.news.sort(); err != nil {
		return err
	}
	for {
		key, val, ok, err := c.news.next()
		if err != nil || !ok {
			return err
		}
		d := decoder(val)
		parent := catalog.ID(d.varint())
		e := decodeEntry(key, d)
		if from, ok := c.missed[moveKey{e.size, e.mtime}]; ok {
			c.stats.maybeMoved++
			c.a.moved.Store(movedName(c.source, e.path), from)
		}
		_, name := splitPath(e.path)
		err = c.plan.add(ctx, member{path: e.path, NewVersion: catalog.NewVersion{Parent: parent, Name: name, Kind: e.kind, Size: e.size, Meta: entryMeta(&e)}}, 0)
		if err != nil {
			return err
		}
	}
}

func movedName(source, path string) string { return source + "/" + path }

// movedFrom is the version whose bytes a fetched file has, under another name: it needs none of its own. 0: it
// has bytes of its own, or nobody knows.
func (a *Archiver) movedFrom(ctx context.Context, source string, t *tree, path string, size int64) (catalog.ID, error) {
	ids, ok := a.moved.LoadAndDelete(movedName(source, path))
	if !ok {
		return 0, nil
	}
	var old []catalog.Version
	for _, id := range ids.([]catalog.ID) {
		v, err := a.db.Get(ctx, id)
		if err != nil {
			return 0, fmt.Errorf("look for what %q was called: %w", path, err)
		}
		object, _, err := a.db.BytesAt(ctx, v.Data)
		if err != nil {
			return 0, err
		}
		if v.Size != size || v.State != catalog.Present || object == 0 {
			continue
		}
		// Bytes that are damaged everywhere are not to be relied on while the source has them.
		if has, err := a.db.HasCopy(ctx, object); err != nil {
			return 0, err
		} else if has {
			old = append(old, v)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	sum := contentSum(t, path, size)
	for _, v := range old {
		if sum != nil && bytes.Equal(sum, v.SHA256) {
			return v.ID, nil
		}
	}
	return 0, nil
}

// contentSum is the SHA-256 of a file that stands still; nil when it does not, or cannot be read: packing will
// say so.
func contentSum(t *tree, path string, size int64) []byte {
	f, err := t.openFile(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	before, err := stateOf(f)
	if err != nil {
		return nil
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, f); err != nil || n != size {
		return nil
	}
	if after, err := stateOf(f); err != nil || after != before {
		return nil
	}
	return sum.Sum(nil)
}
