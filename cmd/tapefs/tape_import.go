package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeImportCmd struct{}

// What an imported cartridge turned out to be.
const (
	importKnown    = "known"    // by its barcode
	importCleaning = "cleaning" // a cleaning cartridge
	importOurs     = "ours"     // a volume of this catalog under a barcode that the catalog does not know
	importTapefs   = "tapefs"   // of another catalog
	importLTFS     = "ltfs"     // an LTFS volume that tapefs did not make
	importForeign  = "foreign"  // data that is not LTFS
	importBlank    = "blank"
	importUnknown  = "unknown" // it could not be looked at
)

// importJSON is one cartridge that came in.
type importJSON struct {
	Barcode string `json:"barcode"`
	Slot    int    `json:"slot"`
	Is      string `json:"is"`
	Pool    string `json:"pool,omitempty"`
	State   string `json:"state,omitempty"`
	Volume  string `json:"volume,omitempty"`  // UUID of its LTFS volume
	Catalog string `json:"catalog,omitempty"` // UUID of the catalog that wrote it
	Detail  string `json:"detail,omitempty"`

	drive string // serial of the drive in which it was looked at
	err   error
}

func (r importJSON) print(a *app) {
	text := map[string]string{
		importKnown: "pool " + ui.OrDash(r.Pool) + ", " + r.State, importCleaning: "a cleaning cartridge",
		importOurs: "a tape of this catalog", importTapefs: "a tape of another catalog of tapefs",
		importLTFS: "an LTFS volume, not of tapefs", importForeign: "data that is not LTFS", importBlank: "blank",
		importUnknown: "nobody knows what",
	}[r.Is]
	if r.Detail != "" {
		text += "; " + r.Detail
	}
	fmt.Fprintf(a.stdout, "%s is in slot %d: %s\n", labelText(r.Barcode), r.Slot, text)
}

func (c *tapeImportCmd) Run(ctx context.Context, a *app) error {
	ctx = a.patient(ctx)
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	lib, err := a.library(conf)
	if err != nil {
		return err
	}
	if lib.Changer() == changer.None {
		return usagef("import tapes: there is no changer; insert a tape, and tapefs tape load BARCODE proves who it is")
	}
	i := &imports{hand: &hand{a, conf, lib}, db: db}
	rows, err := i.all(ctx)
	if a.JSON {
		if rows == nil {
			rows = []importJSON{}
		}
		if jerr := ui.WriteJSON(a.stdout, rows); jerr != nil {
			return jerr
		}
	} else if len(rows) == 0 && err == nil {
		fmt.Fprintln(a.stdout, "the mail slots are empty")
	}
	for _, r := range rows {
		if err == nil {
			err = r.err
		}
	}
	return err
}

// imports takes tapes into the library.
type imports struct {
	*hand
	db    *catalog.DB
	avoid []string // serials of drives that do not take the tape at hand
}

// all takes in what lies in the mail slots, and notes which exported tapes are back.
func (i *imports) all(ctx context.Context) (rows []importJSON, err error) {
	inv, err := i.lib.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	add := func(r importJSON) {
		if !i.JSON {
			r.print(i.app)
		}
		rows = append(rows, r)
	}
	done := map[string]bool{}
	for _, mail := range inv.Slots {
		if !mail.ImportExport || !mail.Full {
			continue
		}
		now, err := i.lib.Inventory(ctx)
		if err != nil {
			return rows, err
		}
		to, err := slotNamed(now, "free")
		if err != nil {
			return rows, fmt.Errorf("import %s: %w", labelText(string(mail.Barcode)), err)
		}
		if err := i.lib.Transfer(ctx, mail.Number, to.Number, mail.Barcode); err != nil {
			return rows, fmt.Errorf("import %s: %w", labelText(string(mail.Barcode)), err)
		}
		r, err := i.one(ctx, mail.Barcode, to.Number)
		if err != nil {
			return rows, err
		}
		done[r.Barcode] = true
		add(r)
	}
	back, err := i.back(ctx, done)
	for _, r := range back {
		add(r)
	}
	return rows, err
}

