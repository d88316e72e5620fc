package job

import (
	"fmt"

	"github.com/tapefs/tapefs/changer"
)

// DiskFull says whose disk is full, which says nothing about a tape.
func DiskFull(err error, dir string) error {
	return &changer.Error{Op: "write to the disk of " + dir, Hint: "make room on it, then run the command again: what was written to tapes is proved and goes on from there",
		Err: fmt.Errorf("%w: %w", changer.ErrDiskFull, err)}
}
