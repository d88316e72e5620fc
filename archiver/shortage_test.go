package archiver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tapefs/archiver/job"
	"tapefs/archiver/pack"
)

// Whose error it is when a file of a tape is written from something on a disk.
func TestPutNewTellsTapeFromDisk(t *testing.T) {
	full := &os.PathError{Op: "write", Path: "spool", Err: syscall.ENOSPC}
	for name, fill := range map[string]func(io.Writer) error{
		"the disk is full": func(io.Writer) error { return full },
		"the disk is full behind some bytes": func(w io.Writer) error {
			_, err := w.Write([]byte("x"))
			return errors.Join(err, full)
		},
	} {
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = putNew(root, "m", fill)
		if err == nil || isTapeError(err) || !isFull(err) {
			t.Errorf("%s: %v, of the tape: %v", name, err, isTapeError(err))
		}
		// The tape's own errors stay its own: the name is taken.
		if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := putNew(root, "taken", fill); !isTapeError(err) {
			t.Errorf("a name that is taken: %v", err)
		}
		root.Close()
	}
}

// What this machine lacks is no fault of a tape.
func TestShortageIsNoTapeError(t *testing.T) {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, job.DiskFull(syscall.ENOSPC, "/spool")} {
		if isTapeError(&pack.WriteError{Err: fmt.Errorf("write: %w", e)}) {
			t.Errorf("%v is an error of the tape", e)
		}
	}
	for _, e := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EAGAIN} {
		if !isTapeError(&pack.WriteError{Err: fmt.Errorf("write: %w", e)}) {
			t.Errorf("%v is no error of the tape", e)
		}
	}
}
