package volume

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/pack"
)

// What this machine lacks is no fault of a tape.
func TestShortageIsNoTapeError(t *testing.T) {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, job.DiskFull(syscall.ENOSPC, "/spool")} {
		if BlamesTape(&pack.WriteError{Err: fmt.Errorf("write: %w", e)}) {
			t.Errorf("%v is an error of the tape", e)
		}
	}
	for _, e := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EAGAIN} {
		if !BlamesTape(&pack.WriteError{Err: fmt.Errorf("write: %w", e)}) {
			t.Errorf("%v is no error of the tape", e)
		}
	}
}
