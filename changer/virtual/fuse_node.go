package virtual

import (
	"context"
	"math"
	"sort"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fsNode shows one node of a volume to the kernel.
type fsNode struct {
	fs.Inode
	v *volume
	n *node
}

var (
	_ fs.NodeLookuper   = (*fsNode)(nil)
	_ fs.NodeGetattrer  = (*fsNode)(nil)
	_ fs.NodeSetattrer  = (*fsNode)(nil)
	_ fs.NodeReaddirer  = (*fsNode)(nil)
	_ fs.NodeMkdirer    = (*fsNode)(nil)
	_ fs.NodeMknoder    = (*fsNode)(nil)
	_ fs.NodeLinker     = (*fsNode)(nil)
	_ fs.NodeSymlinker  = (*fsNode)(nil)
	_ fs.NodeReadlinker = (*fsNode)(nil)
	_ fs.NodeUnlinker   = (*fsNode)(nil)
	_ fs.NodeRmdirer    = (*fsNode)(nil)
	_ fs.NodeRenamer    = (*fsNode)(nil)
	_ fs.NodeStatfser   = (*fsNode)(nil)
)

func (f *fsNode) attr(out *fuse.Attr) {
	n := f.n
	out.Ino = n.uid
	out.Mode = n.fileType() | 0o777
	if n.readonly {
		out.Mode = n.fileType() | 0o555
	}
	out.Size = uint64(n.size)
	out.Nlink = 1
	out.Blksize = blockSize
	switch n.kind {
	case "dir":
		out.Nlink = 2
		for _, c := range n.children {
			if c.kind == "dir" {
				out.Nlink++
			}
		}
	case "link":
		out.Size = uint64(len(n.target))
	default:
		out.Blocks = uint64(n.stored()+511) / 512
	}
	out.SetTimes(&n.accessed, &n.modified, &n.changed)
}

func (n *node) fileType() uint32 {
	switch n.kind {
	case "dir":
		return syscall.S_IFDIR
	case "link":
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

// entry answers with a child; the lock is held.
func (f *fsNode) entry(ctx context.Context, n *node, out *fuse.EntryOut) *fs.Inode {
	child := &fsNode{v: f.v, n: n}
	child.attr(&out.Attr)
	return f.NewInode(ctx, child, fs.StableAttr{Mode: n.fileType(), Ino: n.uid})
}

func (f *fsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	n := f.n.children[name]
	if n == nil {
		return nil, syscall.ENOENT
	}
	return f.entry(ctx, n, out), 0
}

func (f *fsNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	f.attr(&out.Attr)
	return 0
}

func (f *fsNode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if f.v.ro {
		return syscall.EROFS
	}
	n := f.n
	if size, ok := in.GetSize(); ok {
		if size > math.MaxInt64 {
			return syscall.EFBIG
		}
		if errno := f.v.truncate(n, int64(size)); errno != 0 {
			return errno
		}
	}
	changed := false
	if mode, ok := in.GetMode(); ok {
		if ro := mode&0o222 == 0; ro != n.readonly {
			n.readonly, changed = ro, true
		}
	}
	if t, ok := in.GetMTime(); ok {
		n.modified, changed = t.UTC(), true
	}
	if t, ok := in.GetATime(); ok {
		n.accessed, changed = t.UTC(), true
	}
	if changed {
		if !f.v.present() {
			return syscall.EAGAIN
		}
		n.changed = time.Now().UTC()
		f.v.touch()
	}
	f.attr(&out.Attr)
	return 0
}

func (f *fsNode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	list := make([]fuse.DirEntry, 0, len(f.n.children))
	for _, c := range f.n.children {
		list = append(list, fuse.DirEntry{Name: c.name, Mode: c.fileType(), Ino: c.uid})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	up := f.n
	if up.parent != nil {
		up = up.parent
	}
	dots := []fuse.DirEntry{{Name: ".", Mode: syscall.S_IFDIR, Ino: f.n.uid}, {Name: "..", Mode: syscall.S_IFDIR, Ino: up.uid}}
	return fs.NewListDirStream(append(dots, list...)), 0
}

func (f *fsNode) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	n, errno := f.v.add(f.n, name, "dir")
	if errno != 0 {
		return nil, errno
	}
	return f.entry(ctx, n, out), 0
}

func (f *fsNode) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOSYS
}

func (f *fsNode) Link(context.Context, fs.InodeEmbedder, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (f *fsNode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	n, errno := f.v.add(f.n, name, "link")
	if errno != 0 {
		return nil, errno
	}
	n.target = target
	return f.entry(ctx, n, out), 0
}

func (f *fsNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(f.n.target), 0
}

func (f *fsNode) Unlink(_ context.Context, name string) syscall.Errno {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	return f.v.remove(f.n, name, false)
}

func (f *fsNode) Rmdir(_ context.Context, name string) syscall.Errno {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	return f.v.remove(f.n, name, true)
}

func (f *fsNode) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	f.v.request()
	to, ok := parent.(*fsNode)
	if !ok {
		return syscall.EXDEV
	}
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	return f.v.rename(f.n, name, to.n, newName, flags)
}

func (f *fsNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	out.Bsize, out.Frsize, out.NameLen = blockSize, blockSize, 255
	out.Blocks = uint64(f.v.d.m.Capacity / blockSize)
	if !f.v.full {
		out.Bfree = uint64(f.v.free() / blockSize)
	}
	out.Bavail = out.Bfree
	out.Files, out.Ffree = math.MaxUint64, math.MaxUint64
	return 0
}
