package main

import (
	"context"
	"fmt"

	"tapefs/catalog"
	"tapefs/changer"
)

type libraryCmd struct {
	Status libraryStatusCmd `cmd:"" help:"Drives, slots, and what is known of each cartridge."`
}

type libraryStatusCmd struct{}

type libraryJSON struct {
	Changer string      `json:"changer"`
	Drives  []driveJSON `json:"drives"`
	Slots   []slotJSON  `json:"slots"`
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
	Density        string `json:"density,omitempty"`
}

type slotJSON struct {
	Slot         int    `json:"slot"`
	ImportExport bool   `json:"import_export"`
	Full         bool   `json:"full"`
	Barcode      string `json:"barcode,omitempty"`
	Pool         string `json:"pool,omitempty"`
	State        string `json:"state,omitempty"`
	Free         int64  `json:"free,omitempty"`
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
	status, err := readLibrary(ctx, conf, db, lib)
	if err != nil {
		return err
	}
	if a.JSON {
		return printJSON(a.stdout, status)
	}
	printDrives(a, status.Drives)
	fmt.Fprintln(a.stdout)
	t := newTable(a.stdout, "SLOT", "TAPE", "POOL", "STATE", "FREE")
	for _, s := range status.Slots {
		name := fmt.Sprint(s.Slot)
		if s.ImportExport {
			name += " mail"
		}
		free := "-"
		if s.Pool != "" {
			free = bytesText(s.Free)
		}
		t.row(name, slotText(s.Full, s.Barcode), orDash(s.Pool), orDash(s.State), free)
	}
	return t.flush()
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
func readLibrary(ctx context.Context, conf *config, db *catalog.DB, lib *changer.Library) (*libraryJSON, error) {
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
	out := &libraryJSON{Changer: conf.Library.Changer}
	for _, d := range inv.Drives {
		row := driveJSON{Element: d.Number, Serial: d.Serial, Full: d.Full, Barcode: string(d.Barcode), FromSlot: d.FromSlot}
		for _, s := range states {
			if s.Element == d.Number {
				row.Serial, row.Holder, row.Mounted = s.Serial, s.Holder, s.Mounted
				row.Online, row.WriteProtected, row.Density = s.Status.Online, s.Status.WriteProtected, s.Status.Density
			}
		}
		out.Drives = append(out.Drives, row)
	}
	for _, s := range inv.Slots {
		row := slotJSON{Slot: s.Number, ImportExport: s.ImportExport, Full: s.Full, Barcode: string(s.Barcode)}
		if s.Barcode.Cleaning() {
			row.State = "cleaning"
		} else if t, ok := known[string(s.Barcode)]; ok && s.Full {
			row.Pool, row.State, row.Free = t.PoolName, t.State, t.Free
		}
		out.Slots = append(out.Slots, row)
	}
	return out, nil
}

func printDrives(a *app, drives []driveJSON) {
	t := newTable(a.stdout, "DRIVE", "SERIAL", "TAPE", "FROM", "STATE", "USED BY")
	for _, d := range drives {
		state := "empty"
		switch {
		case d.Mounted:
			state = "mounted"
		case d.Online && d.WriteProtected:
			state = "loaded, write-protected"
		case d.Online:
			state = "loaded"
		case d.Full:
			state = "not ready"
		}
		from := "-"
		if d.FromSlot > 0 {
			from = fmt.Sprintf("slot %d", d.FromSlot)
		}
		t.row(fmt.Sprint(d.Element), orDash(d.Serial), slotText(d.Full, d.Barcode), from, state, orDash(d.Holder))
	}
	t.flush()
}
