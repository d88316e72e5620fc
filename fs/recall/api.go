package recall

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tapefs/catalog"
	"tapefs/changer"
	"tapefs/crypto"
)

var (
	ErrOffline = errors.New("tape is outside the library")
	ErrDamaged = errors.New("no good copy")
	ErrNoBytes = errors.New("no bytes of this version anywhere")
	ErrNoKey   = errors.New("key is missing")
)

// Options are what the configuration says of reading.
type Options struct {
	CacheDir    string
	CacheMax    int64         // bytes of sealed extents
	SpoolDir    string        // where batches lie
	IdleUnmount time.Duration // 0: 5 min
	Log         *slog.Logger
}

// Queue answers reads from spool, cache and tape. Safe for concurrent use.
type Queue struct{}

// New starts the queue. lib may be nil: then only spool and cache are read.
func New(db *catalog.DB, keys *crypto.Keyring, lib *changer.Library, o Options) (*Queue, error) {
	panic("unwritten")
}

// Open finds out where a version's bytes are. It touches no tape.
func (q *Queue) Open(ctx context.Context, id catalog.ID) (*File, error) { panic("unwritten") }

// CachedBytes is how many plain bytes of a version are on disk.
func (q *Queue) CachedBytes(id catalog.ID) int64 { panic("unwritten") }

// Close gives up all drives, tapes stay loaded.
func (q *Queue) Close(ctx context.Context) error { panic("unwritten") }

// File is one open version.
type File struct{}

func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) { panic("unwritten") }
func (f *File) Complete() bool                                               { panic("unwritten") }
func (f *File) Close() error                                                 { panic("unwritten") }
