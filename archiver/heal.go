package archiver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// copyOwed makes in each pool what only another pool's copy can give, and returns how many parts.
func (c *copier) copyOwed(ctx context.Context) (made int, err error) {
	for _, p := range c.a.env.Config.Pools {
		n, err := c.copyPool(ctx, p)
		made += n
		if err != nil {
			return made, err
		}
	}
	return made, nil
}

func (c *copier) copyPool(ctx context.Context, p Pool) (made int, err error) {
	row, err := c.a.env.DB.EnsurePool(ctx, p.Name)
	if err != nil {
		return 0, fmt.Errorf("look for pool %s: %w", p.Name, err)
	}
	for c.known.blocked[p.Name] == nil {
		if err := ctx.Err(); err != nil {
			return made, err
		}
		missing, err := c.debts.toCopy(ctx, row.ID)
		if err != nil || len(missing) == 0 {
			return made, err
		}
		if !c.lock.held() {
			if err := c.lock.take(ctx); err != nil {
				return made, err
			}
			continue // another run may have made some in the meantime
		}
		barcode, load := c.chooseLoad(missing)
		if barcode == "" {
			c.noted.Add("", "", c.known.cannotCopy(p.Name, missing))
			return made, nil
		}
		n, err := c.copyLoad(ctx, p, barcode, load)
		made += n
		if err != nil {
			return made, err
		}
	}
	return made, nil
}

// copier makes, in pools, the copies that only another pool's copy can give: parts are read from one tape into the spool and written from
// there. Only its writer's goroutine uses it.
type copier struct {
	*task
	known     *ledger
	debts     *debts
	lock      *writerLock
	session   *session
	tapes     *tapeWriter
	followers *followers
}

// healPart is a missing part and the file on tape that has its bytes.
type healPart struct {
	catalog.MissingPart
	from catalog.CopyPart
	file string // where it lies in the spool
	sums catalog.Part
}

// chooseLoad picks the tape that can give most of what is missing, and what to read from it in
// order: as much as the spool has room for, one part at least. "": no tape can give anything.
func (c *copier) chooseLoad(missing []catalog.MissingPart) (string, []healPart) {
	bytesOn := map[string]int64{}
	for _, m := range missing {
		for _, from := range m.From {
			if c.known.absent[from.Barcode] == nil {
				bytesOn[from.Barcode] += m.Size
			}
		}
	}
	best := ""
	for barcode, n := range bytesOn {
		if best == "" || n > bytesOn[best] || n == bytesOn[best] && barcode < best {
			best = barcode
		}
	}
	var load []healPart
	for _, m := range missing {
		for _, from := range m.From {
			if from.Barcode == best {
				load = append(load, healPart{MissingPart: m, from: from})
				break
			}
		}
	}
	slices.SortFunc(load, func(x, y healPart) int {
		return cmp.Or(cmp.Compare(x.from.StartBlock, y.from.StartBlock), cmp.Compare(x.from.ID, y.from.ID))
	})
	room := c.a.healRoom()
	for i := range load {
		if room -= load[i].Size; room < 0 && i > 0 {
			return best, load[:i]
		}
	}
	return best, load
}

// healRoom is what parts on their way may take of the spool, bytes: what one part may have, less
// when its file system has less to spare.
func (a *Archiver) healRoom() int64 {
	room := int64(volume.MaxPart)
	if a.env.Config.SpoolMax > 0 {
		room = min(room, a.env.Config.SpoolMax)
	}
	var st unix.Statfs_t
	if unix.Statfs(a.env.Config.SpoolDir, &st) == nil {
		room = min(room, int64(st.Bavail)*st.Bsize-int64(st.Blocks)*st.Bsize/10)
	}
	return room
}

// copyLoad brings parts of one tape through the spool onto a pool's tapes, with one drive or more.
func (c *copier) copyLoad(ctx context.Context, p Pool, barcode string, load []healPart) (made int, err error) {
	if err := errors.Join(c.followers.stopAll(), c.tapes.closeTape(ctx)); err != nil { // any drive and tape may be wanted
		return 0, err
	}
	if err := os.MkdirAll(c.a.env.Config.SpoolDir, 0o700); err != nil {
		return 0, fmt.Errorf("copy parts of tape %s: %w", barcode, err)
	}
	dir, err := os.MkdirTemp(c.a.env.Config.SpoolDir, spool.HealPrefix)
	if err != nil {
		return 0, fmt.Errorf("copy parts of tape %s: %w", barcode, err)
	}
	defer localfs.RemoveAll(dir, &err)
	got, err := c.readLoad(ctx, barcode, load, dir)
	if err != nil {
		return 0, err
	}
	for _, h := range got {
		if err := ctx.Err(); err != nil {
			return made, err
		}
		err := c.tapes.openTape(ctx, p.Name, h.Size)
		if err == nil {
			err = c.writeHealed(ctx, h)
		}
		switch {
		case err == nil:
			made++
		case ctx.Err() != nil:
			return made, ctx.Err()
		case errors.Is(err, ErrNeedsOperator):
			return made, nil // the pool is blocked now
		case errors.Is(err, errTooSmall), errors.Is(err, pack.ErrReseal):
			c.known.uncopied[h.Copy] = true
			c.noted.Add(c.sources[h.Source].Name, "", fmt.Errorf("object %s was not copied to pool %s: %w", h.OID, p.Name, err))
		default:
			return made, err
		}
		if err := os.Remove(h.file); err != nil {
			return made, fmt.Errorf("copy parts of tape %s: %w", barcode, err)
		}
	}
	return made, nil
}

