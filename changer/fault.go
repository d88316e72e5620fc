package changer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// ErrAltered says that something on a tape, or read from it, is not what was written there: its sum differs, or another
// kind of file has taken its place.
var ErrAltered = errors.New("it is not what was written")

// Fault is what an error of reading a volume stands for. Only Damaged and Missing say anything about the file; all else is
// about this machine, the drive or the moment, and is never recorded against a file, a copy or a tape.
type Fault int

const (
	Unknown  Fault = iota // nothing says whose fault it is, so it is not the file's
	Damaged               // the medium cannot be read there, or gives other bytes than were written
	Missing               // the volume has no such file
	Shortage              // this machine lacks something just now: descriptors, memory, disk space, a permission
	Stopped               // the work was interrupted or called off
	Absent                // no medium in the drive, or the tape is elsewhere
	Gone                  // the volume is no longer mounted: ltfs died, or the cartridge was taken away
)

// faults is the one table by which errors are told apart, in mount, verify, restore, heal, repack and rebuild. The first entry
// that matches counts: an excuse comes before damage, because an error may carry both.
var faults = []struct {
	err   error
	fault Fault
}{
	{unix.ENOTCONN, Gone},
	{unix.ECONNABORTED, Gone},
	{unix.ENODEV, Gone},
	{unix.EAGAIN, Gone}, // recorded: what LTFS says after the cartridge was taken away

	{context.Canceled, Stopped},
	{context.DeadlineExceeded, Stopped},
	{unix.EINTR, Stopped},

	{unix.ENOMEDIUM, Absent},
	{ErrNoMedium, Absent},
	{ErrNotInLibrary, Absent},
	{ErrDoorOpen, Absent},

	{unix.EMFILE, Shortage},
	{unix.ENFILE, Shortage},
	{unix.ENOMEM, Shortage},
	{unix.ENOBUFS, Shortage},
	{unix.ENOSPC, Shortage},
	{unix.EDQUOT, Shortage},
	{unix.EACCES, Shortage},
	{unix.EPERM, Shortage},

	{ErrAltered, Damaged},
	{unix.EIO, Damaged},
	{unix.EREMOTEIO, Damaged},
	{unix.ENODATA, Damaged}, // the kernel's word for a critical medium error
	{unix.EILSEQ, Damaged},  // and for a failed protection check
	{unix.EBADMSG, Damaged},
	{unix.EUCLEAN, Damaged},
	{unix.EISDIR, Damaged}, // these three: another kind of file is in its place
	{unix.ENOTDIR, Damaged},
	{unix.ELOOP, Damaged},
	{io.ErrUnexpectedEOF, Damaged},
	{io.EOF, Damaged},

	{fs.ErrNotExist, Missing},
}

// FaultOf says what an error of reading a volume stands for. A nil error is Unknown.
func FaultOf(err error) Fault {
	if err == nil {
		return Unknown
	}
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return f.fault
		}
	}
	return Unknown
}

// OfFile reports whether the fault is the file's on the tape, and so to be recorded.
func (f Fault) OfFile() bool { return f == Damaged || f == Missing }

// Passing reports whether the fault lies with this machine or this moment: whoever meets it goes on later, and concludes
// nothing about the tape.
func (f Fault) Passing() bool { return f >= Shortage }

// told are the errors that a reader is told as they are: they say what to wait for, or what to put right.
var told = []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ENOSPC, unix.EDQUOT, unix.EINTR, unix.EACCES,
	unix.EPERM, unix.ENOMEDIUM, unix.ENOTCONN}

// Errno is the error number that a reader is told for a passing fault; 0 for all others.
func Errno(err error) unix.Errno {
	if !FaultOf(err).Passing() {
		return 0
	}
	for _, e := range told {
		if errors.Is(err, e) {
			return e
		}
	}
	return 0
}

// Patience is how long a read is tried again while this machine lacks something.
const Patience = 20 * time.Second

// firstPause and longestPause bound the time between two tries.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// WithPatience calls try until it gives something else than a shortage, limit has passed (0: Patience), or ctx ends. The error is
// that of the last try.
func WithPatience(ctx context.Context, limit time.Duration, try func() error) error {
	if limit == 0 {
		limit = Patience
	}
	end := time.Now().Add(limit)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := try()
		f := FaultOf(err)
		if f != Shortage && !(f == Stopped && errors.Is(err, unix.EINTR)) || time.Now().Add(pause).After(end) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}
