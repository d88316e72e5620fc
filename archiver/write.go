package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// objectWriter writes objects from the spool, or from a source in place, to the tape that is mounted for a pool, and offers each part to the
// followers. Only its writer's goroutine uses it.
type objectWriter struct {
	*task
	session   *session
	stock     *stock
	tapes     *tapeWriter
	progress  *progress
	followers *followers
}

// packTries is how often an object is packed anew in one run because its files change.
const packTries = 3

// write makes one owed copy. An error of this object alone is errObject: others may go on.
func (w *objectWriter) write(ctx context.Context, pool string, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject) error {
	for try := 1; ; try++ {
		err := w.writeOnce(ctx, pool, c, b, o)
		if !errors.Is(err, pack.ErrReseal) || o.State != catalog.ObjectPlanned || try == packTries {
			return err
		}
		w.a.env.Log.Info("a file changed while its object was written again: packing anew", "object", o.OID)
		w.followers.settleAll()
	}
}

// writeOnce packs an object, or repeats it when it is packed already.
func (w *objectWriter) writeOnce(ctx context.Context, pool string, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject) error {
	if err := w.renew(ctx, &c, &o); err != nil {
		return err
	}
	p, err := w.pack(ctx, c, b, o)
	if err != nil {
		return err
	}
	defer p.Close()
	first := o.State == catalog.ObjectPlanned
	mine := map[int64]bool{} // parts that this packing wrote
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, left, err := w.missing(ctx, c, p, first, mine)
		if err != nil {
			return err
		}
		if left == 0 {
			return w.a.env.DB.SettleCopy(ctx, c.ID) // it may count as owed though others wrote all of it
		}
		if err := w.tapes.openTape(ctx, pool, p.PartLen(n)); err != nil {
			return err
		}
		// Opening may have closed a tape that lost parts: look again.
		if n, left, err = w.missing(ctx, c, p, first, mine); err != nil || left == 0 {
			return err
		}
		var packed *catalog.Packing
		if first && left == 1 {
			packed = p.Packed(o.ID) // completed after the part is sealed
		}
		if err := w.writePart(ctx, c, o, p, n, packed, mine); err != nil {
			return err
		}
	}
}

// pack prepares an object's packing.
func (w *objectWriter) pack(ctx context.Context, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject) (*pack.Packing, error) {
	src := w.sources[o.Source]
	key, err := w.a.env.Keys.Key(o.Fingerprint)
	if err != nil {
		return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
	}
	var l *pack.Layout
	var recorded []catalog.Part
	salt := o.Salt
	if o.State == catalog.ObjectPlanned {
		l, err = w.a.spool.LayoutOf(ctx, src.Name, o)
		if err == nil {
			err = w.a.spool.KeepLayout(o.OID, l)
		}
		if err != nil {
			return nil, err
		}
		if err := w.stock.abandon(ctx, o.ID); err != nil {
			return nil, err
		}
		job.Failpoint("salt")
		if salt, err = w.a.env.DB.DrawSalt(ctx, o.Key, "object"); err != nil {
			return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
		}
	} else {
		if l, err = w.a.spool.KeptLayout(o.OID); err != nil {
			return nil, err
		}
		if l == nil {
			if l, err = w.a.spool.LayoutOf(ctx, src.Name, o); err != nil {
				return nil, err
			}
		}
		if recorded, err = w.a.env.DB.Parts(ctx, o.ID); err != nil {
			return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
		}
	}
	job.Failpoint("pack")
	p, err := pack.New(l, func(p string) (*os.File, error) { return w.a.spool.OpenMember(b, p) }, !b.Local, key, salt, o.PartSize, recorded)
	if err != nil {
		return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
	}
	if b.Local {
		p.Answered = func(ctx context.Context, read func() error) error {
			return source.Answered(ctx, source.StallOf(src), read)
		}
	}
	if recorded != nil && p.SealedSize() != o.SealedSize {
		return nil, fmt.Errorf("repeat object %s: %w: %d bytes, not %d", o.OID, pack.ErrReseal, p.SealedSize(), o.SealedSize)
	}
	return p, nil
}

// renew gives an object that is packed anew another id, after the one it had: nothing is sealed twice under one. The id
// of what was listed a while ago is brought up to date.
func (w *objectWriter) renew(ctx context.Context, c *catalog.OwedCopy, o *catalog.PlannedObject) error {
	oid, former, err := w.a.env.DB.RenewObject(ctx, o.ID, followingOID)
	if err != nil {
		return err
	}
	c.Object.OID, o.OID = oid, oid
	if former == "" {
		return nil
	}
	w.a.env.Log.Info("an object is packed anew, under another id", "object", oid, "former", former)
	return w.a.spool.DropLayout(former)
}

