package archiver

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/changer"
)

// liftFileLimit lets this process, and the programs that it starts, make files of any size as far as that is allowed. An error says that
// a part of an object might not find room in one: neither tape nor spool would be at fault.
func liftFileLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return fmt.Errorf("ask how large a file may be: %w", err)
	}
	if limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			return fmt.Errorf("lift the limit of a file's size: %w", err)
		}
	}
	if limit.Cur >= volume.MaxPart {
		return nil
	}
	return &changer.Error{Op: "archive", Hint: "ulimit -H -f unlimited; in a service: LimitFSIZE=infinity",
		Err: fmt.Errorf("no file of this process may be larger than %s, and a part on tape has up to %s", humanize.IBytes(limit.Cur), humanize.IBytes(volume.MaxPart))}
}
