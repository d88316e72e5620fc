package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/catalog"
)

// movedFrom is the version whose bytes a fetched file has, under another name: it needs none of its own. 0: it
// has bytes of its own, or nobody knows.
func (s fetcher) movedFrom(ctx context.Context, source string, t *localfs.Tree, path string, size int64) (catalog.ID, error) {
	ids := s.Former.TakeNames(source, path)
	var old []catalog.Version
	for _, id := range ids {
		v, err := s.env.DB.Get(ctx, id)
		if err != nil {
			return 0, fmt.Errorf("look for what %q was called: %w", path, err)
		}
		object, _, err := s.env.DB.BytesAt(ctx, v.Data)
		if err != nil {
			return 0, err
		}
		if v.Size != size || v.State != catalog.Present || object == 0 {
			continue
		}
		// Bytes that are damaged everywhere are not to be relied on while the source has them.
		if has, err := s.env.DB.HasCopy(ctx, object); err != nil {
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
			first, err := s.env.DB.Get(ctx, v.Data)
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
func (s fetcher) movedLinks(ctx context.Context, source string, t *localfs.Tree, w *batchWork, group []int, files []catalog.Fetched) (from catalog.ID, err error) {
	for _, i := range group {
		path := w.files[i].path
		if from != 0 {
			s.Former.TakeNames(source, path)
			continue
		}
		if from, err = s.movedFrom(ctx, source, t, path, files[i].Size); err != nil {
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