// missing returns the first part of a copy that is not on a tape, and how many are not. Parts of an
// earlier packing that was never completed are given up: their salt is not known.
func (w *objectWriter) missing(ctx context.Context, c catalog.OwedCopy, p *pack.Packing, first bool, mine map[int64]bool) (n, left int, err error) {
	parts, err := w.a.env.DB.CopyParts(ctx, c.ID)
	if err != nil {
		return 0, 0, fmt.Errorf("look for the parts of object %s: %w", c.Object.OID, err)
	}
	live := map[int]bool{}
	for _, cp := range parts {
		switch cp.State {
		case catalog.PartWriting, catalog.PartWritten, catalog.PartDurable:
			if first && !mine[cp.ID] || cp.State == catalog.PartWriting {
				if err := w.a.env.DB.PartFailed(ctx, cp.ID, catalog.PartAbandoned, cp.Size); err != nil {
					return 0, 0, fmt.Errorf("give up a part of object %s: %w", c.Object.OID, err)
				}
				continue
			}
			live[cp.Number] = true
		}
	}
	n = -1
	for i := range p.Parts() {
		if !live[i] {
			left++
			if n < 0 {
				n = i
			}
		}
	}
	return n, left, nil
}

// writePart writes one part to the mounted tape and records it. After an error of the tape the
// tape is dealt with and nil returned: the part is still missing.
func (w *objectWriter) writePart(ctx context.Context, c catalog.OwedCopy, o catalog.PlannedObject, p *pack.Packing, n int, packed *catalog.Packing, mine map[int64]bool) error {
	ctx = context.WithoutCancel(ctx) // the part in hand is finished
	name := pack.PartName(o.Fingerprint, o.OID, n, p.Parts())
	w.a.env.Activity.Set(fmt.Sprintf("writing part %d of %d of object %s (%d bytes) to %s", n+1, p.Parts(), o.OID, p.PartLen(n), w.session.tape.Barcode))
	to, err := w.followers.follow(ctx, o, p, n)
	if err != nil {
		return err
	}
	if err := w.followers.startBeside(ctx); err != nil { // only now: its own tape is mounted, in a drive that does for it
		to.over(p, catalog.Part{}, err)
		return err
	}
	job.Failpoint("part-row")
	row, err := w.a.env.DB.AddCopyPart(ctx, catalog.CopyPart{Copy: c.ID, Number: n, Tape: w.session.tape.ID, Barcode: w.session.tape.Barcode, Name: name, StartBlock: -1})
	if err != nil {
		to.over(p, catalog.Part{}, err)
		return fmt.Errorf("record part %d of object %s: %w", n+1, o.OID, err)
	}
	before, began := p.Plain.Got, time.Now()
	w.progress.begin()
	part, err := w.session.putFile(ctx, name, func(f *os.File) (catalog.Part, error) { return p.WritePart(ctx, n, tee{w.progress, f, to}) })
	if err != nil {
		to.over(p, part, err)
		return w.tapes.partFailed(ctx, row, part.Size, fmt.Errorf("write part %d of object %s to tape %s: %w", n+1, o.OID, w.session.tape.Barcode, err))
	}
	job.Failpoint("part-close")
	start, err := w.session.volume.StartBlock(name)
	if err != nil {
		start = -1
	}
	if packed != nil {
		packed = p.Packed(o.ID) // with the sums that this part completed
	}
	err = w.a.env.DB.PartClosed(ctx, catalog.ClosedPart{CopyPart: row.ID, StartBlock: start, Part: part}, packed)
	to.over(p, part, err) // only now: a manifest of the other tape must find the object packed
	if err != nil {
		return fmt.Errorf("record part %d of object %s: %w", n+1, o.OID, err)
	}
	job.Failpoint("part-written")
	mine[row.ID] = true
	src := w.sources[o.Source].Name
	counts := map[string]int64{"written_bytes": part.Size, "written_parts": 1, "read_bytes": p.Plain.Got - before, "write_ms": time.Since(began).Milliseconds()}
	if packed != nil {
		counts["objects"] = 1
		grown := p.Grown()
		counts["grown"] = int64(len(grown))
		for _, file := range grown {
			if err := w.a.env.RunNote(ctx, w.run.ID, src, file, "it grew while it was archived: what it held when it was listed is archived, and the next run takes it again"); err != nil {
				return err
			}
		}
		voided := p.Voided()
		counts["void"] = int64(len(voided))
		for file, why := range voided {
			w.noted.Add(src, file, fmt.Errorf("not archived this time: %w", why))
		}
		if err := w.stock.noteVoided(ctx, packed.Voided); err != nil {
			return err
		}
	}
	return w.tapes.countPart(ctx, src, part.Size, counts)
}

// placeOf is the source of a version and its path within that.
func (a *Archiver) placeOf(ctx context.Context, id catalog.ID) (source, file string, err error) {
	p, err := a.env.DB.Path(ctx, id)
	if err != nil {
		return "", "", fmt.Errorf("look for the path of version %d: %w", id, err)
	}
	source, file, _ = strings.Cut(strings.TrimPrefix(p, "/"), "/")
	return source, file, nil
}
