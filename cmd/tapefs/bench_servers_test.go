package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// The two servers that bench-mount puts beside the mount. Both keep entries in the kernel for an hour and read in
// pieces of 1 MiB, as the mount does.

func benchOptions() fuse.MountOptions {
	return fuse.MountOptions{
		FsName: "bench", Name: "bench", Options: []string{"ro", "default_permissions"}, DirectMountStrict: os.Geteuid() == 0,
		DirectMountFlags: syscall.MS_RDONLY, MaxWrite: 1 << 20, MaxReadAhead: 1 << 20, EnableSymlinkCaching: true,
	}
}

// benchFloor serves names that it makes up, DIR N: what remains of a listing without any storage.
func benchFloor() {
	n, err := strconv.Atoi(os.Args[2])
	benchServe(err, func() (*fuse.Server, error) {
		options := benchOptions()
		server, err := fuse.NewServer(&floor{RawFileSystem: fuse.NewDefaultRawFileSystem(), n: uint64(n)}, os.Args[1], &options)
		if err == nil {
			go server.Serve()
			err = server.WaitMount()
		}
		return server, err
	})
}

// benchLoopback serves another directory, DIR OTHER: go-fuse's own example of a file system.
func benchLoopback() {
	root := &gofs.LoopbackRoot{Path: os.Args[2]}
	err := syscall.Stat(root.Path, new(syscall.Stat_t))
	root.RootNode = &servingNode{&gofs.LoopbackNode{RootData: root}}
	benchServe(err, func() (*fuse.Server, error) {
		keep := time.Hour
		return gofs.Mount(os.Args[1], root.RootNode, &gofs.Options{MountOptions: benchOptions(), EntryTimeout: &keep, AttrTimeout: &keep})
	})
}

func benchServe(err error, serve func() (*fuse.Server, error)) {
	var server *fuse.Server
	if err == nil {
		server, err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	server.Wait()
}

// servingNode reads files itself: go-fuse would hand them to the kernel.
type servingNode struct{ *gofs.LoopbackNode }

func (n *servingNode) WrapChild(_ context.Context, child gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &servingNode{child.(*gofs.LoopbackNode)}
}

func (n *servingNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f, more, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	loop := f.(*gofs.LoopbackFile)
	return struct {
		gofs.FileReader
		gofs.FileReleaser
	}{loop, loop}, more | fuse.FOPEN_KEEP_CACHE, 0
}

// floor has the tree of benchNames: node 1 is the root, 2 its directory, then the directories and, above floorFiles,
// the files.
type floor struct {
	fuse.RawFileSystem
	n uint64
}

const (
	floorDirs  = 10
	floorFiles = 1 << 32
)

func (f *floor) fill(id uint64, out *fuse.EntryOut) {
	out.NodeId, out.Generation = id, 1
	out.SetEntryTimeout(time.Hour)
	out.SetAttrTimeout(time.Hour)
	f.attr(id, &out.Attr)
}

func (f *floor) attr(id uint64, a *fuse.Attr) {
	a.Ino, a.Nlink, a.Mode, a.Mtime = id, 1, syscall.S_IFDIR|0o755, 1e9
	if id >= floorFiles {
		a.Mode, a.Size, a.Blocks = syscall.S_IFREG|0o644, 4_000_000, 1
	} else {
		a.Blksize = 1 << 20
	}
}

func (f *floor) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if in.NodeId != 1 || name != "src" { // all others are looked up by readdirplus
		return fuse.ENOENT
	}
	f.fill(2, out)
	return fuse.OK
}

func (f *floor) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	out.SetTimeout(time.Hour)
	f.attr(in.NodeId, &out.Attr)
	return fuse.OK
}

func (f *floor) OpenDir(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (f *floor) GetXAttr(<-chan struct{}, *fuse.InHeader, string, []byte) (uint32, fuse.Status) {
	return 0, fuse.Status(syscall.EOPNOTSUPP)
}

func (f *floor) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	for at := in.Offset; ; at++ {
		var id uint64
		var name string
		mode := uint32(syscall.S_IFDIR)
		switch dir := in.NodeId - floorDirs; {
		case at < 2:
			if out.AddDirLookupEntry(fuse.DirEntry{Name: []string{".", ".."}[at], Mode: mode, Ino: in.NodeId, Off: at + 1}) == nil {
				return fuse.OK
			}
			continue
		case in.NodeId == 1 && at == 2:
			id, name = 2, "src"
		case in.NodeId == 2 && (at-2)*benchPerDir < f.n:
			id, name = floorDirs+at-2, benchDir(int(at-2))
		case in.NodeId >= floorDirs && at-2 < benchPerDir && dir*benchPerDir+at-2 < f.n:
			id, mode = floorFiles+dir*benchPerDir+at-2, syscall.S_IFREG
			name = benchFile(int(dir*benchPerDir + at - 2))
		default:
			return fuse.OK
		}
		entry := out.AddDirLookupEntry(fuse.DirEntry{Name: name, Mode: mode, Ino: id, Off: at + 1})
		if entry == nil {
			return fuse.OK
		}
		f.fill(id, entry)
	}
}
