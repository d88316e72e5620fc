package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// namedLast bounds how many files are named that have their last copy on a tape.
const namedLast = 5

// EraseOptions say how a tape is erased.
type EraseOptions struct {
	Long       bool // write over all of it
	LoseCopies bool // also the last copies of versions
	Unproved   bool // also when no mount can prove which volume is on it
	// Confirm is asked when all is known and nothing is lost yet; its error ends it.
	Confirm func(Erasure) error
}

// Erasure is what erasing or retiring a tape means.
type Erasure struct {
	Barcode string
	Holds   string // in words: "tape 3 of pool main", "an LTFS volume of …", "blank"
	Volume  string // UUID, "" when it is none or could not be mounted
	Known   bool   // the catalog has the tape
	Loss    catalog.TapeLoss
	Last    []string // paths of some versions whose last copy it has
}

// loss finds what would go with a tape of the catalog.
func (a *Archiver) loss(ctx context.Context, t catalog.Tape) (e Erasure, err error) {
	e = Erasure{Barcode: t.Barcode, Known: true}
	if e.Loss, err = a.env.DB.TapeLoss(ctx, t.ID); err != nil || e.Loss.Versions == 0 {
		return e, err
	}
	ids, err := a.env.DB.LastVersions(ctx, t.ID, namedLast)
	for _, id := range ids {
		path, err := a.env.DB.Path(ctx, id)
		if err != nil {
			return e, err
		}
		e.Last = append(e.Last, path)
	}
	return e, err
}

// refuseLast refuses what would take the last copy of a version.
func (e Erasure) refuseLast(op, hint string) error {
	text := e.lastText()
	if text == "" {
		return nil
	}
	return &changer.Error{Op: op, Hint: hint, Err: errors.New(text)}
}

// lastText says of which versions a tape has the last copy; "" of none.
func (e Erasure) lastText() string {
	if e.Loss.Versions == 0 {
		return ""
	}
	text := fmt.Sprintf("it has the last copy of %d versions (%s)", e.Loss.Versions, humanize.IBytes(uint64(max(e.Loss.LastBytes, 0))))
	if e.Loss.Versions == 1 {
		text = fmt.Sprintf("it has the last copy of 1 version (%s)", humanize.IBytes(uint64(max(e.Loss.LastBytes, 0))))
	}
	for i, path := range e.Last {
		text += map[bool]string{true: ": ", false: ", "}[i == 0] + fmt.Sprintf("%q", path)
	}
	if len(e.Last) < e.Loss.Versions {
		text += ", …"
	}
	return text
}

// EraseTape makes a tape blank. It refuses to take the last copy of a version, and a volume that is not the one the catalog
// means. The catalog knows of the loss before the tape does: copies on it are owed again where their bytes can be had.
func (a *Archiver) EraseTape(ctx context.Context, b changer.Barcode, o EraseOptions) (Erasure, error) {
	if a.env.Lib != nil {
		b = a.env.Lib.Named(ctx, b)
	}
	op := fmt.Sprintf("erase tape %s", b)
	t, err := a.env.DB.TapeByBarcode(ctx, string(b))
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return Erasure{}, fmt.Errorf("%s: %w", op, err)
	}
	e := Erasure{Barcode: string(b)}
	if t.State == catalog.TapeForeign {
		return e, fmt.Errorf("%s: it belongs to the imported archive %s, and is only read", op, t.PoolName)
	}
	if t.ID != 0 {
		if e, err = a.mayLose(ctx, op, t, o); err != nil {
			return e, err
		}
	}
	err = a.env.AsRun(ctx, "erase", []string{string(b)}, func() error {
		unlock, err := a.env.LockWriter(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		return a.eraseLoaded(ctx, op, b, o, &e)
	})
	return e, err
}

func (a *Archiver) mayLose(ctx context.Context, op string, t catalog.Tape, o EraseOptions) (Erasure, error) {
	e, err := a.loss(ctx, t)
	if err != nil {
		return e, fmt.Errorf("%s: %w", op, err)
	}
	if o.LoseCopies {
		return e, nil
	}
	return e, e.refuseLast(op, "let archive make the other copies first (tapefs status shows what is owed), or lose them for good: --lose-copies")
}

