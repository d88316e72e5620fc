package volume

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

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// ErrSum: bytes were read and are not those that were written.
var ErrSum = fmt.Errorf("%w: the bytes have another sum", changer.ErrAltered)

// DamageError says that a file on tape is not what was written there. Lost: it is not there at all.
type DamageError struct {
	What string
	lost bool
	Size int64 // bytes of the file found
}

func (e *DamageError) Error() string { return e.What }

// IsDamage reports whether bytes on a tape are not those that were written.
func IsDamage(err error) bool {
	var d *DamageError
	return errors.As(err, &d)
}

// Damaged makes a *damageError of an error of reading a file on tape when the fault is the file's, and nil of any other: those of the
// volume, of this machine, and those of which nothing is known.
func Damaged(v *changer.Volume, what string, size int64, err error) *DamageError {
	fault := changer.FaultOf(err)
	if !fault.OfFile() || VolumeGone(v, err) {
		return nil
	}
	return &DamageError{What: what, lost: fault == changer.Missing, Size: size}
}

// VolumeGone reports, after a read that failed, whether the mount died or lost its cartridge: no fault of a part.
func VolumeGone(v *changer.Volume, err error) bool {
	var st unix.Statfs_t
	return changer.SaysGone(err) || changer.SaysGone(unix.Statfs(v.Dir, &st))
}

// Excused reports whether a read failed for a reason that lies with the volume as a whole, with this machine or with the moment, so
// that nothing follows for the file that was read.
func Excused(v *changer.Volume, err error) bool {
	return changer.FaultOf(err).Passing() || VolumeGone(v, err)
}

// ReadPart reads a part's sealed bytes from a mounted tape and holds each extent against its sum
// before it goes to out (which may be nil). An extent that is bad is read once more. *damageError:
// the part is not what was written; other errors are those of the volume, of out, or of ctx.
func ReadPart(ctx context.Context, v *changer.Volume, p catalog.CopyPart, part catalog.Part, out io.Writer) error {
	if int64(len(part.Sums)) != (part.Size+catalog.ExtentSize-1)/catalog.ExtentSize*sha256.Size {
		return fmt.Errorf("part %s: %d bytes of sums do not fit %d bytes of content", p.Name, len(part.Sums), part.Size)
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return fmt.Errorf("open the volume of tape %s: %w", p.Barcode, err)
	}
	defer root.Close()
	f, err := OpenOnTape(ctx, root, p.Name)
	if err != nil {
		if d := Damaged(v, err.Error(), 0, err); d != nil {
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
		return &DamageError{What: fmt.Sprintf("%s has %d bytes, not %d", p.Name, info.Size(), part.Size), Size: info.Size()}
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
		if err != nil && !Excused(v, err) {
			_ = unix.Fadvise(int(f.Fd()), at, int64(len(b)), unix.FADV_DONTNEED)
			err = changer.WithPatience(ctx, 0, read)
		}
		if err != nil {
			if d := Damaged(v, fmt.Sprintf("%s, extent %d: %v", p.Name, i, err), part.Size, err); d != nil {
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

// OpenOnTape opens a file of a mounted tape to read it, with patience while this machine is short of something.
func OpenOnTape(ctx context.Context, root *os.Root, name string) (f *os.File, err error) {
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
		return ErrSum
	}
	return nil
}

// MarkDamaged records what was found of a part that is not on its tape as it was written.
func MarkDamaged(ctx context.Context, env *job.Env, p catalog.CopyPart, why error) error {
	return MarkDamagedSince(ctx, env, p, why, time.Time{})
}

// MarkDamagedSince is markDamaged for a reader that has had the tape mounted since a moment.
func MarkDamagedSince(ctx context.Context, env *job.Env, p catalog.CopyPart, why error, since time.Time) error {
	lost, size := false, p.Size
	var d *DamageError
	if errors.As(why, &d) {
		lost, size = d.lost, d.Size
	}
	return env.DB.FoundDamagedSince(context.WithoutCancel(ctx), p, lost, size, why, since)
}

// Reader ends when the context does.
func Reader(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

// ctxReader ends when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// File is a file whose reading ends when the context does.
func File(ctx context.Context, f *os.File) io.ReadSeeker { return ctxFile{ctxReader{ctx, f}, f} }

type ctxFile struct {
	ctxReader
	*os.File
}

func (c ctxFile) Read(p []byte) (int, error) { return c.ctxReader.Read(p) }

// PartSums is what the catalog knows of one part.
func PartSums(ctx context.Context, env *job.Env, object int64, number int) (catalog.Part, error) {
	parts, err := env.DB.Parts(ctx, object)
	if err != nil {
		return catalog.Part{}, err
	}
	for _, p := range parts {
		if p.Number == number {
			return p, nil
		}
	}
	return catalog.Part{}, fmt.Errorf("part %d of object %d: %w", number+1, object, catalog.ErrNotFound)
}
