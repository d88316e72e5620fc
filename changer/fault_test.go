package changer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFaults is the whole of what counts as damage, and of what does not.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		err   error
		want  Fault
		errno unix.Errno
	}{
		{nil, Unknown, 0},
		{errors.New("anything"), Unknown, 0},
		{os.ErrClosed, Unknown, 0},
		{unix.EINVAL, Unknown, 0},
		{unix.ENAMETOOLONG, Unknown, 0},

		{ErrAltered, Damaged, 0},
		{unix.EIO, Damaged, 0},
		{unix.EREMOTEIO, Damaged, 0},
		{unix.ENODATA, Damaged, 0},
		{unix.EILSEQ, Damaged, 0},
		{unix.EBADMSG, Damaged, 0},
		{unix.EUCLEAN, Damaged, 0},
		{unix.EISDIR, Damaged, 0},
		{unix.ENOTDIR, Damaged, 0},
		{unix.ELOOP, Damaged, 0},
		{io.EOF, Damaged, 0},
		{io.ErrUnexpectedEOF, Damaged, 0},
		{fs.ErrNotExist, Missing, 0},
		{unix.ENOENT, Missing, 0},

		{unix.EMFILE, Shortage, unix.EMFILE},
		{unix.ENFILE, Shortage, unix.ENFILE},
		{unix.ENOMEM, Shortage, unix.ENOMEM},
		{unix.ENOBUFS, Shortage, unix.ENOBUFS},
		{unix.ENOSPC, Shortage, unix.ENOSPC},
		{unix.EDQUOT, Shortage, unix.EDQUOT},
		{unix.EACCES, Shortage, unix.EACCES},
		{unix.EPERM, Shortage, unix.EPERM},

		{unix.EINTR, Stopped, unix.EINTR},
		{context.Canceled, Stopped, 0},
		{context.DeadlineExceeded, Stopped, 0},
		{unix.ENOMEDIUM, Absent, unix.ENOMEDIUM},
		{ErrNoMedium, Absent, 0},
		{ErrNotInLibrary, Absent, 0},
		{ErrDoorOpen, Absent, 0},
		{unix.ENOTCONN, Gone, unix.ENOTCONN},
		{unix.ECONNABORTED, Gone, 0},
		{unix.ENODEV, Gone, 0},
		{unix.EAGAIN, Gone, 0},

		// An excuse is never taken for damage, whatever else the error says.
		{errors.Join(unix.EIO, unix.ENOTCONN), Gone, unix.ENOTCONN},
		{errors.Join(ErrAltered, unix.EMFILE), Shortage, unix.EMFILE},
	} {
		wrapped := error(nil)
		if c.err != nil {
			wrapped = fmt.Errorf("read it: %w", &fs.PathError{Op: "read", Path: "x", Err: c.err})
		}
		got := FaultOf(wrapped)
		if got != c.want {
			t.Errorf("%v: fault %d, not %d", c.err, got, c.want)
		}
		if e := Errno(wrapped); e != c.errno {
			t.Errorf("%v: a reader is told %v, not %v", c.err, e, c.errno)
		}
		if of := c.want == Damaged || c.want == Missing; got.OfFile() != of || of && got.Passing() {
			t.Errorf("%v: of the file: %v, passing: %v", c.err, got.OfFile(), got.Passing())
		}
	}
}

func TestWithPatience(t *testing.T) {
	tries := 0
	err := WithPatience(t.Context(), time.Minute, func() error {
		if tries++; tries < 4 {
			return unix.EMFILE
		}
		return unix.EIO
	})
	if tries != 4 || !errors.Is(err, unix.EIO) {
		t.Errorf("%d tries, %v", tries, err)
	}
	tries = 0
	if err := WithPatience(t.Context(), time.Millisecond, func() error { tries++; return unix.ENOMEM }); tries != 1 || !errors.Is(err, unix.ENOMEM) {
		t.Errorf("%d tries beyond the limit, %v", tries, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tries = 0
	if err := WithPatience(ctx, time.Hour, func() error { tries++; return unix.ENOSPC }); tries != 1 || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%d tries after the end, %v", tries, err)
	}
}