// eraseLoaded loads the tape, proves who it is, asks, and erases it. The writer lock is held.
func (a *Archiver) eraseLoaded(ctx context.Context, op string, b changer.Barcode, o EraseOptions, e *Erasure) (err error) {
	a.env.Note("waiting for a drive for tape %s", b)
	lease, err := a.env.Lib.Lease(ctx, changer.Request{Barcode: b, Write: true, Purpose: "erase"})
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	a.env.Note("loading %s", b)
	if err := lease.Load(ctx, b); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err := lease.MayErase(ctx, b, o.Unproved); err != nil {
		return err
	}
	// Read again: what was waited for may have written to it.
	t, err := a.env.DB.TapeByBarcode(ctx, string(b))
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("%s: %w", op, err)
	}
	if t.ID != 0 {
		if *e, err = a.mayLose(ctx, op, t, o); err != nil {
			return err
		}
	}
	is, err := a.whoIs(ctx, lease)
	if err != nil && (!o.Unproved || ctx.Err() != nil) {
		return unprovedError(op, err)
	}
	e.Volume, e.Holds = is.uuid, is.text
	if err := a.isMeant(ctx, op, t, is, o.Unproved); err != nil {
		return err
	}
	if err := is.refuseNewer(op, o.LoseCopies); err != nil {
		return err
	}
	if o.Confirm != nil {
		if err := o.Confirm(*e); err != nil {
			return err
		}
	}
	if t.ID != 0 {
		volume.NoteWritten(a.env, "", t.UUID, 0)
		if err := a.env.DB.LoseTape(ctx, t.ID); err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	volume.NoteWritten(a.env, "", is.uuid, 0)
	job.Failpoint("erase-forgotten")
	a.env.Note("erasing %s", b)
	if err := lease.Erase(ctx, changer.EraseRequest{Barcode: b, Volume: is.content == changer.ContentLTFS || is.content == changer.ContentUnknown, Long: o.Long, Unasked: o.Unproved}); err != nil {
		return err
	}
	if t.ID == 0 {
		return nil
	}
	_, err = a.env.DB.UpdateTape(context.WithoutCancel(ctx), t.ID, func(t *catalog.Tape) error {
		t.EmptiedUUID, t.Note = "", "erased"
		if t.State == catalog.TapeFull || t.State == catalog.TapeSuperseded || t.State == catalog.TapeForeign {
			t.State = catalog.TapeOpen
		}
		return nil
	})
	return err
}

// identity is what a loaded tape proved to be.
type identity struct {
	content changer.Content
	uuid    string
	text    string
	label   TapeLabel // zero: none of ours
	files   int       // of objects, on a tape whose label names this catalog
	bytes   int64     // of them
	newer   error     // ErrOlder: the catalog knows the tape, and not all of its journal
}

// holds says in words what lies on a tape of this archive.
func (is identity) holds() string {
	if is.label.Number == 0 {
		return fmt.Sprintf("a tape of this archive that has lost its label, with %d files of objects (%s)", is.files, humanize.IBytes(uint64(max(is.bytes, 0))))
	}
	return fmt.Sprintf("tape %d of this archive, pool %s, with %d files of objects (%s)", is.label.Number, is.label.Pool, is.files, humanize.IBytes(uint64(max(is.bytes, 0))))
}

// refuseNewer refuses to lose what only a newer state of the catalog knows to lie on a tape.
func (is identity) refuseNewer(op string, lose bool) error {
	if is.newer == nil || lose {
		return nil
	}
	return &changer.Error{Op: op, Hint: "was the catalog put back from a backup? tapefs catalog rebuild takes in what it lacks; --lose-copies loses it for good",
		Err: fmt.Errorf("it is %s, and holds files that the catalog does not know: %w", is.holds(), is.newer)}
}

// unprovedError refuses a tape that nobody can tell from others.
func unprovedError(op string, why error) error {
	return &changer.Error{Op: op, Hint: "--unproved erases it all the same; its barcode is the only hint then", Err: fmt.Errorf("nothing proves which tape it is: %w", why)}
}

// whoIs mounts the loaded tape read-only and reads who it is. Blank tapes and data that is not LTFS are no errors.
func (a *Archiver) whoIs(ctx context.Context, lease *changer.Lease) (is identity, err error) {
	v, err := lease.Mount(ctx, changer.MountRequest{ReadOnly: true})
	if errors.Is(err, changer.ErrNotFormatted) {
		is.content, err = lease.Look(ctx)
		is.text = is.content.String()
		return is, err
	}
	if err != nil {
		return identity{text: "nobody knows what"}, err
	}
	is = identity{content: changer.ContentLTFS, uuid: v.UUID, text: fmt.Sprintf("LTFS volume %s (%q)", v.UUID, v.Name)}
	root, err := os.OpenRoot(v.Dir)
	if err == nil {
		label, lost := volume.ReadLabel(root)
		switch {
		case lost == nil:
			is.label = label
		case volume.LabelLost(v, lost) && a.hasOurKeys(root):
			is.label = TapeLabel{Catalog: a.env.DB.UUID(), Volume: v.UUID}
		}
		if is.label.Catalog == a.env.DB.UUID() {
			err = a.lookAtOurs(ctx, v, root, &is)
		}
		root.Close() // an open folder would keep the volume from being unmounted
	}
	return is, errors.Join(err, v.Unmount(ctx))
}

