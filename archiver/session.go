package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// session is one drive that a writer has, and the tape that is mounted in it: what was written to it, and what of that is not synced.
// It decides nothing: which tape is taken and what becomes of one that fails is the tapeWriter's. Only its writer's goroutine uses it.
type session struct {
	env   *job.Env
	noted *job.Problems
	peers *peers // of this run; shared with followers

	// freeDrives lets the followers of this writer give their drives back; some: there were any.
	freeDrives func() (some bool, err error)

	lease  *changer.Lease
	volume *changer.Volume // nil when nothing is mounted
	tape   catalog.Tape    // that is mounted
	pool   Pool            // of tape

	lastSeq  int   // greatest number that a manifest on the mounted volume has, or may have had
	unsynced int64 // bytes written since the last sync
	worked   bool  // a part was written since the tape was mounted
	synced   time.Time
}

// locksHeld is an error once another process may do what this run's locks were to prevent: the run ends then.
func (s *session) locksHeld() error {
	if err := s.env.LocksHeld(); err != nil || s.lease == nil {
		return err
	}
	return s.lease.Held()
}

// errTooSmall: an empty tape of the pool cannot hold the part.
var errTooSmall = errors.New("the part is larger than an empty tape of the pool")

// room tells whether the mounted tape takes need more bytes.
func (s *session) room(need int64) (bool, error) {
	free, err := s.volume.Free()
	if err != nil {
		return false, &pack.WriteError{Err: fmt.Errorf("ask tape %s for its free space: %w", s.tape.Barcode, err)}
	}
	if free-volume.KeepFree(s.pool, s.volume.Capacity) >= need {
		return true, nil
	}
	if s.tape.Used == 0 && s.tape.Leftover == 0 && s.unsynced == 0 {
		return false, fmt.Errorf("write %d bytes to tape %s: %w", need, s.tape.Barcode, errTooSmall)
	}
	return false, nil
}

// take makes the lease's volume the one that is written. lastSeq is the greatest number that a manifest on it has.
func (s *session) take(p Pool, t catalog.Tape, lastSeq int) {
	s.volume, s.tape, s.pool, s.lastSeq, s.unsynced, s.synced, s.worked = s.lease.Volume(), t, p, lastSeq, 0, time.Now(), false
}

// due tells whether enough was written, or long enough ago, for a sync.
func (s *session) due() bool {
	return s.volume != nil && s.unsynced > 0 &&
		(s.unsynced >= s.env.Config.SyncBytes || time.Since(s.synced) >= s.env.Config.SyncEvery)
}

// mountToRead loads a tape, mounts it read-only and proves what it is.
func (s *session) mountToRead(ctx context.Context, t catalog.Tape) (*changer.Volume, error) {
	if err := s.takeDrive(ctx, volume.BarcodeOf(t), false); err != nil {
		return nil, err
	}
	s.env.Note("mounting %s read-only to copy from it", t.Barcode)
	v, err := s.lease.Mount(ctx, changer.MountRequest{UUID: t.UUID, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	if err := volume.CheckLabelToRead(s.env, v, t, nil); err != nil {
		return nil, err
	}
	// What is copied from it is to be let go there: of a tape that holds more than the catalog knows nothing is.
	_, err = manifest.Check(ctx, s.env, v, t, false)
	return v, err
}

// errOccupied: a file on the tape bears the name, and cannot be removed or must not be.
var errOccupied = errors.New("a file on the tape has this name")

// errNamed: a manifest names that file, so that the part belongs onto another tape. Nothing is wrong.
var errNamed = errors.New("and a manifest names it")

// putFile makes a file on the mounted tape that must not exist. A leftover of a crash is never
// adopted: it is removed. Errors of the tape are *writeError.
func (s *session) putFile(ctx context.Context, name string, fill func(*os.File) (catalog.Part, error)) (catalog.Part, error) {
	root, err := os.OpenRoot(s.volume.Dir)
	if err != nil {
		return catalog.Part{}, &pack.WriteError{Err: err}
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return catalog.Part{}, &pack.WriteError{Err: err}
	}
	f, err := changer.OpenFile(root, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		if info, serr := root.Lstat(name); serr == nil {
			named, err := s.env.DB.NamedOnTape(ctx, s.tape.ID, name)
			if err != nil {
				return catalog.Part{}, err
			}
			if named { // no name on a tape is used twice: a rebuild would take one file for the other
				return catalog.Part{}, &pack.WriteError{Err: fmt.Errorf("%w, %w", errOccupied, errNamed)}
			}
			if err := s.addLeftover(ctx, info.Size()); err != nil {
				return catalog.Part{}, err
			}
		}
		if rerr := root.Remove(name); rerr != nil {
			return catalog.Part{}, &pack.WriteError{Err: fmt.Errorf("%w: %w", errOccupied, rerr)}
		}
		f, err = changer.OpenFile(root, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return catalog.Part{}, &pack.WriteError{Err: err}
	}
	part, err := fill(f)
	if cerr := f.Close(); cerr != nil && err == nil {
		err = &pack.WriteError{Err: fmt.Errorf("close: %w", cerr)}
	}
	return part, err
}

// addLeftover counts space on the mounted tape that holds nothing of use.
func (s *session) addLeftover(ctx context.Context, size int64) error {
	t, err := s.env.DB.UpdateTape(ctx, s.tape.ID, func(t *catalog.Tape) error { t.Leftover += size; return nil })
	if err != nil {
		return fmt.Errorf("record leftover space on tape %s: %w", s.tape.Barcode, err)
	}
	s.tape = t
	return nil
}
