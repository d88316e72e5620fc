package fs

import (
	"context"
	"errors"
	"io"
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
)

func (f *face) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY || in.Flags&syscall.O_TRUNC != 0 {
		return fuse.EROFS
	}
	if errno := f.mayOpen(in.Uid); errno != 0 {
		return fuse.Status(errno)
	}
	kept := false
	defer func() {
		if !kept {
			f.closed(in.Uid)
		}
	}()
	hidden := in.NodeId >= hiddenDir
	var c Content
	var err error
	if hidden {
		c, err = f.openHidden(withCancel(cancel), in.NodeId, in.Uid)
	} else {
		c, err = f.content.Open(context.Background(), catalog.ID(in.NodeId), in.Uid)
	}
	if err != nil {
		return f.status(err, "open", in.NodeId)
	}
	// Reads that may wait for a tape go around the page cache: they can be interrupted then, and do
	// not count against the kernel's background requests.
	// Nothing is ever written, so no close needs to be told.
	out.OpenFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH
	slow := !c.Complete()
	if !slow {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	} else if !hidden && f.denied(&in.Caller) && !f.cached(catalog.ID(in.NodeId)) {
		if err := c.Close(); err != nil {
			f.log.Warn("close", "id", in.NodeId, "err", err)
		}
		return fuse.EACCES
	}
	if named, ok := c.(interface{ ReadBy(program string) }); ok && slow && !hidden {
		named.ReadBy(programName(in.Caller.Pid))
	}
	f.mu.Lock()
	f.last++
	out.Fh = f.last
	f.handles[out.Fh] = handle{c, slow && !hidden, in.Uid}
	f.mu.Unlock()
	kept = true
	return fuse.OK
}

func (f *face) handle(fh uint64) handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.handles[fh]
}

func (f *face) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	c := f.handle(in.Fh)
	if c.Content == nil {
		return nil, fuse.EBADF
	}
	if in.Offset > math.MaxInt64 {
		return nil, fuse.EINVAL
	}
	if int(in.Size) < len(buf) {
		buf = buf[:in.Size]
	}
	if c.slow {
		if errno := f.mayWait(in.Uid); errno != 0 {
			return nil, fuse.Status(errno)
		}
		defer f.waited(in.Uid)
	}
	ctx := withCancel(cancel)
	n, err := c.ReadAt(ctx, buf, int64(in.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		if ctx.Err() != nil {
			err = ctx.Err() // whatever it was that noticed
		}
		return nil, f.status(err, "read", in.NodeId)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Lseek: no file here has holes.
func (f *face) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	v, err := f.node(in.NodeId)
	if err != nil {
		return f.status(err, "seek", in.NodeId)
	}
	if in.Offset >= uint64(max(v.Size, 0)) {
		return fuse.Status(syscall.ENXIO)
	}
	const seekData, seekHole = 3, 4 // lseek(2)
	switch in.Whence {
	case seekData:
		out.Offset = in.Offset
	case seekHole:
		out.Offset = uint64(v.Size)
	default:
		return fuse.EINVAL
	}
	return fuse.OK
}

func (f *face) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

func (f *face) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	f.mu.Lock()
	c := f.handles[in.Fh]
	delete(f.handles, in.Fh)
	f.mu.Unlock()
	if c.Content == nil {
		return
	}
	f.closed(c.user)
	if err := c.Close(); err != nil {
		f.log.Warn("close", "id", in.NodeId, "err", err)
	}
}
