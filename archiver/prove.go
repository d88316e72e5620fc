package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// prover reads back what was written to tapes and is not safe, and records what of it is. The session's drive is taken for that, and given
// up when it is done: no tape may be mounted in it.
type prover struct {
	env     *job.Env
	session *session
}

// unsafeParts lists parts in an unsafe state by tape. The caller holds the writer lock, so nobody
// is writing them.
func (pr *prover) unsafeParts(ctx context.Context) (map[int64][]catalog.CopyPart, error) {
	parts, err := pr.env.DB.UnsafeParts(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for parts that are not safe: %w", err)
	}
	out := map[int64][]catalog.CopyPart{}
	for _, p := range parts {
		out[p.Tape] = append(out[p.Tape], p)
	}
	return out, nil
}

// recover settles what a died run left: its parts are proved by reading them back, or owed again.
// A tape that is not in the library stays as it is; its copies wait.
func (w *writer) recover(ctx context.Context) error {
	if err := w.a.env.DB.UnnameStranded(ctx); err != nil {
		return err
	}
	parts, err := w.a.env.DB.UnsafeParts(ctx)
	if err != nil {
		return fmt.Errorf("look for parts that are not safe: %w", err)
	}
	manifests, err := w.a.env.DB.UnprovedManifests(ctx)
	if err != nil {
		return err
	}
	if len(parts) == 0 && len(manifests) == 0 {
		return nil
	}
	if err := w.lock.take(ctx); err != nil {
		return err
	}
	// Asked before the lock: the other run may have finished its work in the meantime.
	byTape, err := w.tapes.prover.unsafeParts(ctx)
	if err == nil {
		manifests, err = w.a.env.DB.UnprovedManifests(ctx)
	}
	if err != nil || len(byTape) == 0 && len(manifests) == 0 {
		return err
	}
	tapes, err := w.a.env.DB.Tapes(ctx)
	if err != nil {
		return fmt.Errorf("look for parts that are not safe: %w", err)
	}
	for _, t := range tapes {
		if len(byTape[t.ID]) == 0 && !manifests[t.ID] {
			continue
		}
		if err := w.tapes.prover.tape(ctx, t); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, ErrOlder) {
				return err
			}
			w.noted.Add("", "", fmt.Errorf("tape %s holds parts that an interrupted run left and nobody proved: %w", t.Barcode, err))
			w.known.tried[volume.BarcodeOf(t)] = true // nothing is added behind what is not proved
		}
	}
	return nil
}

// left is tape for a tape that may have nothing to prove.
func (pr *prover) left(ctx context.Context, t catalog.Tape) error {
	byTape, err := pr.unsafeParts(ctx)
	if err != nil {
		return err
	}
	manifests, err := pr.env.DB.UnprovedManifests(ctx)
	if err != nil || len(byTape[t.ID]) == 0 && !manifests[t.ID] {
		return err
	}
	return pr.tape(ctx, t)
}

