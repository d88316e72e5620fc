package localfs

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/fs/recall/blocksums"
)

// On tape a file's zeros are bytes like all others: openssl and tar give them back without knowing more, and any byte of a file lies
// where its offset says. In the spool and where files are restored to they take no room: blocks of zeros become holes.

// sparseLeast and sparseShare are what holes must save of a file in the spool to be punched: bytes, and the part of the file that is 1 in so
// many. (rsync's --sparse would spare the writing as well, but older ones that go on with a partial file seek over zeros there
// and leave what was in their place, unnoticed by rsync's own sum, which is that of what was received.)
const (
	sparseLeast = 1 << 20
	sparseShare = 10
)

var zeroBlock [blocksums.Block]byte

// WriteSparse writes p at off into a file in which nothing was written there before: blocks of zeros are left out. The caller
// sets the file's size in the end.
func WriteSparse(f *os.File, p []byte, off int64) error {
	from := 0 // of what is to be written
	for at := 0; at < len(p); {
		n := min(blocksums.Block-int((off+int64(at))%blocksums.Block), len(p)-at)
		if bytes.Equal(p[at:at+n], zeroBlock[:n]) {
			if err := writeAll(f, p[from:at], off+int64(from)); err != nil {
				return err
			}
			from = at + n
		}
		at += n
	}
	return writeAll(f, p[from:], off+int64(from))
}

func writeAll(f *os.File, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	_, err := f.WriteAt(p, off)
	return err
}

// SparseWriter is writeSparse for what comes piece by piece from the file's beginning. Call finish at the end.
type SparseWriter struct {
	F   *os.File // empty as yet
	off int64
}

// Write leaves out blocks of zeros.
func (w *SparseWriter) Write(p []byte) (int, error) {
	if err := WriteSparse(w.F, p, w.off); err != nil {
		return 0, err
	}
	w.off += int64(len(p))
	return len(p), nil
}

// Finish gives the file its size.
func (w *SparseWriter) Finish() error { return w.F.Truncate(w.off) }

// Punch makes holes of the zeros of a file in the spool whose block sums are known, if that saves enough. zeros is how many bytes they are. The file
// keeps its time. That a file system has no holes is no error.
func Punch(ctx context.Context, f *os.File, sums string, size int64, sha256 []byte, zeros int64) error {
	var was unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &was); err != nil {
		return err
	}
	if zeros < sparseLeast || zeros < size/sparseShare || was.Blocks*512 <= size-zeros+sparseLeast {
		return nil
	}
	begin, end := int64(0), int64(0) // of a run of zeros
	run := func() error {
		if begin == end {
			return nil
		}
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, begin, end-begin)
	}
	var page blocksums.Page
	var err error
	for n := int64(0); n < size/blocksums.Block && err == nil; n++ {
		if !page.Has(n) {
			if page, err = blocksums.ReadPage(sums, size, sha256, n); err != nil {
				break
			}
			err = ctx.Err()
		}
		at := n * blocksums.Block
		zeros, zerr := page.Zeros(n), error(nil)
		if zeros { // a sum of 8 bytes is no reason to throw bytes away
			zeros, zerr = isZero(f, at)
		}
		switch {
		case zerr != nil:
			err = zerr
		case !zeros:
		case end == at:
			end = at + blocksums.Block
		default:
			err = run()
			begin, end = at, at+blocksums.Block
		}
	}
	if err == nil {
		err = run()
	}
	// It counts as a change of the file.
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, was.Mtim}
	if terr := unix.UtimesNanoAt(unix.AT_FDCWD, ProcName(f), times, 0); terr != nil {
		return fmt.Errorf("set its time again: %w", terr)
	}
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return nil
	}
	return err
}

// isZero reports whether the block at off holds nothing but zeros.
func isZero(f *os.File, off int64) (bool, error) {
	var block [blocksums.Block]byte
	if _, err := f.ReadAt(block[:], off); err != nil {
		return false, err
	}
	return block == zeroBlock, nil
}

// ProcName is a name by which an open file can be opened once more.
func ProcName(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