// readLoad reads parts of one tape into dir, each extent held against its sum. A tape that cannot
// be read is not tried again in this run; a part that is not what was written is recorded as damaged.
func (c *copier) readLoad(ctx context.Context, barcode string, load []healPart, dir string) (got []healPart, err error) {
	defer func() { err = errors.Join(err, c.session.giveUp(ctx)) }()
	t, err := c.a.env.DB.TapeByBarcode(ctx, barcode)
	if err != nil {
		return nil, err
	}
	v, err := c.session.mountToRead(ctx, t)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, ErrOlder) {
			return nil, err
		}
		c.a.env.Log.Warn("tape cannot be copied from", "tape", barcode, "err", err)
		c.known.absent[barcode] = fmt.Errorf("tape %s: %w", barcode, err)
		return nil, nil
	}
	for i, h := range load {
		if i > 0 && c.session.lease.Due(c.a.env.Config.WriterSlice) {
			c.a.env.Note("another process wants the drive of %s", barcode)
			return got, nil
		}
		c.a.env.Activity.Set(fmt.Sprintf("reading part %d of %d of object %s (%d bytes) from %s", h.Number+1, h.Parts, h.OID, h.Size, barcode))
		h.file = filepath.Join(dir, fmt.Sprint(i))
		if h.sums, err = volume.PartSums(ctx, c.a.env, h.Object, h.Number); err != nil {
			return got, err
		}
		err := fetchPart(ctx, v, h)
		switch {
		case err == nil:
			if err := c.a.env.DB.PartVerified(ctx, h.from.ID, time.Now()); err != nil {
				return got, err
			}
			got = append(got, h)
		case ctx.Err() != nil:
			return got, ctx.Err()
		case volume.IsDamage(err):
			if err := volume.MarkDamaged(ctx, c.a.env, h.from, err); err != nil {
				return got, err
			}
			c.noted.Add(c.sources[h.Source].Name, "", fmt.Errorf("copy of object %s on tape %s is damaged: %w", h.OID, barcode, err))
		case localfs.OfDisk(err):
			return got, err
		default:
			c.known.absent[barcode] = fmt.Errorf("tape %s: %w", barcode, err)
			return got, nil
		}
	}
	return got, nil
}

// fetchPart reads a part from tape into its spool file.
func fetchPart(ctx context.Context, v *changer.Volume, h healPart) error {
	f, err := os.OpenFile(h.file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &localfs.DiskError{Err: fmt.Errorf("copy part %s through the spool: %w", h.from.Name, err)}
	}
	err = volume.ReadPart(ctx, v, h.from, h.sums, localfs.DiskWriter{W: f})
	if cerr := f.Close(); err == nil && cerr != nil {
		err = &localfs.DiskError{Err: fmt.Errorf("copy part %s through the spool: %w", h.from.Name, cerr)}
	}
	if err != nil {
		os.Remove(h.file)
	}
	return err
}

// writeHealed writes a part that lies in the spool to the mounted tape. No extent is written that
// has another sum than what is recorded.
func (c *copier) writeHealed(ctx context.Context, h healPart) error {
	ctx = context.WithoutCancel(ctx) // the part in hand is finished
	f, err := os.Open(h.file)
	if err != nil {
		return fmt.Errorf("copy object %s: %w", h.OID, err)
	}
	defer f.Close()
	name := pack.PartName(h.Fingerprint, h.OID, h.Number, h.Parts)
	c.a.env.Activity.Set(fmt.Sprintf("writing part %d of %d of object %s (%d bytes) to %s", h.Number+1, h.Parts, h.OID, h.Size, c.session.tape.Barcode))
	row, err := c.a.env.DB.AddCopyPart(ctx, catalog.CopyPart{Copy: h.Copy, Number: h.Number, Tape: c.session.tape.ID, Barcode: c.session.tape.Barcode, Name: name, StartBlock: -1})
	if err != nil {
		return fmt.Errorf("record part %d of object %s: %w", h.Number+1, h.OID, err)
	}
	written := int64(0)
	_, err = c.session.putFile(ctx, name, func(out *os.File) (catalog.Part, error) {
		var err error
		written, err = copySealed(f, h.sums, out)
		return h.sums, err
	})
	if err != nil {
		return c.tapes.partFailed(ctx, row, written, fmt.Errorf("write part %d of object %s to tape %s: %w", h.Number+1, h.OID, c.session.tape.Barcode, err))
	}
	start, err := c.session.volume.StartBlock(name)
	if err != nil {
		start = -1
	}
	if err := c.a.env.DB.PartClosed(ctx, catalog.ClosedPart{CopyPart: row.ID, StartBlock: start, Part: h.sums}, nil); err != nil {
		return fmt.Errorf("record part %d of object %s: %w", h.Number+1, h.OID, err)
	}
	return c.tapes.countPart(ctx, c.sources[h.Source].Name, h.Size, map[string]int64{"written_bytes": h.Size, "written_parts": 1, "copied_parts": 1})
}

// copySealed copies a part's sealed bytes, each extent only if it has its recorded sum. It returns
// how many bytes were written. Errors of out are *writeError.
func copySealed(in io.Reader, part catalog.Part, out io.Writer) (written int64, err error) {
	buf := make([]byte, catalog.ExtentSize)
	for i := 0; written < part.Size; i++ {
		b := buf[:min(part.Size-written, int64(len(buf)))]
		if _, err := io.ReadFull(in, b); err != nil {
			return written, fmt.Errorf("read the part from the spool: %w", err)
		}
		sum := sha256.Sum256(b)
		if at := i * sha256.Size; at+sha256.Size > len(part.Sums) || !bytes.Equal(sum[:], part.Sums[at:at+sha256.Size]) {
			return written, fmt.Errorf("extent %d from the spool: %w", i, pack.ErrReseal)
		}
		n, err := out.Write(b)
		written += int64(n)
		if err != nil {
			return written, &pack.WriteError{Err: err}
		}
	}
	return written, nil
}