// tape reads back what was written to a tape and is not safe, through a fresh read-only mount.
// Parts that match are durable, others are lost and their copies owed again.
func (pr *prover) tape(ctx context.Context, t catalog.Tape) (err error) {
	byTape, err := pr.unsafeParts(ctx)
	if err != nil {
		return err
	}
	var written []catalog.CopyPart
	for _, p := range byTape[t.ID] {
		if p.State == catalog.PartWritten {
			written = append(written, p)
			continue
		}
		// Never closed: nothing to prove.
		if err := pr.env.DB.PartFailed(ctx, p.ID, catalog.PartLost, p.Size); err != nil {
			return fmt.Errorf("record part %s as lost: %w", p.Name, err)
		}
	}
	if len(written) == 0 {
		return pr.loseManifests(ctx, t)
	}
	defer func() { err = errors.Join(err, pr.session.giveUp(ctx)) }()
	if err := pr.session.takeDrive(ctx, volume.BarcodeOf(t), false); err != nil {
		return err
	}
	pr.env.Note("mounting %s read-only to read back %d files", t.Barcode, len(written))
	v, err := pr.session.lease.Mount(ctx, changer.MountRequest{UUID: t.UUID, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("read tape %s back: %w", t.Barcode, err)
	}
	if err := volume.CheckLabelToRead(pr.env, v, t, nil); err != nil {
		return err
	}
	if _, err := manifest.Check(ctx, pr.env, v, t, false); err != nil {
		return err
	}
	for _, p := range written {
		size, err := pr.part(ctx, v, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			if err := pr.env.DB.PartProved(ctx, p.ID); err != nil {
				return fmt.Errorf("record part %s as proved: %w", p.Name, err)
			}
			continue
		}
		if !volume.IsDamage(err) { // nothing is known of it yet: it stays as it is, and the next run reads it
			return fmt.Errorf("read tape %s back: %s: %w", t.Barcode, p.Name, err)
		}
		pr.env.Log.Warn("part is not on the tape as it was written", "tape", t.Barcode, "part", p.Name, "err", err)
		if err := pr.env.DB.PartFailed(ctx, p.ID, catalog.PartLost, size); err != nil {
			return fmt.Errorf("record part %s as lost: %w", p.Name, err)
		}
	}
	return pr.manifests(ctx, v, t)
}

// manifests reads back the manifests of a tape that were written and never proved: those that hold are durable, others lost.
func (pr *prover) manifests(ctx context.Context, v *changer.Volume, t catalog.Tape) error {
	rows, err := pr.env.DB.Manifests(ctx, t.ID)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, m := range rows {
		if m.State != catalog.ManifestWritten {
			continue
		}
		p, err := manifest.Prove(ctx, pr.env, root, t, m.Name)
		if err == nil { // its list of sums was written last
			err = manifest.ProveSums(ctx, root, catalog.JournalFile{Manifest: m})
		}
		switch {
		case err == nil && bytes.Equal(p.MAC, m.MAC):
			if err := pr.env.DB.ManifestProved(ctx, m); err != nil {
				return err
			}
		case err != nil && !manifest.Unproved(err):
			return fmt.Errorf("read manifest %s of tape %s back: %w", m.Name, t.Barcode, err)
		}
	}
	return pr.loseManifests(ctx, t)
}

// loseManifests lets the next manifest of a tape name again what a manifest named that was not
// proved: naming something twice does no harm.
func (pr *prover) loseManifests(ctx context.Context, t catalog.Tape) error {
	if err := pr.env.DB.LoseManifests(ctx, t.ID); err != nil {
		return fmt.Errorf("record manifests of tape %s as lost: %w", t.Barcode, err)
	}
	return nil
}

// part reads a part back and compares every extent; size is that of the file found. *damageError: it is not there as it was
// written; any other error says nothing of it.
func (pr *prover) part(ctx context.Context, v *changer.Volume, p catalog.CopyPart) (size int64, err error) {
	c, err := pr.env.DB.GetCopy(ctx, p.Copy)
	if err != nil {
		return 0, err
	}
	sums, err := pr.env.DB.PartSums(ctx, c.Object, p.Number)
	if err != nil {
		return 0, fmt.Errorf("look for the sums of %s: %w", p.Name, err)
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	f, err := volume.OpenOnTape(ctx, root, p.Name)
	if err != nil {
		if d := volume.Damaged(v, err.Error(), 0, err); d != nil {
			return 0, d
		}
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() != p.Size {
		return info.Size(), &volume.DamageError{What: fmt.Sprintf("it has %d bytes, not %d", info.Size(), p.Size), Size: info.Size()}
	}
	err = changer.WithPatience(ctx, 0, func() error { return checkExtents(ctx, io.NewSectionReader(f, 0, p.Size), p.Size, sums) })
	if err != nil {
		if d := volume.Damaged(v, err.Error(), info.Size(), err); d != nil {
			return info.Size(), d
		}
	}
	return info.Size(), err
}

// checkExtents compares size bytes with the sums of their extents.
func checkExtents(ctx context.Context, r io.Reader, size int64, sums []byte) error {
	if int64(len(sums)) != (size+catalog.ExtentSize-1)/catalog.ExtentSize*sha256.Size {
		return fmt.Errorf("%d bytes of sums do not fit %d bytes of content", len(sums), size)
	}
	buf := make([]byte, catalog.ExtentSize)
	for i := 0; size > 0; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(size, int64(len(buf)))
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			return fmt.Errorf("extent %d: %w", i, err)
		}
		sum := sha256.Sum256(buf[:n])
		if !bytes.Equal(sum[:], sums[i*sha256.Size:(i+1)*sha256.Size]) {
			return fmt.Errorf("extent %d: %w", i, volume.ErrSum)
		}
		size -= n
	}
	return nil
}
