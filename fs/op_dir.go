package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
)

func (f *face) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if in.NodeId >= hiddenDir || name == hiddenName && in.NodeId == uint64(catalog.Root) {
		return f.lookupHidden(in.NodeId, name, out)
	}
	var v catalog.Version
	var err error
	switch name {
	case ".": // asked for by NFS handles, as is ".."
		v, err = f.node(in.NodeId)
	case "..":
		if v, err = f.node(in.NodeId); err == nil {
			v, err = f.node(uint64(v.Parent))
		}
	default:
		v, err = f.tree.Lookup(context.Background(), catalog.ID(in.NodeId), name)
	}
	if err == nil {
		err = f.entry(&v, out)
	}
	return f.status(err, "look up", in.NodeId) // what is not there is not remembered by the kernel: it may come
}

func (f *face) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

// Positions in a directory: 1 is after ".", 2 after "..", above it dirOffset plus the id of the
// last entry, so that a listing goes on rightly while the catalog changes.
const dirOffset = 2

// errFull ends a listing that filled the kernel's buffer.
var errFull = errors.New("buffer is full")

// add puts an entry into the kernel's buffer; false when it does not fit.
type add func(e fuse.DirEntry, v *catalog.Version) bool

func (f *face) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if in.NodeId >= hiddenDir {
		return f.listHidden(in, out.AddDirEntry)
	}
	return f.list(in, func(e fuse.DirEntry, _ *catalog.Version) bool { return out.AddDirEntry(e) })
}

func (f *face) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if in.NodeId >= hiddenDir {
		return f.listHidden(in, func(e fuse.DirEntry) bool { return out.AddDirLookupEntry(e) != nil })
	}
	return f.list(in, func(e fuse.DirEntry, v *catalog.Version) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil {
			return false
		}
		// Node id 0: not looked up. So are "." and "..", and what stat will fail for.
		if v != nil && f.entry(v, entry) != nil {
			*entry = fuse.EntryOut{}
		}
		return true
	})
}

// entryGuess is the least room an entry takes in a READDIRPLUS answer: fuse_entry_out, fuse_dirent
// and a short name. It bounds how many rows one query reads.
const entryGuess = 160

func (f *face) list(in *fuse.ReadIn, put add) fuse.Status {
	dir := catalog.ID(in.NodeId)
	offset := in.Offset
	if offset == 0 {
		if !put(fuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: in.NodeId, Off: 1}, nil) {
			return fuse.OK
		}
		offset = 1
	}
	if offset == 1 {
		v, err := f.node(in.NodeId)
		if err != nil {
			return f.status(err, "list", in.NodeId)
		}
		if !put(fuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: uint64(v.Parent), Off: dirOffset}, nil) {
			return fuse.OK
		}
		offset = dirOffset
	}
	limit := max(int(in.Size)/entryGuess, 1)
	err := f.tree.Children(context.Background(), dir, catalog.ID(offset-dirOffset), limit, func(v *catalog.Version) error {
		e := fuse.DirEntry{Name: v.Name, Mode: typeBits(v.Kind), Ino: uint64(v.Inode), Off: uint64(v.ListedAs()) + dirOffset}
		if !put(e, v) {
			return errFull
		}
		return nil
	})
	if errors.Is(err, errFull) {
		return fuse.OK
	}
	return f.status(err, "list", in.NodeId)
}

func typeBits(k catalog.Kind) uint32 {
	switch k {
	case catalog.Directory:
		return syscall.S_IFDIR
	case catalog.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}
