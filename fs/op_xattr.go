package fs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
)

// xattrPrefix is before the names of what the archive knows of a file beside its bytes.
const xattrPrefix = "user.tapefs."

// xattr is the value of one attribute, "" where the version has none of that name. When ctx ends it only stops waiting for
// what the library says.
func (f *face) xattr(ctx context.Context, v *catalog.Version, name string) (string, error) {
	isFile := v.Kind == catalog.File
	switch {
	case name == "version":
		return strconv.FormatInt(int64(v.ID), 10), nil

	case name == "newer" && !v.Current && v.Kind != catalog.Directory:
		return f.newer(ctx, v)

	case name == "sha256" && isFile:
		return hex.EncodeToString(v.SHA256), nil

	case (name == "state" || name == "tapes") && isFile:
		loc, err := f.db.Locate(context.Background(), v.ID)
		if err != nil {
			return "", err
		}
		if name == "tapes" {
			return strings.Join(tapesOf(&loc), " "), nil
		}
		return f.state(ctx, v, &loc), nil
	}
	return "", nil
}

// newer says which newer version of a path cannot be read, so that the path shows this one; "" where that is not so.
func (f *face) newer(ctx context.Context, v *catalog.Version) (string, error) {
	shown, err := f.tree.Lookup(context.WithoutCancel(ctx), v.Parent, v.Name)
	if errors.Is(err, catalog.ErrNotFound) || err == nil && (shown.ID != v.ID || shown.InsteadOf == 0) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	newest, err := f.db.Get(context.WithoutCancel(ctx), shown.InsteadOf)
	if err != nil {
		return "", err
	}
	why, err := f.db.Unreadable(context.WithoutCancel(ctx), &newest)
	if err != nil || why == "" {
		return "", err
	}
	return fmt.Sprintf("version %d cannot be read: %s", newest.ID, why), nil
}

// state is where the bytes are: spool, cached, partial (some of them cached), nearline (on tape), offline (on tapes
// outside the library), unproved (written, but no index on tape is known to name them), or damaged (no copy is whole).
func (f *face) state(ctx context.Context, v *catalog.Version, loc *catalog.Location) string {
	if v.Size == 0 {
		return "cached"
	}
	if loc.Batch != nil {
		return "spool"
	}
	switch cached := f.content.CachedBytes(v.Inode); {
	case cached >= v.Size:
		return "cached"
	case cached > 0:
		return "partial"
	}
	best := "damaged"
	for _, place := range loc.Places {
		switch place.State {
		case catalog.Durable:
			if !f.outside(ctx, place) {
				return "nearline"
			}
			best = "offline"
		case catalog.Written:
			if best == "damaged" {
				best = "unproved"
			}
		}
	}
	return best
}

// outside tells whether a copy has a tape outside the library.
func (f *face) outside(ctx context.Context, place catalog.Place) bool {
	return f.o.Outside != nil && slices.ContainsFunc(place.Parts, func(p catalog.CopyPart) bool { return f.o.Outside(ctx, p.Barcode) })
}

// tapesOf lists the barcodes that have the bytes, each once.
func tapesOf(loc *catalog.Location) []string {
	var list []string
	seen := map[string]bool{}
	for _, place := range loc.Places {
		for _, part := range place.Parts {
			if !seen[part.Barcode] {
				seen[part.Barcode] = true
				list = append(list, part.Barcode)
			}
		}
	}
	return list
}

func (f *face) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, attr string, dest []byte) (uint32, fuse.Status) {
	// Access control lists and security labels do not exist here. Told so once, ls asks no more, as it
	// would for each file if it heard that this one has none.
	if !strings.HasPrefix(attr, "user.") {
		return 0, fuse.Status(syscall.EOPNOTSUPP)
	}
	name, ours := strings.CutPrefix(attr, xattrPrefix)
	if !ours && attr != dosAttributes || in.NodeId >= hiddenDir {
		return 0, fuse.ENOATTR
	}
	v, err := f.node(in.NodeId)
	if err != nil {
		return 0, f.status(err, "getxattr", in.NodeId)
	}
	if !ours {
		if !f.onTapeOnly(&v) {
			return 0, fuse.ENOATTR
		}
		return fill(dest, string(dosBlob(dosArchive|dosOffline)))
	}
	value, err := f.xattr(withCancel(cancel), &v, name)
	if err != nil {
		return 0, f.status(err, "getxattr", in.NodeId)
	}
	if value == "" {
		return 0, fuse.ENOATTR
	}
	return fill(dest, value)
}

// ListXAttr lists nothing, as with LTFS: what is ours is answered by name, and programs that copy all attributes they find
// (cp -a, rsync -X, Samba) need not ask the catalog four times for each file, nor write to a disk what is true of the
// archive alone.
func (f *face) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	return 0, fuse.OK
}

// fill answers getxattr(2): the size alone when there is no room at all.
func fill(dest []byte, value string) (uint32, fuse.Status) {
	if len(dest) < len(value) {
		return uint32(len(value)), fuse.ERANGE
	}
	copy(dest, value)
	return uint32(len(value)), fuse.OK
}
