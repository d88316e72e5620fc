package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall"
)

// errStale is a node id that the catalog does not have: an old NFS handle, or another catalog's.
var errStale = errors.New("stale handle")

// errNonsense is a row that cannot be shown.
var errNonsense = errors.New("the catalog says nonsense")

// status maps an error to what the kernel gets. What a person may have to look into is logged here,
// where the error ends; what programs ask for all the time is not. Of a cause's own errno only those are passed
// on that say what this machine lacks, or that a tape is away: "no such file" of a cache file would be said of the file that was read.
func (f *face) status(err error, op string, id uint64) fuse.Status {
	switch {
	case err == nil:
		return fuse.OK
	case errors.Is(err, catalog.ErrNotFound):
		return fuse.ENOENT
	case errors.Is(err, errStale):
		return fuse.Status(syscall.ESTALE)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fuse.Status(syscall.EINTR)
	}
	errno := syscall.EIO
	switch {
	case errors.Is(err, recall.ErrOffline):
		errno = syscall.ENOMEDIUM
	case errors.Is(err, changer.ErrDriveAway):
		errno = syscall.ENODEV
	case errors.Is(err, recall.ErrNoKey):
		errno = syscall.EACCES
	case errors.Is(err, recall.ErrDamaged):
	default:
		if e := changer.Errno(err); e != 0 {
			errno = e
		}
	}
	f.log.Error(op, "id", id, "err", err, "answer", errno)
	return fuse.Status(errno)
}
