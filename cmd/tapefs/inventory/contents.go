package inventory

import (
	"context"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

// Folder sums up what lies on a tape of one folder: of a source's top, or of one directly below it.
type Folder struct {
	Path           string // "/source" or "/source/folder"
	Files, Bytes   int64  // files and symlinks, older versions included; their bytes on the tape
	Oldest, Newest ui.FileTime
}

// maxFolders bounds what Contents keeps: what comes beyond counts with its source.
const maxFolders = 5000

// Contents sums up what lies on a tape, by path.
func Contents(ctx context.Context, db *catalog.DB, tape int64) ([]Folder, error) {
	parts, err := db.PartsOnTape(ctx, tape)
	if err != nil {
		return nil, err
	}
	of := map[int64][]catalog.TapePart{} // by copy
	for _, p := range parts {
		of[p.Copy] = append(of[p.Copy], p)
	}
	c := contents{db: db, folders: map[string]*Folder{}}
	for _, parts := range of {
		if err := c.add(ctx, parts); err != nil {
			return nil, err
		}
	}
	list := make([]Folder, 0, len(c.folders))
	for _, f := range c.folders {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Folder) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

type contents struct {
	db      *catalog.DB
	folders map[string]*Folder
	parents map[catalog.ID]string // of the object in hand, the folder that each directory counts with
}

// add counts the members of an object that lie in some of its parts.
func (c *contents) add(ctx context.Context, parts []catalog.TapePart) error {
	type member struct {
		parent catalog.ID
		bytes  int64
		mtime  ui.FileTime
	}
	var members []member // no row is read while paths are looked up
	err := c.db.MembersOf(ctx, parts[0].Object, func(v *catalog.Version, at int64) error {
		size := int64(0)
		if v.Kind == catalog.File {
			size = v.Size
		}
		m, here := member{v.Parent, 0, ui.FileTime{Sec: v.MTime.Sec}}, false
		for i := range parts {
			if piece, ok := PieceIn(&parts[i].CopyPart, parts[i].PartSize, crypto.HeaderSize+at, size); ok {
				m.bytes, here = m.bytes+piece.Bytes, true
			}
		}
		if here {
			members = append(members, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.parents = map[catalog.ID]string{}
	for _, m := range members {
		name, ok := c.parents[m.parent]
		if !ok {
			path, err := c.db.Path(ctx, m.parent)
			if err != nil {
				return err
			}
			name = topOf(path)
			c.parents[m.parent] = name
		}
		c.count(name, m.bytes, m.mtime)
	}
	return nil
}

func (c *contents) count(name string, bytes int64, mtime ui.FileTime) {
	f := c.folders[name]
	if f == nil && len(c.folders) >= maxFolders {
		name = name[:strings.IndexByte(name[1:]+"/", '/')+1]
		f = c.folders[name]
	}
	if f == nil {
		f = &Folder{Path: name, Oldest: mtime, Newest: mtime}
		c.folders[name] = f
	}
	f.Files++
	f.Bytes += bytes
	if mtime.Sec < f.Oldest.Sec {
		f.Oldest = mtime
	}
	if mtime.Sec > f.Newest.Sec {
		f.Newest = mtime
	}
}

// topOf is the source of a directory's path, and the folder directly below it if there is one.
func topOf(path string) string {
	words := strings.SplitN(path, "/", 4)
	return strings.Join(words[:min(len(words), 3)], "/")
}
