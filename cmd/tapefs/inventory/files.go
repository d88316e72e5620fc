package inventory

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

// File is one version of a file or symlink, and where it lies.
type File struct {
	ui.PathText
	Source   string       `json:"source"`
	Kind     string       `json:"kind"` // file or symlink
	Size     int64        `json:"size"` // bytes; of a symlink, of its target's name
	MTime    ui.FileTime  `json:"mtime"`
	SHA256   string       `json:"sha256,omitempty"`
	Target   *ui.PathText `json:"target,omitempty"` // of a symlink
	ID       catalog.ID   `json:"id"`
	Version  int          `json:"version"`  // of the path's versions, 1 the oldest
	Versions int          `json:"versions"` // that the path has
	Current  bool         `json:"current"`
	State    string       `json:"state"` // catalog.KeptState
	Vanished *time.Time   `json:"vanished,omitempty"`
	Removed  *time.Time   `json:"removed,omitempty"` // by safe --delete or at an inbox: it did not vanish
	Copies   []Copy       `json:"copies"`
}

// Copy is one object that has a file's bytes, in one pool.
type Copy struct {
	Pool     string      `json:"pool"`
	State    string      `json:"state"` // CopyStateName
	Verified *time.Time  `json:"verified,omitempty"`
	Object   string      `json:"object"`
	Key      string      `json:"key"`    // fingerprint
	Pieces   []TapePiece `json:"pieces"` // none while it is not written
}

// TapePiece is what one file on a tape has of a file's bytes.
type TapePiece struct {
	Tape string `json:"tape"` // barcode
	Piece
}

// FileOptions say which files are listed.
type FileOptions struct {
	Versions bool                  // older versions, too
	Asked    func(path string) int // how many copies the source of a path asks for
	Emit     func(f *File) error   // called for one after the other; f is reused
}

// lister goes through the catalog.
type lister struct {
	o      FileOptions
	db     *catalog.DB
	keeper *catalog.Keeper
	pools  map[int64]string
	file   File
}

// Files calls o.Emit for each file and symlink of the archive in the order of their paths, directory by directory. An error of o.Emit
// ends it and is returned. What changes in the catalog meanwhile may be told as it was or as it is.
func Files(ctx context.Context, db *catalog.DB, o FileOptions) error {
	l := &lister{o: o, db: db, keeper: db.Keeper(), pools: map[int64]string{}}
	pools, err := db.Pools(ctx)
	if err != nil {
		return err
	}
	for _, p := range pools {
		l.pools[p.ID] = p.Name
	}
	return db.Recorded().Walk(ctx, catalog.Root, func(rel string, v *catalog.Version) error { return l.visit(ctx, "/"+rel, v) })
}

// visit lists the versions of a path, v being the newest.
func (l *lister) visit(ctx context.Context, full string, v *catalog.Version) error {
	if v.Kind == catalog.Directory && !l.o.Versions {
		return nil
	}
	older, err := l.db.OlderVersions(ctx, v.Parent, v.Name)
	if err != nil {
		return err
	}
	if older == 0 || !l.o.Versions {
		return l.emit(ctx, full, v, older+1, older+1)
	}
	versions, err := l.db.Versions(ctx, v.Parent, v.Name)
	if err != nil {
		return err
	}
	for i := range versions {
		if err := l.emit(ctx, full, &versions[i], i+1, len(versions)); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) emit(ctx context.Context, full string, v *catalog.Version, number, of int) error {
	if v.Kind == catalog.Directory {
		return nil // a name that was a file's before
	}
	kept, err := l.keeper.Of(ctx, v)
	if err != nil {
		return fmt.Errorf("look where %q lies: %w", full, err)
	}
	source, _, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	l.file = File{PathText: ui.NewPathText(full), Source: source, Kind: "file", Size: v.Size, MTime: ui.FileTime(v.MTime), ID: v.ID, Version: number, Versions: of,
		Current: v.Current, State: string(kept.State(l.o.Asked(full))), Vanished: ui.TimeOrNil(v.Vanished), Copies: l.file.Copies[:0]}
	if v.Removed {
		l.file.Vanished, l.file.Removed = nil, l.file.Vanished
	}
	if v.Kind == catalog.Symlink {
		target := ui.NewPathText(v.Target)
		l.file.Kind, l.file.Target = "symlink", &target
	}
	if len(v.SHA256) > 0 {
		l.file.SHA256 = fmt.Sprintf("%x", v.SHA256)
	}
	for _, o := range kept.Objects {
		l.copies(o, v)
	}
	if l.file.Copies == nil {
		l.file.Copies = []Copy{}
	}
	return l.o.Emit(&l.file)
}

// copies adds the copies of an object that has a version's bytes.
func (l *lister) copies(o catalog.KeptIn, v *catalog.Version) {
	size := int64(0)
	if v.Kind == catalog.File {
		size = v.Size
	}
	for _, p := range o.Places {
		one := Copy{Pool: l.pools[p.Pool], State: CopyStateName(p.State), Verified: ui.TimeOrNil(p.Verified), Object: o.OID, Key: o.Fingerprint, Pieces: []TapePiece{}}
		for i := range p.Parts {
			if piece, ok := PieceIn(&p.Parts[i], o.PartSize, crypto.HeaderSize+o.At, size); ok {
				one.Pieces = append(one.Pieces, TapePiece{p.Parts[i].Barcode, piece})
			}
		}
		l.file.Copies = append(l.file.Copies, one)
	}
}
