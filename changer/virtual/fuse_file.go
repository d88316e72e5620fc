package virtual

import (
	"context"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// handle is an open file.
type handle struct {
	v *volume
	n *node
	// dirty: written through this handle since it was last flushed. Of others nothing is flushed, as with the real ltfs:
	// so a close waits for no read of another program (ltfs_fuse.c, _ltfs_fuse_do_flush).
	dirty atomic.Bool
}

var (
	_ fs.NodeOpener   = (*fsNode)(nil)
	_ fs.NodeCreater  = (*fsNode)(nil)
	_ fs.FileReader   = (*handle)(nil)
	_ fs.FileWriter   = (*handle)(nil)
	_ fs.FileFlusher  = (*handle)(nil)
	_ fs.FileFsyncer  = (*handle)(nil)
	_ fs.FileReleaser = (*handle)(nil)
	_ fs.NodeFsyncer  = (*fsNode)(nil)
)

func (f *fsNode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		switch {
		case f.v.ro:
			return nil, 0, syscall.EROFS
		case !f.v.present():
			return nil, 0, syscall.EAGAIN
		}
	}
	if errno := f.v.open(f.n); errno != 0 {
		return nil, 0, errno
	}
	return &handle{v: f.v, n: f.n}, 0, 0
}

func (f *fsNode) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	f.v.request()
	f.v.mu.Lock()
	defer f.v.mu.Unlock()
	n, errno := f.v.add(f.n, name, "file")
	if errno != 0 {
		return nil, nil, 0, errno
	}
	if errno := f.v.open(n); errno != 0 {
		return nil, nil, 0, errno
	}
	return f.entry(ctx, n, out), &handle{v: f.v, n: n}, 0, 0
}

func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.v.request()
	n, errno := h.v.read(h.n, dest, off)
	return fuse.ReadResultData(dest[:n]), errno
}

func (h *handle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	h.v.request()
	n, errno := h.v.write(h.n, data, off)
	h.dirty.Store(true) // only now: a flush meanwhile does not have these bytes
	return n, errno
}

func (h *handle) Flush(context.Context) syscall.Errno { return h.flush(syscall.EIO) }

func (h *handle) flush(dropped syscall.Errno) syscall.Errno {
	h.v.request()
	if !h.dirty.Swap(false) {
		h.v.logIdle()
		return 0
	}
	errno := h.v.flush(h.n, dropped)
	if errno != 0 {
		h.dirty.Store(true)
	}
	return errno
}

func (h *handle) Fsync(context.Context, uint32) syscall.Errno { return h.flush(syscall.EROFS) }

// Fsync without a handle, of a directory: data, never the index.
func (f *fsNode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.v.request()
	return f.v.flush(f.n, syscall.EROFS)
}

func (h *handle) Release(context.Context) syscall.Errno {
	h.v.mu.Lock()
	defer h.v.mu.Unlock()
	h.v.release(h.n)
	return 0
}
