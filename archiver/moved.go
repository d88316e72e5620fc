package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"tapefs/archiver/extsort"
	"tapefs/archiver/localfs"
	"tapefs/archiver/pack"
	"tapefs/catalog"
)

// maxMoved bounds how many vanished files one run looks for under new names, for the memory's sake.
const maxMoved = 1 << 19

// moveKey is what a file keeps under another name.
type moveKey struct{ size, mtime int64 }

// named tells whether the archive has a file's bytes, by their sum or by another file.
func named(v *catalog.Version) bool {
	known := len(v.SHA256) > 0 || v.Data != v.ID // of hard-linked names the first has the sum
	return v.Kind == catalog.File && v.Size > 0 && known && v.State == catalog.Present
}

// stays remembers an unchanged file that the listing has as a hard link to another: that may be new, and needs no bytes of its own.
func (c *comparison) stays(e *listEntry, v *catalog.Version) error {
	if e.link == "" || !c.again || c.dry || !named(v) {
		return nil
	}
	return c.kept.Add(pathKey(e.link), binary.AppendVarint(nil, int64(v.ID)))
}

// twins gives, for one new name after the other, an unchanged file that the listing has as a hard link to it.
type twins struct {
	s    *extsort.Sorter
	key  []byte
	id   catalog.ID
	more bool
}

func newTwins(s *extsort.Sorter) (*twins, error) {
	if err := s.Sort(); err != nil {
		return nil, err
	}
	t := &twins{s: s}
	return t, t.advance()
}

func (t *twins) advance() error {
	key, val, ok, err := t.s.Next()
	t.key, t.more = append(t.key[:0], key...), ok
	if ok && err == nil {
		d := decoder(val)
		t.id = catalog.ID(d.varint())
	}
	return err
}

// of is 0 when there is none. The keys it is asked for ascend.
func (t *twins) of(key []byte) (id catalog.ID, err error) {
	for t.more && err == nil {
		switch order := bytes.Compare(t.key, key); {
		case order > 0:
			return id, nil
		case order == 0 && id == 0:
			id = t.id
		}
		err = t.advance()
	}
	return id, err
}

// leader is the archived file that a new name is a hard link to, or 0.
func (c *comparison) leader(ctx context.Context, e *listEntry) (catalog.ID, error) {
	if e.link == "" {
		return 0, nil
	}
	v, err := c.db.Resolve(ctx, c.source+"/"+e.link)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("look for what %q is a hard link to: %w", e.path, err)
	case !named(&v) || !v.Vanished.IsZero() || v.Size != e.size || v.MTime.Sec != e.mtime:
		return 0, nil
	}
	return v.ID, nil
}

// lost remembers a file that the listing lacks or has something else for: it may have got another name.
func (c *comparison) lost(v *catalog.Version) {
	if !named(v) || c.misses >= maxMoved/max(1, c.share) {
		return
	}
	if c.missed == nil {
		c.missed = map[moveKey][]catalog.ID{}
	}
	key := moveKey{v.Size, v.MTime.Sec}
	c.misses++
	c.missed[key] = append(c.missed[key], v.ID)
}

// later keeps a new or changed file until all that vanished is known; false: it is planned at once. The planner keeps hard-linked
// names itself: of these only what they may have been is looked up later.
func (c *comparison) later(e *listEntry, parent catalog.ID) (bool, error) {
	if !c.again || c.dry || e.kind != catalog.File || e.size == 0 {
		return false, nil
	}
	plan := int64(1)
	if e.link != "" || e.first {
		plan = 0
	}
	val := binary.AppendVarint(binary.AppendVarint(nil, plan), int64(parent))
	return plan == 1, c.news.Add(pathKey(e.path), e.encode(val))
}

// planNews plans the new and changed files. Those that may be vanished ones under another name, or are further names of files
// that are there, are compared with them when they are fetched.
func (c *comparison) planNews(ctx context.Context) error {
	if err := c.news.Sort(); err != nil {
		return err
	}
	kept, err := newTwins(c.kept)
	if err != nil {
		return err
	}
	for {
		key, val, ok, err := c.news.Next()
		if err != nil || !ok {
			return err
		}
		d := decoder(val)
		plan := d.varint() == 1
		parent := catalog.ID(d.varint())
		e := decodeEntry(key, d)
		from := c.missed[moveKey{e.size, e.mtime}]
		if len(from) > 0 {
			c.stats.maybeMoved++
		}
		twin, err := kept.of(key)
		if err == nil && twin == 0 {
			twin, err = c.leader(ctx, &e)
		}
		if err != nil {
			return err
		}
		if twin != 0 {
			from = append(slices.Clip(from), twin)
		}
		if len(from) > 0 {
			c.a.moved.Store(movedName(c.source, e.path), from)
		}
		if !plan {
			continue
		}
		_, name := localfs.SplitPath(e.path)
		err = c.plan.add(ctx, member{path: e.path, NewVersion: catalog.NewVersion{Parent: parent, Name: name, Kind: e.kind, Size: e.size, Meta: entryMeta(&e)}}, 0)
		if err != nil {
			return err
		}
	}
}

func movedName(source, path string) string { return source + "/" + path }

// movedFrom is the version whose bytes a fetched file has, under another name: it needs none of its own. 0: it
// has bytes of its own, or nobody knows.
func (a *Archiver) movedFrom(ctx context.Context, source string, t *localfs.Tree, path string, size int64) (catalog.ID, error) {
	ids, ok := a.moved.LoadAndDelete(movedName(source, path))
	if !ok {
		return 0, nil
	}
	var old []catalog.Version
	for _, id := range ids.([]catalog.ID) {
		v, err := a.env.DB.Get(ctx, id)
		if err != nil {
			return 0, fmt.Errorf("look for what %q was called: %w", path, err)
		}
		object, _, err := a.env.DB.BytesAt(ctx, v.Data)
		if err != nil {
			return 0, err
		}
		if v.Size != size || v.State != catalog.Present || object == 0 {
			continue
		}
		// Bytes that are damaged everywhere are not to be relied on while the source has them.
		if has, err := a.env.DB.HasCopy(ctx, object); err != nil {
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
		known := v.SHA256
		if len(known) == 0 { // a further one of hard-linked names
			first, err := a.env.DB.Get(ctx, v.Data)
			if err != nil {
				return 0, fmt.Errorf("look for what %q was called: %w", path, err)
			}
			known = first.SHA256
		}
		if sum != nil && bytes.Equal(sum, known) {
			return v.ID, nil
		}
	}
	return 0, nil
}

// movedLinks is movedFrom for the names of one inode: what one of them was called has the bytes of all.
func (a *Archiver) movedLinks(ctx context.Context, source string, t *localfs.Tree, w *batchWork, group []int, files []catalog.Fetched) (from catalog.ID, err error) {
	for _, i := range group {
		path := w.files[i].path
		if from != 0 {
			a.moved.Delete(movedName(source, path))
			continue
		}
		if from, err = a.movedFrom(ctx, source, t, path, files[i].Size); err != nil {
			return 0, err
		}
	}
	return from, nil
}

// contentSum is the SHA-256 of a file that stands still; nil when it does not, or cannot be read: packing will
// say so.
func contentSum(t *localfs.Tree, path string, size int64) []byte {
	f, err := t.OpenFile(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	before, err := pack.StateOf(f)
	if err != nil {
		return nil
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, f); err != nil || n != size {
		return nil
	}
	if after, err := pack.StateOf(f); err != nil || after != before {
		return nil
	}
	return sum.Sum(nil)
}