// hasOurKeys reports whether a mounted tape has a folder of a key that is at hand: what lies there was sealed by this archive.
func (a *Archiver) hasOurKeys(root *os.Root) bool {
	has := false
	err := volume.EachName(root, "tapefs", func(name string) {
		_, err := a.env.Keys.Key(name)
		has = has || err == nil
	})
	return has || err != nil // what cannot be looked at is not called anybody else's
}

// lookAtOurs finds out what lies on a mounted tape whose label names this catalog, and whether the catalog knows of all of it.
func (a *Archiver) lookAtOurs(ctx context.Context, v *changer.Volume, root *os.Root, is *identity) error {
	var folders []string
	if err := volume.EachName(root, "tapefs", func(name string) { folders = append(folders, "tapefs/"+name) }); err != nil {
		return err
	}
	for _, dir := range folders {
		err := volume.EachName(root, dir, func(name string) {
			if !volume.ObjectNames().MatchString(dir + "/" + name) {
				return
			}
			is.files++
			if info, err := root.Lstat(dir + "/" + name); err == nil {
				is.bytes += info.Size()
			}
		})
		if err != nil {
			return err
		}
	}
	t, err := a.env.DB.TapeByUUID(ctx, v.UUID)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil // isMeant and stranger say so
	}
	if err != nil {
		return err
	}
	if _, err := manifest.Check(ctx, a.env, v, t, false); errors.Is(err, ErrOlder) {
		is.newer = err
	} else if err != nil {
		return err
	}
	return nil
}

// isMeant refuses a loaded tape that is another than the catalog means by its barcode. t may be zero.
func (a *Archiver) isMeant(ctx context.Context, op string, t catalog.Tape, is identity, unproved bool) error {
	if t.UUID == "" && is.uuid != "" && t.EmptiedUUID == is.uuid {
		return nil // an erase of it was cut short
	}
	if is.uuid != "" && is.uuid != t.UUID {
		other, err := a.env.DB.TapeByUUID(ctx, is.uuid)
		switch {
		case err == nil:
			return &changer.Error{Op: op, Hint: "its label was changed; tapefs tape info " + other.Barcode,
				Err: fmt.Errorf("%w: it is the volume of tape %s", changer.ErrWrongVolume, other.Barcode)}
		case !errors.Is(err, catalog.ErrNotFound):
			return fmt.Errorf("%s: %w", op, err)
		case is.label.Catalog == a.env.DB.UUID() && !unproved:
			return &changer.Error{Op: op, Hint: "it was written after the catalog's last backup; tapefs catalog rebuild reads it, --unproved erases it",
				Err: fmt.Errorf("%w: %s, and the catalog does not know it", changer.ErrWrongVolume, is.holds())}
		}
	}
	if t.UUID != "" && is.uuid != t.UUID && !unproved {
		return &changer.Error{Op: op, Hint: "look at it: tapefs tape check " + t.Barcode + "; --unproved erases what is in the drive",
			Err: fmt.Errorf("%w: the catalog has volume %s, and it holds %s", changer.ErrWrongVolume, t.UUID, is.text)}
	}
	return nil
}

// RetireTape takes a tape out of use: it is never written or chosen again, its copies count no more and are owed to its pool anew; they
// are read only where nothing else is. Refused while it has the last copy of a version, or copies that are not finished.
func (a *Archiver) RetireTape(ctx context.Context, barcode, why string) (owed int, err error) {
	op := "retire tape " + barcode
	t, err := a.env.DB.TapeByBarcode(ctx, barcode)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	if t.State == catalog.TapeRetired {
		return 0, fmt.Errorf("%s: it is retired already: %s", op, t.Note)
	}
	err = a.env.AsRun(ctx, "retire", []string{barcode}, func() error {
		unlock, err := a.env.LockWriter(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		e, err := a.loss(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		if err := e.refuseLast(op, "copy them first: add a second pool to the sources' copies and run tapefs archive, or tapefs tape repack "+barcode); err != nil {
			return err
		}
		if e.Loss.Unfinished > 0 {
			return &changer.Error{Op: op, Hint: "run tapefs archive first", Err: fmt.Errorf("%d copies that are not finished have parts on it", e.Loss.Unfinished)}
		}
		owed, err = a.env.DB.RetireTape(ctx, t.ID, why)
		return err
	})
	return owed, err
}
