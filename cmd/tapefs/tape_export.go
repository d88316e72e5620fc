package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeExportCmd struct {
	Tapes []string `arg:"" optional:"" name:"barcode" help:"Barcodes; all full tapes when none is named."`
	To    string   `help:"Where they are put, for people: \"safe, shelf 3\"." placeholder:"PLACE"`
	Yes   bool     `short:"y" help:"In a library without mail slots: do not wait at the terminal until the tape was taken out."`
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
	e := &export{hand: &hand{a, conf, lib}, db: db, place: c.To, force: c.Force, yes: c.Yes}
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
		if err := ui.WriteJSON(a.stdout, rows); err != nil {
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
		report(a.stderr, r.err, a.globals)
	case r.Slot == 0:
		fmt.Fprintf(a.stdout, "%s is out of the library, at: %s\n", labelText(r.Barcode), ui.Printable(r.Place))
	default:
		fmt.Fprintf(a.stdout, "%s is in mail slot %d, for: %s\n", labelText(r.Barcode), r.Slot, r.Place)
	}
}

// fullTapes lists the full tapes of the catalog that are in the library and not in its mail slots yet. Where there are none, those
// that were taken out and are not noted as outside yet belong to them.
func fullTapes(ctx context.Context, db *catalog.DB, inv *changer.Inventory) ([]string, error) {
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range tapes {
		at, err := find(inv, t.Barcode)
		if t.State == catalog.TapeFull && t.Place == "" && !hasMail(inv) && errors.Is(err, changer.ErrNotInLibrary) {
			out = append(out, t.Barcode)
			continue
		}
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
	yes   bool // nobody is asked at the terminal
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
	if errors.Is(err, changer.ErrNotInLibrary) && !hasMail(inv) {
		name, serr := spelt(ctx, e.db, word)
		if serr != nil {
			return row, serr
		}
		if t, terr := e.db.TapeByBarcode(ctx, name); terr == nil { // taken out as an earlier run asked for
			row.Place = e.place
			return row, e.record(ctx, t)
		}
	}
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
			report(e.stderr, err, e.globals)
		}
		if inv, err = e.lib.Inventory(ctx); err != nil {
			return row, err
		}
		if at, err = find(inv, row.Barcode); err != nil {
			return row, err
		}
	}
	if !hasMail(inv) {
		row.Place = e.place
		if err := e.byHand(ctx, at, may); err != nil || !known {
			return row, err
		}
		return row, e.record(ctx, t)
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
		return withHint(fmt.Errorf("%s on it not safe yet", ui.Count(int64(unsafe), "part", "parts")), "run tapefs archive first; --force takes the tape out all the same")
	case owed > 0:
		return withHint(fmt.Errorf("%s owed, and this tape has the bytes", ui.Count(int64(owed), "copy", "copies")), "run tapefs archive first; --force takes the tape out all the same")
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

// byHand gets a tape out of a library without mail slots: it goes to its slot, and the operator is told which. It is out once the
// changer does not show it any more: at a terminal that is waited for, else the next run sees it.
func (e *export) byHand(ctx context.Context, at spot, may func() error) error {
	slot := at.slot.Number
	if at.drive != nil {
		m, err := e.unload(ctx, changer.Request{Barcode: at.label, Drive: at.drive.Serial}, at.label, 0, may)
		if err != nil {
			return err
		}
		slot = m.Slot
	}
	label := labelText(string(at.label))
	terminal := e.terminal()
	if e.yes {
		terminal = nil
	}
	for asked := bufio.NewReader(terminal); terminal != nil; {
		fmt.Fprintf(e.stderr, "The library has no mail slots: open it, take %s out of slot %d, close it, and press Enter. ", label, slot)
		if _, err := asked.ReadString('\n'); err != nil {
			break
		}
		inv, err := e.lib.Inventory(ctx)
		if err != nil {
			return err
		}
		if s, ok := inv.SlotNumber(slot); !ok || !s.Full || s.Barcode != at.label {
			return nil
		}
		fmt.Fprintf(e.stderr, "The changer still has %s in slot %d.\n", label, slot)
	}
	return withHint(fmt.Errorf("%w: the library has no mail slots, and %s lies in slot %d", archiver.ErrNeedsOperator, label, slot),
		"open the library, take %s out of slot %d, and run the same command again: it counts as outside once the changer does not show it any more", label, slot)
}