// back finds exported tapes that came in past the mail slots, through the door.
func (i *imports) back(ctx context.Context, done map[string]bool) (rows []importJSON, err error) {
	tapes, err := i.db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	inv, err := i.lib.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tapes {
		at, err := find(inv, t.Barcode)
		if t.Place == "" || done[t.Barcode] || err != nil || string(at.label) != t.Barcode || at.slot.ImportExport {
			continue
		}
		slot := at.slot.Number
		if at.drive != nil {
			slot = at.drive.FromSlot
		}
		r, err := i.known(ctx, t, slot)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// one says who a tape is that was just taken in. Its error is the catalog's; what is wrong with the tape is
// in the row.
func (i *imports) one(ctx context.Context, b changer.Barcode, slot int) (importJSON, error) {
	r := importJSON{Barcode: string(b), Slot: slot}
	if b.Cleaning() {
		r.Is = importCleaning
		return r, nil
	}
	if b != "" {
		t, err := i.db.TapeByBarcode(ctx, string(b))
		if err == nil {
			return i.known(ctx, t, slot)
		} else if !errors.Is(err, catalog.ErrNotFound) {
			return r, err
		}
	}
	if err := i.look(ctx, &r); err != nil {
		r.Is, r.Detail = importUnknown, err.Error()
		if hint := hintFor(err); hint != "" {
			r.Detail += " (" + hint + ")"
		}
		r.err = fmt.Errorf("look at %s: %w", labelText(string(b)), err)
	}
	if r.Is != importOurs {
		return r, nil
	}
	t, err := i.db.TapeByUUID(ctx, r.Volume)
	switch {
	case err == nil:
		r.Detail = fmt.Sprintf("the catalog knows this volume as %s: its label was changed", t.Barcode)
		if b == "" {
			r.Detail = fmt.Sprintf("the catalog knows this volume as %s: its label is missing or cannot be read; put a new one on it", t.Barcode)
		}
	case errors.Is(err, catalog.ErrNotFound):
		r.Detail = "the catalog does not know it: it was written after the catalog's last backup"
	default:
		return r, err
	}
	return r, nil
}

// known clears the place of a tape that is back.
func (i *imports) known(ctx context.Context, t catalog.Tape, slot int) (importJSON, error) {
	was := t.Place
	t, err := i.db.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
		t.Place = ""
		return nil
	})
	r := importJSON{Barcode: t.Barcode, Slot: slot, Is: importKnown, Pool: t.PoolName, State: t.State, Volume: t.UUID}
	if was != "" {
		r.Detail = "back from: " + was
	}
	return r, err
}

// look mounts an unknown tape read-only, reads who it is, and brings it back to its slot.
func (i *imports) look(ctx context.Context, r *importJSON) (err error) {
	b := changer.Barcode(r.Barcode)
	lease, err := i.lease(ctx, changer.Request{Barcode: b, Purpose: "import", Avoid: i.avoid})
	if err != nil {
		return err
	}
	defer release(ctx, lease, &err)
	r.drive = lease.Drive().Serial
	if err := lease.Unload(ctx); err != nil {
		return err
	}
	if err := lease.LoadSlot(ctx, r.Slot, b); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Unload(ctx)) }()
	if err := lease.Ready(ctx); err != nil {
		return err
	}
	v, err := lease.Mount(ctx, changer.MountRequest{ReadOnly: true})
	if errors.Is(err, changer.ErrNotFormatted) {
		content, err := lease.Look(ctx)
		switch content {
		case changer.ContentBlank:
			r.Is = importBlank
			return nil
		case changer.ContentForeign:
			r.Is = importForeign
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	r.Volume = v.UUID
	err = i.label(v, r)
	return errors.Join(err, v.Unmount(ctx))
}

// label reads README.txt of a mounted volume.
func (i *imports) label(v *changer.Volume, r *importJSON) error {
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return err
	}
	defer root.Close() // an open folder would keep the volume from being unmounted
	r.Is, r.Detail = importLTFS, "volume name "+ui.Printable(v.Name)
	f, err := changer.OpenFile(root, "README.txt", os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := volume.ParseLabel(f)
	switch {
	case errors.Is(err, archiver.ErrNoLabel):
		return nil
	case err != nil:
		return err
	}
	r.Catalog, r.Pool = l.Catalog, l.Pool
	r.Is, r.Detail = importTapefs, fmt.Sprintf("catalog %s, pool %s, number %d", l.Catalog, l.Pool, l.Number)
	if l.Catalog == i.db.UUID() {
		r.Is = importOurs
	}
	return nil
}
