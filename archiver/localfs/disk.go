package localfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// Syncer is the spool's file system. Opened before files are written it hears of each error
// of writing them back (syncfs reports those since Linux 5.8).
type Syncer struct{ f *os.File }

// OpenSyncer makes the folder if it is not there. Close it.
func OpenSyncer(dir string) (*Syncer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	return &Syncer{f}, nil
}

// Sync returns when all that was written is on disk.
func (d *Syncer) Sync() error {
	if err := unix.Syncfs(int(d.f.Fd())); err != nil {
		return fmt.Errorf("sync the spool: %w", err)
	}
	return nil
}

// Close closes the handle; it does not sync.
func (d *Syncer) Close() { d.f.Close() }

// RemoveAll removes a directory of ours and reports what keeps it.
func RemoveAll(dir string, err *error) {
	if e := os.RemoveAll(dir); e != nil && *err == nil {
		*err = fmt.Errorf("tidy up: %w", e)
	}
}

// SetTime sets the time of modification of a name in a directory, of the symlink itself if it is one.
func SetTime(dir *os.File, name string, t catalog.Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: int64(t.Nsec)}}
	if err := unix.UtimesNanoAt(int(dir.Fd()), name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}
