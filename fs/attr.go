package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
)

// node reads the version behind a node id. Like all that asks the catalog alone it takes no notice of
// signals: it is quick, and few programs expect EINTR from stat.
func (f *face) node(id uint64) (catalog.Version, error) {
	v, err := f.tree.Get(context.Background(), catalog.ID(id))
	if errors.Is(err, catalog.ErrNotFound) {
		return v, errStale
	}
	return v, err
}

// attributes fills what stat shows of a version. It fails with errNonsense.
func (f *face) attributes(v *catalog.Version, a *fuse.Attr) error {
	if v.Size < 0 || v.Inode <= 0 {
		return fmt.Errorf("%w: version %d has size %d, inode %d", errNonsense, v.ID, v.Size, v.Inode)
	}
	a.Ino = uint64(v.Inode)
	a.Mode = v.Mode & 0o7777
	a.Nlink = max(v.Nlink, 1)
	a.Owner = f.owners.of(v.Owner)
	a.Atime, a.Atimensec = uint64(v.MTime.Sec), uint32(v.MTime.Nsec)
	a.Mtime, a.Mtimensec = a.Atime, a.Atimensec
	a.Ctime, a.Ctimensec = a.Atime, a.Atimensec
	switch v.Kind {
	case catalog.Directory:
		a.Mode |= syscall.S_IFDIR
		a.Nlink = 1 // says nothing about how many directories are in it
		a.Blksize = dirBlockSize
	case catalog.Symlink:
		a.Mode = syscall.S_IFLNK | 0o777
		a.Size = uint64(len(v.Target))
	case catalog.File:
		a.Mode |= syscall.S_IFREG
		a.Size = uint64(v.Size)
		a.Blocks = f.blocks(v)
	default:
		return fmt.Errorf("%w: version %d has kind %d", errNonsense, v.ID, v.Kind)
	}
	return nil
}

// blocks is st_blocks: what is on disk, and never 0 for a file with content, which tar -S and others
// would take for a hole.
func (f *face) blocks(v *catalog.Version) uint64 {
	if v.Size == 0 {
		return 0
	}
	cached := min(f.content.CachedBytes(v.Inode), v.Size)
	return max(1, uint64(cached+511)/512)
}

// entry fills the answer to a lookup. It fails with errNonsense.
func (f *face) entry(v *catalog.Version, out *fuse.EntryOut) error {
	out.NodeId = uint64(v.Inode)
	out.Generation = 1 // ids are never reused
	out.SetEntryTimeout(cacheFor)
	out.SetAttrTimeout(cacheFor)
	return f.attributes(v, &out.Attr)
}

func (f *face) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if in.NodeId >= hiddenDir {
		if !f.hidden(in.NodeId, &out.Attr) {
			return fuse.ENOENT
		}
		return fuse.OK
	}
	v, err := f.node(in.NodeId)
	if err == nil {
		err = f.attributes(&v, &out.Attr)
	}
	out.SetTimeout(cacheFor)
	return f.status(err, "stat", in.NodeId)
}

func (f *face) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	v, err := f.node(in.NodeId)
	if err != nil {
		return nil, f.status(err, "read link", in.NodeId)
	}
	if v.Kind != catalog.Symlink {
		return nil, fuse.EINVAL
	}
	return []byte(v.Target), fuse.OK
}

// Access is left to the kernel: default_permissions.
func (f *face) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }

func (f *face) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	files, bytes, err := f.tree.Totals(context.Background())
	if err != nil {
		return f.status(err, "statfs", in.NodeId)
	}
	const block = 4096
	out.Bsize, out.Frsize, out.NameLen = block, block, 255
	out.Blocks = uint64(bytes+block-1) / block
	out.Files = uint64(files)
	return fuse.OK
}
