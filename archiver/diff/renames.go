package diff

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
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
func (r *renames) stays(e *source.Entry, v *catalog.Version) error {
	if !r.sought || e.Link == "" || !named(v) {
		return nil
	}
	return r.kept.Add(source.PathKey(e.Link), binary.AppendVarint(nil, int64(v.ID)))
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
		d := source.Decoder(val)
		t.id = catalog.ID(d.Varint())
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
func (c *comparison) leader(ctx context.Context, e *source.Entry) (catalog.ID, error) {
	if e.Link == "" {
		return 0, nil
	}
	v, err := c.env.DB.Resolve(ctx, c.in.Src.Name+"/"+e.Link)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("look for what %q is a hard link to: %w", e.Path, err)
	case !named(&v) || !v.Vanished.IsZero() || v.Size != e.Size || v.MTime.Sec != e.Mtime:
		return 0, nil
	}
	return v.ID, nil
}

// lost remembers a file that the listing lacks or has something else for: it may have got another name.
func (r *renames) lost(v *catalog.Version) {
	if !named(v) || r.misses >= r.most {
		return
	}
	if r.missed == nil {
		r.missed = map[moveKey][]catalog.ID{}
	}
	key := moveKey{v.Size, v.MTime.Sec}
	r.misses++
	r.missed[key] = append(r.missed[key], v.ID)
}

// later keeps a new or changed file until all that vanished is known; false: it is planned at once. The planner keeps hard-linked
// names itself: of these only what they may have been is looked up later.
func (c *comparison) later(e *source.Entry, parent catalog.ID) (bool, error) {
	if !c.in.Again || c.in.Dry || e.Kind != catalog.File || e.Size == 0 {
		return false, nil
	}
	plan := int64(1)
	if e.Link != "" || e.First {
		plan = 0
	}
	val := binary.AppendVarint(binary.AppendVarint(nil, plan), int64(parent))
	return plan == 1, c.renames.news.Add(source.PathKey(e.Path), e.Encode(val))
}

// planNews plans the new and changed files. Those that may be vanished ones under another name, or are further names of files
// that are there, are compared with them when they are fetched.
func (c *comparison) planNews(ctx context.Context) error {
	if err := c.renames.news.Sort(); err != nil {
		return err
	}
	kept, err := newTwins(c.renames.kept)
	if err != nil {
		return err
	}
	for {
		key, val, ok, err := c.renames.news.Next()
		if err != nil || !ok {
			return err
		}
		d := source.Decoder(val)
		plan := d.Varint() == 1
		parent := catalog.ID(d.Varint())
		e := source.DecodeEntry(key, d)
		from := c.renames.missed[moveKey{e.Size, e.Mtime}]
		if len(from) > 0 {
			c.stats.MaybeMoved++
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
			c.in.Former.mayBe(c.in.Src.Name, e.Path, from)
		}
		if !plan {
			continue
		}
		_, name := localfs.SplitPath(e.Path)
		err = c.plan.Add(ctx, Member{Path: e.Path, NewVersion: catalog.NewVersion{Parent: parent, Name: name, Kind: e.Kind, Size: e.Size, Meta: EntryMeta(&e)}}, 0)
		if err != nil {
			return err
		}
	}
}
