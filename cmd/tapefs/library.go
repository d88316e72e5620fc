package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type libraryCmd struct {
	Status    libraryStatusCmd    `cmd:"" help:"Drives, slots, and what is known of each cartridge."`
	Inventory libraryInventoryCmd `cmd:"" help:"List the cartridges that their labels do not identify; with --read, find out who they are."`
}

type libraryStatusCmd struct {
	Watch bool `help:"Look again every 2 seconds until Ctrl-C."`
}

type libraryJSON struct {
	Changer string      `json:"changer"`
	Drives  []driveJSON `json:"drives"`
	Slots   []slotJSON  `json:"slots"`

	Wanted []wantedJSON   `json:"wanted"` // tapes that somebody waits for
	Checks []checkDueJSON `json:"checks"` // tapes of sessions that died
}

type driveJSON struct {
	Element        int    `json:"element"`
	Serial         string `json:"serial"`
	Full           bool   `json:"full"`
	Barcode        string `json:"barcode,omitempty"`
	FromSlot       int    `json:"from_slot,omitempty"`
	Holder         string `json:"holder,omitempty"`
	Mounted        bool   `json:"mounted"`
	Online         bool   `json:"online"`
	WriteProtected bool   `json:"write_protected"`
	WantsCleaning  bool   `json:"wants_cleaning,omitempty"`
	Density        string `json:"density,omitempty"`
	Suspect        string `json:"suspect,omitempty"` // why nothing is written with it
	Away           bool   `json:"away,omitempty"`    // it is not there: is it switched on?

	Proved *time.Time `json:"proved,omitempty"` // when the drive was last seen to be the one that the changer fills
}

type slotJSON struct {
	Slot         int        `json:"slot"`
	ImportExport bool       `json:"import_export"`
	Full         bool       `json:"full"`
	Barcode      string     `json:"barcode,omitempty"`
	Pool         string     `json:"pool,omitempty"`
	State        string     `json:"state,omitempty"`
	Free         int64      `json:"free,omitempty"`
	Seen         *time.Time `json:"seen,omitempty"`
	Place        string     `json:"place,omitempty"` // of a tape that was exported and lies here again
}

func (c *libraryStatusCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	lib, err := a.library(conf)
	if err != nil {
		return err
	}
	show := func(ctx context.Context, w io.Writer) error {
		status, err := readLibrary(ctx, conf, db, lib)
		if err != nil {
			return err
		}
		if a.JSON && c.Watch {
			return ui.WriteJSONLine(w, status)
		}
		if a.JSON {
			return ui.WriteJSON(w, status)
		}
		return status.print(w)
	}
	if c.Watch {
		return a.watch(ctx, show)
	}
	return show(ctx, a.stdout)
}

