package archiver

import (
	"errors"
	"fmt"
	"syscall"

	"tapefs/changer"
)

// errDiskFull: a disk of this machine is full, which says nothing about a tape.
var errDiskFull = errors.New("a disk of this machine is full, no tape is")

// diskFull says whose disk is full.
func diskFull(err error, dir string) error {
	return &changer.Error{Op: "write to the disk of " + dir, Hint: "make room on it, then run the command again: what was written to tapes is proved and goes on from there",
		Err: fmt.Errorf("%w: %w", errDiskFull, err)}
}

// shortage reports whether an error tells that this machine is short of something, or that somebody interrupted it: no tape is to be
// blamed for that.
func shortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EINTR, errDiskFull} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
