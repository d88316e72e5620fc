package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type libraryInventoryCmd struct {
	Read bool `help:"Load each cartridge that has no readable label, or one that the catalog does not know, and read on it who it is. Nothing is written to a tape."`
}

// Run lists the cartridges that their labels do not identify, and with --read finds out who they are: the UUID of the volume on it is
// what proves a tape, and the label is only a hint.
func (c *libraryInventoryCmd) Run(ctx context.Context, a *app) error {
	ctx = a.patient(ctx)
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	lib, err := a.library(conf)
	if err != nil {
		return err
	}
	if lib.Changer() == changer.None {
		return usagef("make an inventory: there is no changer; tapefs tape load BARCODE proves which tape is in the drive")
	}
	i := &imports{hand: &hand{a, conf, lib}, db: db}
	unknown, known, err := i.unidentified(ctx)
	if err != nil {
		return err
	}
	rows, failed := []importJSON{}, 0
	var first error
	for _, s := range unknown {
		r := importJSON{Barcode: string(s.Barcode), Slot: s.Number, Is: importUnknown}
		if c.Read {
			if r, err = i.bySlot(ctx, s); err != nil {
				return err
			}
		}
		if r.err != nil {
			failed++
			if first == nil {
				first = r.err
			}
		}
		if !a.JSON {
			r.print(a)
		}
		rows = append(rows, r)
	}
	if a.JSON {
		if err := ui.WriteJSON(a.stdout, rows); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(a.stdout, "%s known by its label, %d not\n", ui.Count(int64(known), "cartridge is", "cartridges are"), len(unknown))
		if len(unknown) > 0 && !c.Read {
			fmt.Fprintln(a.stdout, "tapefs library inventory --read loads them and reads who they are")
		}
	}
	return first
}

// unidentified lists the cartridges in slots whose labels do not say who they are, those without a label first, and counts the
// others. Cartridges without a label are brought home from drives, where nobody could name them.
func (i *imports) unidentified(ctx context.Context) (unknown []changer.Slot, known int, err error) {
	inv, err := i.lib.Inventory(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range inv.Drives {
		switch {
		case !d.Full:
		case d.Barcode != "":
			known++
		case d.Serial == "":
			return nil, 0, withHint(fmt.Errorf("make an inventory: drive element %d holds a cartridge without a label: %w", d.Number, changer.ErrNoDrive), "add the drive to library.drives")
		default:
			if err := i.unloadDrive(ctx, d.Serial); err != nil {
				return nil, 0, err
			}
		}
	}
	if inv, err = i.lib.Inventory(ctx); err != nil {
		return nil, 0, err
	}
	var labelled []changer.Slot
	for _, s := range inv.Slots {
		switch {
		case !s.Full:
			continue
		case s.Barcode == "":
			unknown = append(unknown, s)
			continue
		}
		_, err := i.db.TapeByBarcode(ctx, string(s.Barcode))
		switch {
		case s.Barcode.Cleaning() || err == nil:
			known++
		case errors.Is(err, catalog.ErrNotFound):
			labelled = append(labelled, s)
		default:
			return nil, 0, err
		}
	}
	return append(unknown, labelled...), known, nil
}

func (i *imports) unloadDrive(ctx context.Context, serial string) (err error) {
	lease, err := i.lease(ctx, changer.Request{Drive: serial, Purpose: "inventory"})
	if err != nil {
		return err
	}
	defer release(ctx, lease, &err)
	return lease.Unload(ctx)
}

// bySlot finds out who the cartridge of a slot is. A drive may not take it, and where the label does not say which one does, the
// others are tried, too.
func (i *imports) bySlot(ctx context.Context, s changer.Slot) (importJSON, error) {
	i.avoid = nil
	defer func() { i.avoid = nil }()
	for {
		r, err := i.one(ctx, s.Barcode, s.Number)
		if err != nil || !errors.Is(r.err, changer.ErrIncompatible) || r.drive == "" || len(i.avoid)+1 >= len(i.conf.Library.Drives) {
			return r, err
		}
		i.avoid = append(i.avoid, r.drive)
	}
}
