package archiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/archiver/verify"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// moving is a part on its way from a tape that is repacked.
type moving struct {
	healPart
	life catalog.ObjectLife
	how  int
	all  []catalog.CopyPart // of an object that is packed anew from several parts: all of them, in order
}

// move brings parts of one tape into the spool, and from there onto other tapes. With one drive that is one after the
// other.
func (r *repacker) move(ctx context.Context, t catalog.Tape, load []moving, stuck map[int64]bool, sum *RepackedTape) (err error) {
	w := r.w
	if err := w.tapes.closeTape(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(r.a.env.Config.SpoolDir, 0o700); err != nil {
		return fmt.Errorf("make the spool: %w", err)
	}
	dir, err := os.MkdirTemp(r.a.env.Config.SpoolDir, spool.HealPrefix)
	if err != nil {
		return fmt.Errorf("make room in the spool: %w", err)
	}
	defer localfs.RemoveAll(dir, &err)
	var got []moving
	if load[0].all != nil {
		err = r.openParts(ctx, &load[0], stuck, dir, sum)
	} else {
		got, err = r.read(ctx, t, load, stuck, dir, sum)
	}
	if err != nil {
		return err
	}
	for _, m := range got {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.tapes.openTape(ctx, t.PoolName, m.Size)
		if err == nil {
			err = w.copier.writeHealed(ctx, m.healPart)
		}
		job.Failpoint("repack-copied")
		switch {
		case err == nil:
			sum.Copied++
			sum.Parts++
			sum.Bytes += m.Size
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrNeedsOperator):
			return nil // the pool is blocked now
		case errors.Is(err, errTooSmall), errors.Is(err, pack.ErrReseal):
			stuck[m.Copy] = true
			r.noted.Add(w.sources[m.Source].Name, "", fmt.Errorf("object %s stays on tape %s: %w", m.OID, t.Barcode, err))
		default:
			return err
		}
		if err := os.Remove(m.file); err != nil {
			return fmt.Errorf("leave the spool: %w", err)
		}
	}
	if err := w.tapes.sync(ctx); err != nil {
		return err
	}
	// What was packed anew is in the spool like anything that was fetched.
	if err := w.pass(ctx, true); err != nil {
		return err
	}
	return w.stock.release(ctx)
}

// read reads parts from the tape, each extent held against its sum. Those that are to be packed anew are opened into
// batches of the spool; the others are returned.
func (r *repacker) read(ctx context.Context, t catalog.Tape, load []moving, stuck map[int64]bool, dir string, sum *RepackedTape) (got []moving, err error) {
	w := r.w
	defer func() { err = errors.Join(err, w.session.giveUp(ctx)) }()
	v, err := w.session.mountToRead(ctx, t)
	if err != nil {
		if errors.Is(err, changer.ErrNotInLibrary) {
			err = fmt.Errorf("%w: %w", ErrNeedsOperator, err)
		}
		return nil, err
	}
	for i, m := range load {
		if i > 0 && w.session.lease.Due(w.a.env.Config.WriterSlice) {
			w.a.env.Note("another process wants the drive of %s", t.Barcode)
			return got, nil
		}
		w.a.env.Activity.Set(fmt.Sprintf("reading part %d of %d of object %s (%d bytes) from %s", m.Number+1, m.Parts, m.OID, m.Size, t.Barcode))
		m.file = filepath.Join(dir, fmt.Sprint(i))
		if m.sums, err = volume.PartSums(ctx, r.a.env, m.Object, m.Number); err != nil {
			return got, err
		}
		err := fetchPart(ctx, v, m.healPart)
		if err == nil && m.how == packIt {
			if err = r.openFile(ctx, &m, dir); err == nil {
				sum.Packed++
				sum.Parts++
				sum.Bytes += m.Size
				continue
			}
		}
		switch {
		case err == nil:
			got = append(got, m)
		case ctx.Err() != nil:
			return got, ctx.Err()
		case volume.IsDamage(err):
			stuck[m.Copy] = true
			if err := volume.MarkDamaged(ctx, r.a.env, m.from, err); err != nil {
				return got, err
			}
			r.noted.Add(w.sources[m.Source].Name, "", fmt.Errorf("copy of object %s on tape %s is damaged (archive --heal makes it from another copy): %w", m.OID, t.Barcode, err))
		default:
			return got, err
		}
	}
	return got, nil
}

// prove reads back what replaces something, through fresh mounts, and lets go of what it replaces.
func (r *repacker) prove(ctx context.Context) error {
	if err := r.w.tapes.closeTape(ctx); err != nil {
		return err
	}
	if err := r.w.followers.stopAll(); err != nil {
		return err
	}
	parts, err := r.a.env.DB.UnprovedMoves(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(parts, func(x, y catalog.VerifyPart) int {
		return cmp.Or(cmp.Compare(x.Barcode, y.Barcode), cmp.Compare(x.StartBlock, y.StartBlock), cmp.Compare(x.ID, y.ID))
	})
	if err := verify.Parts(ctx, r.a.env, r.run, r.noted, parts); err != nil {
		return err
	}
	job.Failpoint("repack-proved")
	_, err = r.a.env.DB.FinishMoves(ctx)
	return err
}
