package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"tapefs/catalog"
	"tapefs/changer"
)

// errSum: bytes were read and are not those that were written.
var errSum = fmt.Errorf("%w: the bytes have another sum", changer.ErrAltered)

// damageError says that a file on tape is not what was written there. Lost: it is not there at all.
type damageError struct {
	what string
	lost bool
	size int64 // bytes of the file found
}

func (e *damageError) Error() string { return e.what }

func isDamage(err error) bool {
	var d *damageError
	return errors.As(err, &d)
}

// damaged makes a *damageError of an error of reading a file on tape when the fault is the file's, and nil of any other: those of the
// volume, of this machine, and those of which nothing is known.
func damaged(v *changer.Volume, what string, size int64, err error) *damageError {
	fault := changer.FaultOf(err)
	if !fault.OfFile() || volumeGone(v, err) {
		return nil
	}
	return &damageError{what: what, lost: fault == changer.Missing, size: size}
}

// volumeGone reports, after a read that failed, whether the mount died or lost its cartridge: no fault of a part.
func volumeGone(v *changer.Volume, err error) bool {
	var st unix.Statfs_t
	return changer.SaysGone(err) || changer.SaysGone(unix.Statfs(v.Dir, &st))
}

// excused reports whether a read failed for a reason that lies with the volume as a whole, with this machine or with the moment, so
// that nothing follows for the file that was read.
func excused(v *changer.Volume, err error) bool {
	return changer.FaultOf(err).Passing() || volumeGone(v, err)
}

// readPart reads a part's sealed bytes from a mounted tape and holds each extent against its sum
// before it goes to out (which may be nil). An extent that is bad is read once more. *damageError:
// the part is not what was written; other errors are those of the volume, of out, or of ctx.
func readPart(ctx context.Context, v *changer.Volume, p catalog.CopyPart, part catalog.Part, out io.Writer) error {
	if int64(len(part.Sums)) != (part.Size+catalog.ExtentSize-1)/catalog.ExtentSize*sha256.Size {
		return fmt.Errorf("part %s: %d bytes of sums do not fit %d bytes of content", p.Name, len(part.Sums), part.Size)
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return fmt.Errorf("open the volume of tape %s: %w", p.Barcode, err)
	}
	defer root.Close()
	f, err := openOnTape(ctx, root, p.Name)
	if err != nil {
		if d := damaged(v, err.Error(), 0, err); d != nil {
			return d
		}
		return fmt.Errorf("read tape %s: %w", p.Barcode, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read tape %s: %w", p.Barcode, err)
	}
	if info.Size() != part.Size {
		return &damageError{what: fmt.Sprintf("%s has %d bytes, not %d", p.Name, info.Size(), part.Size), size: info.Size()}
	}
	buf := make([]byte, catalog.ExtentSize)
	for i, at := 0, int64(0); at < part.Size; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := buf[:min(part.Size-at, int64(len(buf)))]
		want := part.Sums[i*sha256.Size : (i+1)*sha256.Size]
		read := func() error { return readExtent(f, b, at, want) }
		err := changer.WithPatience(ctx, 0, read)
		if err != nil && !excused(v, err) {
			_ = unix.Fadvise(int(f.Fd()), at, int64(len(b)), unix.FADV_DONTNEED)
			err = changer.WithPatience(ctx, 0, read)
		}
		if err != nil {
			if d := damaged(v, fmt.Sprintf("%s, extent %d: %v", p.Name, i, err), part.Size, err); d != nil {
				return d
			}
			return fmt.Errorf("read tape %s: %s, extent %d: %w", p.Barcode, p.Name, i, err)
		}
		// What is read once needs no place among what others read again and again.
		_ = unix.Fadvise(int(f.Fd()), at, int64(len(b)), unix.FADV_DONTNEED)
		if out != nil {
			if _, err := out.Write(b); err != nil {
				return err
			}
		}
		at += int64(len(b))
	}
	return nil
}

// openOnTape opens a file of a mounted tape to read it, with patience while this machine is short of something.
func openOnTape(ctx context.Context, root *os.Root, name string) (f *os.File, err error) {
	err = changer.WithPatience(ctx, 0, func() error {
		f, err = changer.OpenFile(root, name, os.O_RDONLY, 0)
		return err
	})
	return f, err
}

func readExtent(f *os.File, b []byte, at int64, want []byte) error {
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:], want) {
		return errSum
	}
	return nil
}

// markDamaged records what was found of a part that is not on its tape as it was written.
func (a *Archiver) markDamaged(ctx context.Context, p catalog.CopyPart, why error) error {
	return a.markDamagedSince(ctx, p, why, time.Time{})
}

// markDamagedSince is markDamaged for a reader that has had the tape mounted since a moment.
func (a *Archiver) markDamagedSince(ctx context.Context, p catalog.CopyPart, why error, since time.Time) error {
	lost, size := false, p.Size
	var d *damageError
	if errors.As(why, &d) {
		lost, size = d.lost, d.size
	}
	return a.env.DB.FoundDamagedSince(context.WithoutCancel(ctx), p, lost, size, why, since)
}
