package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"tapefs/archiver/job"
	"tapefs/archiver/pack"
	"tapefs/archiver/volume"
	"tapefs/catalog"
	"tapefs/changer"
)

// isTapeError reports whether an error is one of the tape that was written, and not one of this machine.
func isTapeError(err error) bool {
	var we *pack.WriteError
	return errors.As(err, &we) && !changer.BlamesNoTape(err)
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }

// packTries is how often an object is packed anew in one run because its files change.
const packTries = 3

// writeCopy makes one owed copy. An error of this object alone is errObject: others may go on.
func (w *writer) writeCopy(ctx context.Context, pool string, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject) error {
	for try := 1; ; try++ {
		err := w.writeCopyOnce(ctx, pool, c, b, o)
		if !errors.Is(err, pack.ErrReseal) || o.State != catalog.ObjectPlanned || try == packTries {
			return err
		}
		w.a.env.Log.Info("a file changed while its object was written again: packing anew", "object", o.OID)
		w.settleAll()
	}
}

// writeCopyOnce packs an object, or repeats it when it is packed already.
func (w *writer) writeCopyOnce(ctx context.Context, pool string, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject) error {
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
		if err := w.openTape(ctx, pool, p.PartLen(n)); err != nil {
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
func (w *writer) pack(ctx context.Context, c catalog.OwedCopy, b catalog.Batch, o catalog.PlannedObject) (*pack.Packing, error) {
	src := w.sources[o.Source]
	key, err := w.a.env.Keys.Key(o.Fingerprint)
	if err != nil {
		return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
	}
	var l *pack.Layout
	var recorded []catalog.Part
	salt := o.Salt
	if o.State == catalog.ObjectPlanned {
		l, err = w.a.layoutOf(ctx, src.Name, o)
		if err == nil {
			err = w.a.keepLayout(o.OID, l)
		}
		if err != nil {
			return nil, err
		}
		if err := w.abandon(ctx, o.ID); err != nil {
			return nil, err
		}
		job.Failpoint("salt")
		if salt, err = w.a.env.DB.DrawSalt(ctx, o.Key, "object"); err != nil {
			return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
		}
	} else {
		if l, err = w.a.keptLayout(o.OID); err != nil {
			return nil, err
		}
		if l == nil {
			if l, err = w.a.layoutOf(ctx, src.Name, o); err != nil {
				return nil, err
			}
		}
		if recorded, err = w.a.env.DB.Parts(ctx, o.ID); err != nil {
			return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
		}
	}
	job.Failpoint("pack")
	p, err := pack.New(l, func(p string) (*os.File, error) { return w.a.openMember(b, p) }, !b.Local, key, salt, o.PartSize, recorded)
	if err != nil {
		return nil, fmt.Errorf("pack object %s: %w", o.OID, err)
	}
	if b.Local {
		p.Answered = func(ctx context.Context, read func() error) error { return answered(ctx, stallOf(src), read) }
	}
	if recorded != nil && p.SealedSize() != o.SealedSize {
		return nil, fmt.Errorf("repeat object %s: %w: %d bytes, not %d", o.OID, pack.ErrReseal, p.SealedSize(), o.SealedSize)
	}
	return p, nil
}

// renew gives an object that is packed anew another id, after the one it had: nothing is sealed twice under one. The id
// of what was listed a while ago is brought up to date.
func (w *writer) renew(ctx context.Context, c *catalog.OwedCopy, o *catalog.PlannedObject) error {
	oid, former, err := w.a.env.DB.RenewObject(ctx, o.ID, followingOID)
	if err != nil {
		return err
	}
	c.Object.OID, o.OID = oid, oid
	if former == "" {
		return nil
	}
	w.a.env.Log.Info("an object is packed anew, under another id", "object", oid, "former", former)
	return w.a.dropLayout(former)
}

// abandon gives up what copies have of an earlier packing of an object that was never completed: its salt is
// not known.
func (w *writer) abandon(ctx context.Context, object int64) error {
	copies, err := w.a.env.DB.ObjectCopies(ctx, object)
	if err != nil {
		return err
	}
	for _, c := range copies {
		parts, err := w.a.env.DB.CopyParts(ctx, c.ID)
		if err != nil {
			return err
		}
		for _, p := range parts {
			if p.State > catalog.PartDurable {
				continue
			}
			if err := w.a.env.DB.PartFailed(ctx, p.ID, catalog.PartAbandoned, p.Size); err != nil {
				return fmt.Errorf("give up a part of an earlier packing: %w", err)
			}
		}
	}
	return nil
}

// missing returns the first part of a copy that is not on a tape, and how many are not. Parts of an
// earlier packing that was never completed are given up: their salt is not known.
func (w *writer) missing(ctx context.Context, c catalog.OwedCopy, p *pack.Packing, first bool, mine map[int64]bool) (n, left int, err error) {
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
func (w *writer) writePart(ctx context.Context, c catalog.OwedCopy, o catalog.PlannedObject, p *pack.Packing, n int, packed *catalog.Packing, mine map[int64]bool) error {
	ctx = context.WithoutCancel(ctx) // the part in hand is finished
	name := pack.PartName(o.Fingerprint, o.OID, n, p.Parts())
	w.a.env.Activity.Set(fmt.Sprintf("writing part %d of %d of object %s (%d bytes) to %s", n+1, p.Parts(), o.OID, p.PartLen(n), w.tape.Barcode))
	to, err := w.follow(ctx, o, p, n)
	if err != nil {
		return err
	}
	if err := w.startBeside(ctx); err != nil { // only now: its own tape is mounted, in a drive that does for it
		to.over(p, catalog.Part{}, err)
		return err
	}
	job.Failpoint("part-row")
	row, err := w.a.env.DB.AddCopyPart(ctx, catalog.CopyPart{Copy: c.ID, Number: n, Tape: w.tape.ID, Barcode: w.tape.Barcode, Name: name, StartBlock: -1})
	if err != nil {
		to.over(p, catalog.Part{}, err)
		return fmt.Errorf("record part %d of object %s: %w", n+1, o.OID, err)
	}
	before, began := p.Plain.Got, time.Now()
	w.shown = w.written
	part, err := w.putFile(ctx, name, func(f *os.File) (catalog.Part, error) { return p.WritePart(ctx, n, tee{w, f, to}) })
	if err != nil {
		to.over(p, part, err)
		return w.partFailed(ctx, row, part.Size, fmt.Errorf("write part %d of object %s to tape %s: %w", n+1, o.OID, w.tape.Barcode, err))
	}
	job.Failpoint("part-close")
	start, err := w.volume.StartBlock(name)
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
		if err := w.noteVoided(ctx, packed.Voided); err != nil {
			return err
		}
	}
	return w.countPart(ctx, src, part.Size, counts)
}

// errVoided: of a file that loses its bytes when another one is packed.
var errVoided = errors.New("not archived this time: its bytes, or those of the file that it is a copy of, changed after they were summed")

// noteVoided says which versions became void because bytes are not those that were summed, and counts them. They may
// be of other sources.
func (w *writer) noteVoided(ctx context.Context, ids []catalog.ID) error {
	for _, id := range ids {
		source, file, err := w.a.placeOf(ctx, id)
		if err != nil {
			return err
		}
		w.noted.Add(source, file, errVoided)
		if err := w.a.env.DB.Count(ctx, w.run.ID, source, map[string]int64{"void": 1}); err != nil {
			return err
		}
	}
	return nil
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

// countPart counts a part that was written to the mounted tape, and syncs when that is due.
func (w *writer) countPart(ctx context.Context, source string, size int64, counts map[string]int64) error {
	w.unsynced += size
	w.worked = true
	w.written += size
	w.shown = w.written
	w.progress(0)
	if err := w.a.env.DB.Count(ctx, w.run.ID, source, counts); err != nil {
		return err
	}
	if err := w.a.env.DB.AddRunTape(ctx, w.run.ID, w.tape.ID, size, 1); err != nil {
		return err
	}
	if w.due() {
		return w.sync(ctx)
	}
	return nil
}

// partFailed gives up a part whose file was begun.
func (w *writer) partFailed(ctx context.Context, row catalog.CopyPart, size int64, why error) error {
	if !isTapeError(why) {
		// Nothing is wrong with the tape: the file goes, as far as a tape lets anything go.
		if root, err := os.OpenRoot(w.volume.Dir); err == nil {
			root.Remove(row.Name)
			root.Close()
		}
		if err := w.a.env.DB.PartFailed(ctx, row.ID, catalog.PartLost, size); err != nil {
			return fmt.Errorf("record a failed part: %w", err)
		}
		return why
	}
	if errors.Is(why, errOccupied) {
		if err := w.a.env.DB.PartFailed(ctx, row.ID, catalog.PartLost, 0); err != nil {
			return fmt.Errorf("record a failed part: %w", err)
		}
		w.tried[volume.BarcodeOf(w.tape)] = true
		if errors.Is(why, errNamed) {
			w.a.env.Log.Info("another tape is taken", "why", why)
		} else {
			w.noted.Add("", "", why)
		}
		return w.closeTape(ctx)
	}
	if err := w.a.env.DB.PartFailed(ctx, row.ID, catalog.PartAbandoned, size); err != nil {
		return fmt.Errorf("record a failed part: %w", err)
	}
	why = w.volume.WriteFault(why)
	if !isFull(why) {
		w.noted.Add("", "", why)
	}
	return w.tapeFailed(ctx, isFull(why), why)
}

// errOccupied: a file on the tape bears the name, and cannot be removed or must not be.
var errOccupied = errors.New("a file on the tape has this name")

// errNamed: a manifest names that file, so that the part belongs onto another tape. Nothing is wrong.
var errNamed = errors.New("and a manifest names it")

// putFile makes a file on the mounted tape that must not exist. A leftover of a crash is never
// adopted: it is removed. Errors of the tape are *writeError.
func (w *writer) putFile(ctx context.Context, name string, fill func(*os.File) (catalog.Part, error)) (catalog.Part, error) {
	root, err := os.OpenRoot(w.volume.Dir)
	if err != nil {
		return catalog.Part{}, &pack.WriteError{Err: err}
	}
	defer root.Close()
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return catalog.Part{}, &pack.WriteError{Err: err}
	}
	f, err := changer.OpenFile(root, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		if info, serr := root.Lstat(name); serr == nil {
			named, err := w.a.env.DB.NamedOnTape(ctx, w.tape.ID, name)
			if err != nil {
				return catalog.Part{}, err
			}
			if named { // no name on a tape is used twice: a rebuild would take one file for the other
				return catalog.Part{}, &pack.WriteError{Err: fmt.Errorf("%w, %w", errOccupied, errNamed)}
			}
			if err := w.addLeftover(ctx, info.Size()); err != nil {
				return catalog.Part{}, err
			}
		}
		if rerr := root.Remove(name); rerr != nil {
			return catalog.Part{}, &pack.WriteError{Err: fmt.Errorf("%w: %w", errOccupied, rerr)}
		}
		f, err = changer.OpenFile(root, name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return catalog.Part{}, &pack.WriteError{Err: err}
	}
	part, err := fill(f)
	if cerr := f.Close(); cerr != nil && err == nil {
		err = &pack.WriteError{Err: fmt.Errorf("close: %w", cerr)}
	}
	return part, err
}

// addLeftover counts space on the mounted tape that holds nothing of use.
func (w *writer) addLeftover(ctx context.Context, size int64) error {
	t, err := w.a.env.DB.UpdateTape(ctx, w.tape.ID, func(t *catalog.Tape) error { t.Leftover += size; return nil })
	if err != nil {
		return fmt.Errorf("record leftover space on tape %s: %w", w.tape.Barcode, err)
	}
	w.tape = t
	return nil
}
