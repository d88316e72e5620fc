package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// FormatOptions say over what a tape is formatted. The zero value formats only what is proved blank.
type FormatOptions struct {
	Erase      bool // over what is there
	LoseCopies bool // with Erase: also the last copies of versions
	Unproved   bool // with Erase: also when nothing proves which tape it is, or the catalog does not know a tape of this archive
}

// FormatTape makes a tape of a pool: loads it, looks at it, formats, writes README.txt and
// restore.sh, syncs, and records it. What EraseTape refuses to erase it refuses to format over.
func (a *Archiver) FormatTape(ctx context.Context, b changer.Barcode, pool string, o FormatOptions) (_ catalog.Tape, err error) {
	if a.env.Lib != nil {
		b = a.env.Lib.Named(ctx, b)
	}
	op := fmt.Sprintf("format tape %s", b)
	refuse := func(hint, format string, args ...any) error {
		return &changer.Error{Op: op, Hint: hint, Err: fmt.Errorf(format, args...)}
	}
	p, err := a.env.Pool(pool)
	if err != nil {
		return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
	}
	if b.Cleaning() {
		return catalog.Tape{}, refuse("", "it is a cleaning cartridge")
	}
	if b.WriteOnce() {
		return catalog.Tape{}, refuse("LTFS writes its index again and again: take a cartridge that can be overwritten", "it is write-once media: %w", changer.ErrIncompatible)
	}
	if !p.Takes(b) {
		return catalog.Tape{}, refuse("change the barcode patterns of the pool in the configuration", "its barcode does not belong to pool %s", pool)
	}
	if err := a.mayWrite(ctx); err != nil {
		return catalog.Tape{}, err
	}
	if err := a.mayFormat(ctx, b, pool, o); err != nil {
		return catalog.Tape{}, err
	}
	unlock, err := a.env.LockWriter(ctx)
	if err != nil {
		return catalog.Tape{}, err
	}
	defer unlock()
	a.env.Note("waiting for a drive for tape %s", b)
	lease, err := a.env.Lib.Lease(ctx, changer.Request{Barcode: b, Write: true, Purpose: "format"})
	if err != nil {
		return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	a.env.Note("loading %s", b)
	if err := lease.Load(ctx, b); err != nil {
		return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
	}
	// Asked again: what was waited for may have written to it.
	if err := a.mayFormat(ctx, b, pool, o); err != nil {
		return catalog.Tape{}, err
	}
	t, err := a.format(ctx, lease, b, p, o)
	if err != nil {
		_, ferr := a.formatFailed(ctx, b, err)
		return t, errors.Join(err, ferr)
	}
	return t, nil
}

// mayFormat refuses a tape of which the catalog knows that somebody needs it.
func (a *Archiver) mayFormat(ctx context.Context, b changer.Barcode, pool string, o FormatOptions) error {
	op := fmt.Sprintf("format tape %s", b)
	refuse := func(hint, format string, args ...any) error {
		return &changer.Error{Op: op, Hint: hint, Err: fmt.Errorf(format, args...)}
	}
	old, err := a.env.DB.TapeByBarcode(ctx, string(b))
	if errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if old.State == catalog.TapeForeign {
		return refuse("take another tape", "it belongs to the imported archive %s, and is only read", old.PoolName)
	}
	loss, err := a.loss(ctx, old)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	switch {
	case loss.Loss.Objects > 0 && !(o.Erase && o.LoseCopies):
		what := fmt.Errorf("the catalog has %d objects (%d bytes) on it", loss.Loss.Objects, loss.Loss.Bytes)
		if last := loss.lastText(); last != "" {
			return refuse("take another tape, or let archive make the other copies first (tapefs status shows what is owed); to lose them for good: --erase "+string(b)+" --lose-copies",
				"%w, and %s", what, last)
		}
		return refuse("take another tape; tapefs tape erase "+string(b)+" says what would be lost and makes it blank", "%w", what)
	case old.State == catalog.TapeRetired:
		return refuse("take another tape", "it is retired: %s", old.Note)
	case !o.Erase && old.UUID != "":
		return refuse(fmt.Sprintf("to lose what is on it: tapefs tape format %s --pool %s --erase %s", b, pool, b), "it was formatted before (pool %s): %w", old.PoolName, changer.ErrNotBlank)
	}
	return nil
}

// format makes the loaded tape one of the pool's. It stays mounted on success. A tape whose format was
// interrupted is formatted if it is still proved blank, and taken as it is if it holds the new volume.
func (a *Archiver) format(ctx context.Context, lease *changer.Lease, b changer.Barcode, p Pool, o FormatOptions) (catalog.Tape, error) {
	op, erase := fmt.Sprintf("format tape %s", b), o.Erase
	content, err := lease.Look(ctx)
	if err != nil && !erase {
		return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
	}
	if content == changer.ContentUnknown && erase && !o.Unproved {
		if err == nil {
			err = changer.ErrUnknown
		}
		return catalog.Tape{}, unprovedError(op, err)
	}
	if content == changer.ContentLTFS && !erase {
		if uuid, err := a.interruptedFormat(ctx, lease, b); err != nil {
			return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
		} else if uuid != "" {
			a.env.Log.Info("the volume of an interrupted format is taken", "tape", b, "volume", uuid)
			return a.takeVolume(ctx, lease, b, p, uuid)
		}
		if is, err := a.whoIs(ctx, lease); err == nil { // else it is some LTFS volume that nobody can read
			if err := a.stranger(ctx, string(b), is); err != nil {
				return catalog.Tape{}, err
			}
		}
	}
	if content != changer.ContentBlank && !erase {
		err, what := changer.ErrNotBlank, "it holds data that is not LTFS"
		switch content {
		case changer.ContentLTFS:
			what = "it holds an LTFS volume"
		case changer.ContentUnknown:
			err, what = changer.ErrUnknown, "nothing proves it blank"
		}
		return catalog.Tape{}, &changer.Error{Op: op, Hint: fmt.Sprintf("to lose what is on it: tapefs tape format %s --pool %s --erase %s", b, p.Name, b),
			Err: fmt.Errorf("%s: %w", what, err)}
	}
	if content == changer.ContentLTFS {
		// The barcode was given twice; the volume may be that of another tape all the same.
		is, err := a.whoIs(ctx, lease)
		if err != nil && (!o.Unproved || ctx.Err() != nil) {
			return catalog.Tape{}, unprovedError(op, err)
		}
		old, err := a.env.DB.TapeByBarcode(ctx, string(b))
		if err != nil && !errors.Is(err, catalog.ErrNotFound) {
			return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
		}
		if err := a.isMeant(ctx, op, old, is, o.Unproved); err != nil {
			return catalog.Tape{}, err
		}
		if err := is.refuseNewer(op, o.LoseCopies); err != nil {
			return catalog.Tape{}, err
		}
		volume.NoteWritten(a.env, "", is.uuid, 0)
	}
	a.env.Note("formatting %s", b)
	uuid, err := lease.Format(ctx, changer.FormatRequest{Barcode: b, Erase: erase, Unasked: o.Unproved, Begin: func() error {
		if err := a.forgetVolume(ctx, b); err != nil {
			return err
		}
		_, err := a.recordTape(ctx, b, p, nil)
		job.Failpoint("format")
		return err
	}})
	if err != nil {
		return catalog.Tape{}, err // says which tape was to be formatted
	}
	job.Failpoint("mkltfs")
	return a.takeVolume(ctx, lease, b, p, uuid)
}

// forgetVolume records that the volume which the catalog knew on a tape is no more: nothing on it is in use.
func (a *Archiver) forgetVolume(ctx context.Context, b changer.Barcode) error {
	old, err := a.env.DB.TapeByBarcode(ctx, string(b))
	if errors.Is(err, catalog.ErrNotFound) || err == nil && old.UUID == "" {
		return nil
	}
	if err != nil {
		return err
	}
	volume.NoteWritten(a.env, "", old.UUID, 0)
	return a.env.DB.LoseTape(ctx, old.ID)
}

// interruptedFormat gives the UUID of the loaded tape's volume if it is what an interrupted format of ours
// left: the catalog knows that one began, and the volume is as mkltfs makes it. "" otherwise.
func (a *Archiver) interruptedFormat(ctx context.Context, lease *changer.Lease, b changer.Barcode) (uuid string, err error) {
	t, err := a.env.DB.TapeByBarcode(ctx, string(b))
	if errors.Is(err, catalog.ErrNotFound) || err == nil && (t.UUID != "" || t.Stage != catalog.StageFormatting) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	v, err := lease.Mount(ctx, changer.MountRequest{ReadOnly: true})
	if err != nil {
		return "", err
	}
	fresh, err := v.Fresh(b)
	if err = errors.Join(err, v.Unmount(ctx)); err != nil || !fresh {
		return "", err
	}
	return v.UUID, nil
}

// formatFailed makes a tape suspect whose format began and cannot be brought to its end: mkltfs said so, or the
// tape holds neither nothing nor the new volume. A format that was only cut short leaves it as it is.
func (a *Archiver) formatFailed(ctx context.Context, b changer.Barcode, why error) (failed bool, err error) {
	ctx = context.WithoutCancel(ctx)
	t, err := a.env.DB.TapeByBarcode(ctx, string(b))
	if errors.Is(err, catalog.ErrNotFound) || err == nil && !volume.FormatBegun(t) && !errors.Is(why, volume.ErrLabelFailed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var program *changer.ProgramError
	said := errors.Is(why, volume.ErrLabelFailed) || errors.As(why, &program) && program.Code > 0 // not if it was killed: that says nothing about the tape
	if !said && !errors.Is(why, changer.ErrNotBlank) || errors.Is(why, changer.ErrKilled) || errors.Is(why, context.Canceled) || errors.Is(why, changer.ErrWriteProtected) {
		return false, nil
	}
	return true, volume.MarkSuspect(ctx, a.env, t.ID, fmt.Errorf("its format began and did not end well: %w", why))
}

// takeVolume mounts a new volume, records it and writes its texts.
func (a *Archiver) takeVolume(ctx context.Context, lease *changer.Lease, b changer.Barcode, p Pool, uuid string) (catalog.Tape, error) {
	op := fmt.Sprintf("format tape %s", b)
	mounting, cancel := momentMore(ctx)
	defer cancel()
	a.env.Note("mounting %s", b)
	v, err := lease.Mount(mounting, changer.MountRequest{UUID: uuid})
	if err != nil {
		return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
	}
	if v.ReadOnly {
		return catalog.Tape{}, fmt.Errorf("%s: %w", op, changer.ErrReadOnly)
	}
	ctx = context.WithoutCancel(ctx) // soon the tape is one of the pool's
	t, err := a.recordTape(ctx, b, p, v)
	if err != nil {
		return catalog.Tape{}, fmt.Errorf("%s: %w", op, err)
	}
	job.Failpoint("formatted")
	return volume.WriteLabel(ctx, a.env, v, t)
}

// momentMore ends a few seconds after ctx: what is as good as done may still be done, but nobody waits for ever.
func momentMore(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(4*time.Second, cancel) })
	return out, func() {
		stop()
		cancel()
	}
}

