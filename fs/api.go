package fs

import (
	"context"
	"log/slog"

	"tapefs/catalog"
)

// Content is an open file's bytes. ReadAt follows io.ReaderAt; it is called from several goroutines
// and returns early when ctx ends.
type Content interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Complete tells whether every byte is on disk already, so that no read will wait for a tape.
	Complete() bool
	Close() error
}

// Opener brings content in.
type Opener interface {
	Open(ctx context.Context, id catalog.ID) (Content, error)
	// CachedBytes is how many bytes of a version are on disk, for st_blocks.
	CachedBytes(id catalog.ID) int64
}

// Options for a mount.
type Options struct {
	Owners     string // name, number or squash
	AllowOther bool
	Debug      bool
	Log        *slog.Logger
}

// Mount is a served file system.
type Mount struct{}

// Serve mounts the catalog at dir and returns when the kernel has answered a first request.
func Serve(ctx context.Context, dir string, db *catalog.DB, content Opener, o Options) (*Mount, error) {
	panic("unwritten")
}

// Wait returns when the file system was unmounted, by Unmount or from outside.
func (m *Mount) Wait() error { panic("unwritten") }

// Unmount ends the mount; an open file in it makes it fail with EBUSY.
func (m *Mount) Unmount() error { panic("unwritten") }
