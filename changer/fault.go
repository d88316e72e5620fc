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

// ErrDiskFull says that a disk of this machine is full. The bare ENOSPC of a write may be a tape's.
var ErrDiskFull = errors.New("a disk of this machine is full, no tape is")

// Fault is what an error of reading or writing a volume stands for. Only Damaged and Missing say anything about the file; all else is
// about this machine, the drive or the moment, and is never recorded against a file, a copy or a tape.
type Fault int

const (
	Unknown  Fault = iota // nothing says whose fault it is, so it is not the file's
	Damaged               // the medium cannot be read there, or gives other bytes than were written
	Missing               // the volume has no such file
	Full                  // the volume takes no more; only writing can meet that
	Shortage              // this machine lacks something just now: descriptors, memory, disk space, a permission
	Stopped               // the work was interrupted or called off
	Absent                // no medium in the drive, or the tape is elsewhere
	Gone                  // the volume is no longer mounted: ltfs died, or the cartridge was taken away
)

// faults is the one table by which errors are told apart, in mount, archive, verify, restore, heal, repack and rebuild. The first
// entry that matches counts: an excuse comes before damage, because an error may carry both. Writing stands beside reading where the same
// number means something else: what is opened to be read may be refused to this process, while a tape that refuses to be written is
// one to be looked at.
var faults = []struct {
	err              error
	reading, writing Fault
}{
	{ErrDiskFull, Shortage, Shortage},

	{unix.ENOTCONN, Gone, Gone},
	{unix.ECONNABORTED, Gone, Gone},
	{unix.ENODEV, Gone, Gone},
	{unix.EAGAIN, Gone, Gone}, // recorded: what LTFS says after the cartridge was taken away

	{context.Canceled, Stopped, Stopped},
	{context.DeadlineExceeded, Stopped, Stopped},
	{unix.EINTR, Stopped, Stopped},

	{unix.ENOMEDIUM, Absent, Absent},
	{ErrNoMedium, Absent, Absent},
	{ErrNotInLibrary, Absent, Absent},
	{ErrDoorOpen, Absent, Absent},
	{ErrDriveAway, Absent, Absent},

	{unix.EMFILE, Shortage, Shortage},
	{unix.ENFILE, Shortage, Shortage},
	{unix.ENOMEM, Shortage, Shortage},
	{unix.ENOBUFS, Shortage, Shortage},
	{unix.ENOSPC, Shortage, Full},
	{unix.EDQUOT, Shortage, Shortage}, // a tape has no quotas
	{unix.EFBIG, Shortage, Shortage},  // the process may make no larger file (RLIMIT_FSIZE)
	{unix.EACCES, Shortage, Unknown},
	{unix.EPERM, Shortage, Unknown},
	{unix.EROFS, Shortage, Unknown}, // reading writes only to folders of this machine

	{ErrAltered, Damaged, Damaged},
	{unix.EIO, Damaged, Damaged},
	{unix.EREMOTEIO, Damaged, Damaged},
	{unix.ENODATA, Damaged, Damaged}, // the kernel's word for a critical medium error
	{unix.EILSEQ, Damaged, Damaged},  // and for a failed protection check
	{unix.EBADMSG, Damaged, Damaged},
	{unix.EUCLEAN, Damaged, Damaged},
	{unix.EISDIR, Damaged, Damaged}, // these three: another kind of file is in its place
	{unix.ENOTDIR, Damaged, Damaged},
	{unix.ELOOP, Damaged, Damaged},
	{io.ErrUnexpectedEOF, Damaged, Damaged},
	{io.EOF, Damaged, Damaged},

	{fs.ErrNotExist, Missing, Missing},
}

// FaultOf says what an error of reading a volume stands for. A nil error is Unknown.
func FaultOf(err error) Fault {
	reading, _ := lookUp(err)
	return reading
}

// WriteFaultOf is FaultOf for an error of writing to a volume, or of syncing it.
func WriteFaultOf(err error) Fault {
	_, writing := lookUp(err)
	return writing
}

func lookUp(err error) (reading, writing Fault) {
	if err == nil {
		return Unknown, Unknown
	}
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return f.reading, f.writing
		}
	}
	return Unknown, Unknown
}

// OfFile reports whether the fault is the file's on the tape, and so to be recorded.
func (f Fault) OfFile() bool { return f == Damaged || f == Missing }

// Passing reports whether the fault lies with this machine or this moment: whoever meets it goes on later, and concludes
// nothing about the tape.
func (f Fault) Passing() bool { return f >= Shortage }

// told are the errors that a reader is told as they are: they say what to wait for, or what to put right.
var told = []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ENOSPC, unix.EDQUOT, unix.EINTR, unix.EACCES,
	unix.EPERM, unix.EROFS, unix.ENOMEDIUM, unix.ENOTCONN}

// BlamesNoTape reports whether an error of writing to a volume, or of syncing it, tells of something that this machine lacks, or of a
// signal: no tape and no drive is at fault. A time limit that was reached is none of these.
func BlamesNoTape(err error) bool {
	f := WriteFaultOf(err)
	return f == Shortage || f == Stopped && errors.Is(err, unix.EINTR)
}

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
