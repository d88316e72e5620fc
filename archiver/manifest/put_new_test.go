package manifest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/tapefs/tapefs/archiver/volume"
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
		if err == nil || volume.BlamesTape(err) || !volume.IsFull(err) {
			t.Errorf("%s: %v, of the tape: %v", name, err, volume.BlamesTape(err))
		}
		// The tape's own errors stay its own: the name is taken.
		if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := putNew(root, "taken", fill); !volume.BlamesTape(err) {
			t.Errorf("a name that is taken: %v", err)
		}
		root.Close()
	}
}
