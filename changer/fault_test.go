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
		{unix.EFBIG, Shortage, 0},
		{unix.EACCES, Shortage, unix.EACCES},
		{unix.EPERM, Shortage, unix.EPERM},
		{unix.EROFS, Shortage, unix.EROFS},

		{unix.EINTR, Stopped, unix.EINTR},
		{context.Canceled, Stopped, 0},
		{context.DeadlineExceeded, Stopped, 0},
		{unix.ENOMEDIUM, Absent, unix.ENOMEDIUM},
		{ErrNoMedium, Absent, 0},
		{ErrNotInLibrary, Absent, 0},
		{ErrDoorOpen, Absent, 0},
		{ErrDriveAway, Absent, 0},
		{awayFor(DriveConfig{Serial: "S"}, fs.ErrNotExist), Absent, 0}, // its node is gone, no file is
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

// TestWriteFaults is what differs when a volume is written, and what of it blames no tape.
func TestWriteFaults(t *testing.T) {
	for _, c := range []struct {
		err       error
		want      Fault
		blameless bool
	}{
		{nil, Unknown, false},
		{unix.ENOSPC, Full, false},
		{unix.EROFS, Unknown, false},
		{unix.EACCES, Unknown, false},
		{unix.EPERM, Unknown, false},
		{unix.EDQUOT, Shortage, true},
		{unix.EFBIG, Shortage, true},
		{unix.EIO, Damaged, false},
		{unix.EAGAIN, Gone, false},
		{unix.ENOTCONN, Gone, false},
		{unix.ENOMEDIUM, Absent, false},
		{context.DeadlineExceeded, Stopped, false}, // no index within the limit
		{unix.EINTR, Stopped, true},
		{unix.EMFILE, Shortage, true},
		{unix.ENFILE, Shortage, true},
		{unix.ENOMEM, Shortage, true},
		{unix.ENOBUFS, Shortage, true},
		{fmt.Errorf("%w: %w", ErrDiskFull, unix.ENOSPC), Shortage, true},
	} {
		wrapped := error(nil)
		if c.err != nil {
			wrapped = fmt.Errorf("write it: %w", &fs.PathError{Op: "write", Path: "x", Err: c.err})
		}
		if got := WriteFaultOf(wrapped); got != c.want {
			t.Errorf("%v: fault %d, not %d", c.err, got, c.want)
		}
		if got := BlamesNoTape(wrapped); got != c.blameless {
			t.Errorf("%v: blames no tape: %v", c.err, got)
		}
	}
}

// TestFaultsOfAllNumbers: every number that a system call can give is damage, absence or shortage only if the table says so, and what
// is damage when it is read never excuses a tape that is written.
func TestFaultsOfAllNumbers(t *testing.T) {
	listed := map[unix.Errno]bool{}
	for _, f := range faults {
		if e, ok := f.err.(unix.Errno); ok {
			if listed[e] {
				t.Errorf("%v is listed twice", e)
			}
			listed[e] = true
		}
	}
	for n := unix.Errno(1); n < 134; n++ { // EHWPOISON is the last one of Linux
		got := FaultOf(n)
		switch {
		case listed[n], n == unix.ENOENT: // fs.ErrNotExist stands for the latter
			if got == Unknown {
				t.Errorf("%v is listed and unknown", n)
			}
		case got != Unknown || WriteFaultOf(n) != Unknown || BlamesNoTape(n) || Errno(n) != 0:
			t.Errorf("%v is not listed, and taken for %d", n, got)
		}
		if got.OfFile() && (BlamesNoTape(n) || Errno(n) != 0) {
			t.Errorf("%v is damage, and excused", n)
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
