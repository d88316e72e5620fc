package fs

import (
	"bytes"
	"context"
	"io"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
)

// The folder /.tapefs is in no listing of the root. Its files say how things stand; each is made anew
// when it is opened, so they show size 0, as those of /proc do.

// hiddenDir is the folder's node id; its files follow. The catalog's ids never get there.
const hiddenDir uint64 = 1 << 62

const hiddenName = ".tapefs"

// Report is one file of /.tapefs.
type Report struct {
	Name string
	Text func(ctx context.Context, user uint32) ([]byte, error) // as this user may see it
}

// hidden is the attributes of the folder or one of its files.
func (f *face) hidden(id uint64, a *fuse.Attr) bool {
	a.Ino, a.Nlink, a.Owner = id, 1, f.owners.self
	switch n := id - hiddenDir; {
	case n == 0:
		a.Mode = syscall.S_IFDIR | 0o555
	case n <= uint64(len(f.o.Reports)):
		a.Mode = syscall.S_IFREG | 0o444
	default:
		return false
	}
	return true
}

// lookupHidden answers for names in the folder, and for the folder's own in the root.
func (f *face) lookupHidden(parent uint64, name string, out *fuse.EntryOut) fuse.Status {
	id := hiddenDir
	switch {
	case parent == uint64(catalog.Root), name == ".":
		id = hiddenDir
	case name == "..":
		v, err := f.node(uint64(catalog.Root))
		if err == nil {
			err = f.entry(&v, out)
		}
		return f.status(err, "look up", parent)
	default:
		i := slices.IndexFunc(f.o.Reports, func(r Report) bool { return r.Name == name })
		if i < 0 {
			return fuse.ENOENT
		}
		id += uint64(i) + 1
	}
	out.NodeId, out.Generation = id, 1
	if !f.hidden(id, &out.Attr) {
		return fuse.ENOENT
	}
	return fuse.OK
}

// listHidden lists the folder.
func (f *face) listHidden(in *fuse.ReadIn, put func(e fuse.DirEntry) bool) fuse.Status {
	entries := []fuse.DirEntry{
		{Name: ".", Mode: syscall.S_IFDIR, Ino: hiddenDir},
		{Name: "..", Mode: syscall.S_IFDIR, Ino: uint64(catalog.Root)},
	}
	for i, r := range f.o.Reports {
		entries = append(entries, fuse.DirEntry{Name: r.Name, Mode: syscall.S_IFREG, Ino: hiddenDir + uint64(i) + 1})
	}
	for i, e := range entries {
		if uint64(i) < in.Offset {
			continue
		}
		if e.Off = uint64(i) + 1; !put(e) {
			break
		}
	}
	return fuse.OK
}

// openHidden makes a report.
func (f *face) openHidden(ctx context.Context, id uint64, user uint32) (Content, error) {
	n := id - hiddenDir
	if n == 0 || n > uint64(len(f.o.Reports)) {
		return nil, catalog.ErrNotFound
	}
	text, err := f.o.Reports[n-1].Text(ctx, user)
	if err != nil {
		return nil, err
	}
	return report{bytes.NewReader(text)}, nil
}

// report is the text of an open report.
type report struct{ text io.ReaderAt }

func (r report) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return r.text.ReadAt(p, off)
}
func (report) Complete() bool { return false } // its size is not known to the kernel: around the page cache
func (report) Close() error   { return nil }