func (l *libraryJSON) print(w io.Writer) error {
	printDrives(w, l.Drives)
	l.printUnproved(w)
	if len(l.Wanted) > 0 {
		fmt.Fprintln(w)
		t := ui.NewTable(w, "WANTED", "FOR", "SINCE", "WHERE IT IS")
		for _, wanted := range l.Wanted {
			t.Row(wanted.Tape, wanted.Reason, ui.DateOr(&wanted.Since, "-"), ui.OrDash(ui.Printable(wanted.Place)))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(l.Checks) > 0 {
		fmt.Fprintln(w)
		t := ui.NewTable(w)
		printChecks(t, l.Checks)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(l.Slots) == 0 {
		return nil // changer: none
	}
	fmt.Fprintln(w)
	t := ui.NewTable(w, "SLOT", "TAPE", "POOL", "STATE", "FREE", "LAST USE")
	for _, s := range l.Slots {
		name := fmt.Sprint(s.Slot)
		if s.ImportExport {
			name += " mail"
		}
		free, state := "-", ui.OrDash(s.State)
		if s.Pool != "" {
			free = ui.Bytes(s.Free)
		}
		if s.Place != "" {
			state += ", exported to " + s.Place
		}
		t.Row(name, slotText(s.Full, s.Barcode), ui.OrDash(s.Pool), state, free, ui.DateOr(s.Seen, "-"))
	}
	return t.Flush()
}

func slotText(full bool, barcode string) string {
	switch {
	case !full:
		return "empty"
	case barcode == "":
		return "no barcode"
	}
	return barcode
}

// readLibrary looks at the library without waiting for anybody.
func readLibrary(ctx context.Context, conf *settings, db *catalog.DB, lib *changer.Library) (*libraryJSON, error) {
	inv, err := lib.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	states, err := lib.Drives(ctx)
	if err != nil {
		return nil, err
	}
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]catalog.Tape{}
	for _, t := range tapes {
		known[t.Barcode] = t
	}
	wanted, err := wantedRows(ctx, db)
	if err != nil {
		return nil, err
	}
	out := &libraryJSON{Changer: conf.Library.Changer, Wanted: wanted, Checks: checksDue(conf, lib)}
	for _, d := range inv.Drives {
		row := driveJSON{Element: d.Number, Serial: d.Serial, Full: d.Full, Barcode: string(d.Barcode), FromSlot: d.FromSlot}
		for _, s := range states {
			if s.Element == d.Number {
				row.Serial, row.Holder, row.Mounted = s.Serial, s.Holder, s.Mounted
				row.Online, row.WriteProtected, row.WantsCleaning, row.Density = s.Status.Online, s.Status.WriteProtected, s.Status.Cleaning, s.Status.Density
				row.Proved, row.Away = ui.TimeOrNil(s.Proof.At), s.Away
			}
		}
		out.Drives = append(out.Drives, row)
	}
	if err := markDrives(ctx, db, out.Drives); err != nil {
		return nil, err
	}
	for _, s := range inv.Slots {
		row := slotJSON{Slot: s.Number, ImportExport: s.ImportExport, Full: s.Full, Barcode: string(s.Barcode)}
		if s.Barcode.Cleaning() {
			row.State = "cleaning"
		} else if s.Barcode.WriteOnce() && known[string(s.Barcode)].Barcode == "" {
			row.State = "write-once"
		} else if t, ok := known[string(s.Barcode)]; ok && s.Full {
			row.Pool, row.State, row.Free, row.Seen, row.Place = t.PoolName, t.State, t.Free, ui.TimeOrNil(t.Seen), t.Place
		}
		out.Slots = append(out.Slots, row)
	}
	return out, nil
}

// state says in a few words what a drive does.
func (d driveJSON) state() string {
	state := "empty"
	switch {
	case d.Mounted:
		state = "mounted"
	case d.Away:
		state = "not there"
	case d.Online && d.WriteProtected:
		state = "loaded, write-protected"
	case d.Online:
		state = "loaded"
	case d.Full:
		state = "not ready"
	}
	if d.WantsCleaning {
		state += ", wants cleaning"
	}
	return state
}

func printDrives(w io.Writer, drives []driveJSON) {
	t := ui.NewTable(w, "DRIVE", "SERIAL", "TAPE", "FROM", "STATE", "USED BY")
	for _, d := range drives {
		state := d.state()
		if d.Suspect != "" {
			state += ", SUSPECT"
		}
		from := "-"
		if d.FromSlot > 0 {
			from = fmt.Sprintf("slot %d", d.FromSlot)
		}
		t.Row(fmt.Sprint(d.Element), ui.OrDash(d.Serial), slotText(d.Full, d.Barcode), from, state, ui.OrDash(d.Holder))
	}
	t.Flush()
	printSuspects(w, drives)
}

// printUnproved names the drives of which nothing proves that the changer fills them.
func (l *libraryJSON) printUnproved(w io.Writer) {
	for _, d := range l.Drives {
		if d.Proved == nil && !d.Away && d.Serial != "" && l.Changer != changer.None {
			fmt.Fprintf(w, "drive %d is not proved yet: its next load does it, or: tapefs doctor --fix-config --prove\n", d.Element)
		}
	}
}

// markDrives adds which drives the archive does not write with any more.
func markDrives(ctx context.Context, db *catalog.DB, rows []driveJSON) error {
	known, err := db.Drives(ctx)
	if err != nil {
		return err
	}
	for i := range rows {
		for _, d := range known {
			if d.Serial == rows[i].Serial && d.State == catalog.DriveSuspect {
				rows[i].Suspect = d.Note
			}
		}
	}
	return nil
}

func printSuspects(w io.Writer, drives []driveJSON) {
	for _, d := range drives {
		if d.Suspect != "" {
			fmt.Fprintf(w, "drive %d is suspect, nothing is written with it: %s\nhint: clean it or have it looked at, then: tapefs drive trust %d\n",
				d.Element, d.Suspect, d.Element)
		}
	}
}
