package main

import (
	"context"
	"errors"
	"fmt"

	"tapefs/archiver"
	"tapefs/catalog"
	"tapefs/changer"
)

type tapeExportCmd struct {
	Tapes []string `arg:"" optional:"" name:"barcode" help:"Barcodes; all full tapes when none is named."`
	To    string   `help:"Where they are put, for people: \"safe, shelf 3\"." placeholder:"PLACE"`
	Force bool     `help:"Also tapes that copies are still owed from, or whose last bytes are not safe."`
}

// exportJSON is what became of one tape.
type exportJSON struct {
	Barcode string `json:"barcode"`
	Slot    int    `json:"slot,omitempty"` // where it lies now; 0: it was not moved
	Mail    bool   `json:"mail"`
	Place   string `json:"place,omitempty"`
	Error   string `json:"error,omitempty"`
	Hint    string `json:"hint,omitempty"`

	err error
}

// defaultPlace is recorded when nobody said where an exported tape is put.
const defaultPlace = "outside the library"

func (c *tapeExportCmd) Run(ctx context.Context, a *app) error {
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
		return usagef("export tapes: there is no changer; the operator takes them out, and tapefs tape unload ejects")
	}
	e := &export{hand: &hand{a, conf, lib}, db: db, place: c.To, force: c.Force}
	if e.place == "" {
		e.place = defaultPlace
	}
	inv, err := lib.Inventory(ctx)
	if err != nil {
		return err
	}
	words := c.Tapes
	if len(words) == 0 {
		if words, err = fullTapes(ctx, db, inv); err != nil {
			return err
		}
		if len(words) == 0 && !a.JSON {
			fmt.Fprintln(a.stdout, "no full tape is in the library")
			return nil
		}
	}
	rows := []exportJSON{}
	var worst error
	for _, word := range words {
		row := e.one(ctx, word)
		rows = append(rows, row)
		if row.err != nil && (worst == nil || exitCode(worst) == exitOperator) {
			worst = row.err // one that failed weighs more than one that waits for an operator
		}
		if !a.JSON && (row.err == nil || len(words) > 1) {
			row.print(a)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if a.JSON {
		if err := printJSON(a.stdout, rows); err != nil {
			return err
		}
	}
	if worst != nil && len(words) > 1 && !a.JSON {
		return exitStatus(exitCode(worst)) // each was said
	}
	return worst
}

func (r exportJSON) print(a *app) {
	switch {
	case r.err != nil:
		report(a.stderr, r.err)
	case r.Slot != 0:
		fmt.Fprintf(a.stdout, "%s is in mail slot %d, for: %s\n", labelText(r.Barcode), r.Slot, r.Place)
	}
}

// fullTapes lists the full tapes of the catalog that are in the library and not in its mail slots yet.
func fullTapes(ctx context.Context, db *catalog.DB, inv *changer.Inventory) ([]string, error) {
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range tapes {
		at, err := find(inv, t.Barcode)
		if t.State == catalog.TapeFull && err == nil && string(at.label) == t.Barcode && !at.slot.ImportExport {
			out = append(out, t.Barcode)
		}
	}
	return out, nil
}

// export takes tapes out of the library.
type export struct {
	*hand
	db    *catalog.DB
	place string
	force bool
}

// one exports one tape. What kept it is in the row, also as an error.
func (e *export) one(ctx context.Context, word string) exportJSON {
	row, err := e.out(ctx, word)
	if err != nil {
		row.err = fmt.Errorf("export tape %s: %w", word, err)
		row.Error, row.Hint = row.err.Error(), hintFor(row.err)
	}
	return row
}

func (e *export) out(ctx context.Context, word string) (exportJSON, error) {
	row := exportJSON{Barcode: word}
	inv, err := e.lib.Inventory(ctx)
	if err != nil {
		return row, err
	}
	at, err := find(inv, word)
	if err != nil {
		return row, err
	}
	row.Barcode = string(at.label)
	t, err := e.db.TapeByBarcode(ctx, row.Barcode)
	known := err == nil
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return row, err
	}
	may := func() error {
		if !known || e.force {
			return nil
		}
		return e.mayLeave(ctx, t)
	}
	if err := may(); err != nil {
		return row, err
	}
	// An open tape gets what it lacks; a full one got it when it was filled.
	if known && t.State == catalog.TapeOpen && t.UUID != "" && !at.slot.ImportExport {
		if err := e.close(ctx, t); err != nil {
			if !e.force {
				return row, err
			}
			report(e.stderr, err)
		}
		if inv, err = e.lib.Inventory(ctx); err != nil {
			return row, err
		}
		if at, err = find(inv, row.Barcode); err != nil {
			return row, err
		}
	}
	if !hasMail(inv) {
		return row, e.byHand(ctx, at, t, known, may)
	}
	to := at.slot
	if at.drive != nil || !at.slot.ImportExport {
		if to, err = slotNamed(inv, "mail"); err != nil {
			return row, err
		}
		if _, err := e.moveTo(ctx, at, to, may); err != nil {
			return row, err
		}
	}
	row.Slot, row.Mail = to.Number, true
	if known {
		row.Place = e.place
		return row, e.record(ctx, t)
	}
	return row, nil
}

// mayLeave refuses a tape that something still needs here.
func (e *export) mayLeave(ctx context.Context, t catalog.Tape) error {
	unsafe, owed, err := e.db.TapeDebts(ctx, t.ID)
	switch {
	case err != nil:
		return err
	case unsafe > 0:
		return withHint(fmt.Errorf("%s on it not safe yet", count(int64(unsafe), "part", "parts")), "run tapefs archive first; --force takes the tape out all the same")
	case owed > 0:
		return withHint(fmt.Errorf("%s owed, and this tape has the bytes", count(int64(owed), "copy", "copies")), "run tapefs archive first; --force takes the tape out all the same")
	}
	return nil
}

// close has manifest and catalog written to a tape.
func (e *export) close(ctx context.Context, t catalog.Tape) error {
	arch, err := e.newArchiver(e.conf, e.db, newProgress(e.app))
	if err != nil {
		return err
	}
	return arch.CloseTape(ctx, t)
}

func (e *export) record(ctx context.Context, t catalog.Tape) error {
	_, err := e.db.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
		t.Place = e.place
		return nil
	})
	return err
}

// byHand prepares a tape of a library without mail slots: it goes to its slot, and the operator is told which.
func (e *export) byHand(ctx context.Context, at spot, t catalog.Tape, known bool, may func() error) error {
	slot := at.slot.Number
	if at.drive != nil {
		m, err := e.unload(ctx, changer.Request{Barcode: at.label, Drive: at.drive.Serial}, at.label, 0, may)
		if err != nil {
			return err
		}
		slot = m.Slot
	}
	if known {
		if err := e.record(ctx, t); err != nil {
			return err
		}
	}
	return withHint(fmt.Errorf("%w: the library has no mail slots", archiver.ErrNeedsOperator), "open it and take %s out of slot %d", labelText(string(at.label)), slot)
}
