package localfs

import (
	"errors"
	"io"
)

// DiskError is an error of a disk of this machine, met while something was read from a tape: the tape is not at fault.
type DiskError struct{ Err error }

func (e *DiskError) Error() string { return e.Err.Error() }

func (e *DiskError) Unwrap() error { return e.Err }

// OfDisk reports whether an error is a DiskError.
func OfDisk(err error) bool {
	var de *DiskError
	return errors.As(err, &de)
}

// DiskWriter makes a DiskError of each error of W.
type DiskWriter struct{ W io.Writer }

func (d DiskWriter) Write(p []byte) (int, error) {
	n, err := d.W.Write(p)
	if err != nil {
		err = &DiskError{err}
	}
	return n, err
}
