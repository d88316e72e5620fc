package spool

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/catalog"
)

// LayoutOf computes an object's layout from the catalog.
func (s *Spool) LayoutOf(ctx context.Context, source string, o catalog.PlannedObject) (*pack.Layout, error) {
	dirs := map[catalog.ID]string{} // paths of parents, "/source/…"
	prefix := "/" + source
	within := func(p string) (string, error) {
		if p == prefix {
			return "", nil
		}
		if len(p) > len(prefix)+1 && p[:len(prefix)+1] == prefix+"/" {
			return p[len(prefix)+1:], nil
		}
		return "", fmt.Errorf("%q lies outside of source %s", p, source)
	}
	var members []pack.Member
	for _, v := range o.Versions {
		if v.State == catalog.Planned {
			return nil, fmt.Errorf("lay out object %s: version %d was not fetched", o.OID, v.ID)
		}
		var full string
		if v.Kind == catalog.Directory {
			p, err := s.env.DB.Path(ctx, v.ID)
			if err != nil {
				return nil, fmt.Errorf("lay out object %s: %w", o.OID, err)
			}
			full = p
		} else {
			dir, ok := dirs[v.Parent]
			if !ok {
				p, err := s.env.DB.Path(ctx, v.Parent)
				if err != nil {
					return nil, fmt.Errorf("lay out object %s: %w", o.OID, err)
				}
				dir, dirs[v.Parent] = p, p
			}
			full = dir + "/" + v.Name
		}
		rel, err := within(full)
		if err != nil {
			return nil, fmt.Errorf("lay out object %s: %w", o.OID, err)
		}
		members = append(members, pack.Member{Version: v, Path: rel})
	}
	members, err := pack.WithParents(members, func(p string) (catalog.Version, error) {
		return s.env.DB.Resolve(ctx, "/"+pack.MemberName(source, p))
	})
	if err != nil {
		return nil, fmt.Errorf("lay out object %s: %w", o.OID, err)
	}
	return pack.NewLayout(source, members)
}

func (s *Spool) layoutFile(oid string) string {
	return filepath.Join(s.env.Config.SpoolDir, "layout", filepath.Base(oid))
}

// KeepLayout keeps an object's layout until all its copies are safe: directories change in the
// catalog, but a second copy must have the very bytes of the first.
func (s *Spool) KeepLayout(oid string, l *pack.Layout) error {
	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(l)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.layoutFile(oid)), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(s.layoutFile(oid), buf.Bytes(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("keep the layout of object %s: %w", oid, err)
	}
	return nil
}

// KeptLayout returns a layout that was kept, or nil.
func (s *Spool) KeptLayout(oid string) (*pack.Layout, error) {
	b, err := os.ReadFile(s.layoutFile(oid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var l pack.Layout
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(b)).Decode(&l)
	}
	if err != nil {
		return nil, fmt.Errorf("read the layout of object %s: %w", oid, err)
	}
	return &l, nil
}

// DropLayout forgets a kept layout.
func (s *Spool) DropLayout(oid string) error {
	err := os.Remove(s.layoutFile(oid))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the layout of object %s: %w", oid, err)
	}
	return nil
}
