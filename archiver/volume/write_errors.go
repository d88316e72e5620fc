package volume

import (
	"errors"
	"syscall"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/changer"
)

// BlamesTape reports whether an error is one of the tape that was written, and not one of this machine.
func BlamesTape(err error) bool {
	var we *pack.WriteError
	return errors.As(err, &we) && !changer.BlamesNoTape(err)
}

// IsFull reports whether something had no more room: the tape, where BlamesTape holds, or else a disk of this machine.
func IsFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