// recordTape makes or renews a tape's row; without a volume it says that a format begins.
func (a *Archiver) recordTape(ctx context.Context, b changer.Barcode, p Pool, v *changer.Volume) (catalog.Tape, error) {
	pool, err := a.env.DB.EnsurePool(ctx, p.Name)
	if err != nil {
		return catalog.Tape{}, err
	}
	now := time.Now().UTC()
	fill := func(t *catalog.Tape) error {
		t.UUID, t.Pool, t.PoolName, t.Generation = "", pool.ID, pool.Name, b.Generation()
		t.State, t.Stage, t.Place = catalog.TapeOpen, catalog.StageFormatting, ""
		t.Note = "its format began and was not recorded as done"
		t.Capacity, t.Free, t.Used, t.Leftover, t.IndexGeneration = 0, 0, 0, 0, 0
		t.Formatted = now
		if v == nil {
			return nil
		}
		t.UUID, t.Stage, t.Note, t.Seen, t.Capacity, t.Free = v.UUID, "", "", now, v.Capacity, v.Capacity
		if free, err := v.Free(); err == nil {
			t.Free = free
		}
		return nil
	}
	old, err := a.env.DB.TapeByBarcode(ctx, string(b))
	if errors.Is(err, catalog.ErrNotFound) {
		t := catalog.Tape{Barcode: string(b)}
		fill(&t)
		return a.env.DB.AddTape(ctx, t)
	}
	if err != nil {
		return catalog.Tape{}, err
	}
	return a.env.DB.UpdateTape(ctx, old.ID, fill)
}

// Unformatted lists the tapes in the library that a pool takes, that a drive can format, and that are no volume that the
// catalog knows. Whether they are blank only a look at each can tell.
func (a *Archiver) Unformatted(ctx context.Context, pool string) ([]changer.Barcode, error) {
	p, err := a.env.Pool(pool)
	if err != nil {
		return nil, fmt.Errorf("look for blank tapes: %w", err)
	}
	inv, err := a.env.Lib.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for blank tapes: %w", err)
	}
	tapes, err := a.env.DB.Tapes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for blank tapes: %w", err)
	}
	known := map[string]bool{}
	for _, t := range tapes {
		known[t.Barcode] = !volume.FormatBegun(t) && !volume.Erased(t)
	}
	var out []changer.Barcode
	for _, b := range inv.Barcodes() {
		if p.Takes(b) && !known[string(b)] && a.env.Lib.CanWrite(ctx, b, true, nil) {
			out = append(out, b)
		}
	}
	return out, nil
}
