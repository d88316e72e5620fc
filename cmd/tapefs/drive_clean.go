package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type driveCleanCmd struct {
	Drive string        `arg:"" optional:"" help:"Number or serial of the drive; needed where there are several."`
	With  string        `help:"This cleaning cartridge; else the least used one." placeholder:"BARCODE"`
	Wait  time.Duration `help:"How long the drive may take; then the cartridge is taken out." default:"10m"`
}

const (
	// cleanerUses is how often an LTO universal cleaning cartridge can be used, as its makers say.
	cleanerUses = 50
	// cleanPoll is how often a drive that cleans itself is asked whether it is done.
	cleanPoll = time.Second
	// cleanBegins is how long a drive may call itself empty before it takes notice of the cartridge; after
	// that it counts as done.
	cleanBegins = 10 * time.Second
)

type cleanJSON struct {
	Drive     int    `json:"drive"`
	Serial    string `json:"serial"`
	Cartridge string `json:"cartridge"`
	Uses      int    `json:"uses"`     // of the cartridge, in all, as far as we know
	Finished  bool   `json:"finished"` // the drive let it go by itself
}

func (c *driveCleanCmd) Run(ctx context.Context, a *app) error {
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
	h := &hand{a, conf, lib}
	d, err := h.driveNamed(c.Drive)
	if err != nil {
		return err
	}
	if lib.Changer() == changer.None {
		return withHint(fmt.Errorf("clean drive %s: %w", d.Serial, archiver.ErrNeedsOperator), "insert a cleaning cartridge: the drive lets it go when it is done")
	}
	row, err := h.clean(ctx, db, d, changer.Barcode(c.With), c.Wait)
	if err != nil {
		return fmt.Errorf("clean drive %d: %w", d.Element, err)
	}
	if a.JSON {
		err = ui.WriteJSON(a.stdout, row)
	} else if row.Finished {
		fmt.Fprintf(a.stdout, "drive %d is cleaned with %s, used %s by now\n", row.Drive, row.Cartridge, ui.Count(int64(row.Uses), "time", "times"))
	}
	if err == nil && row.Uses >= cleanerUses {
		fmt.Fprintf(a.stderr, "%s was used %d times: cleaning cartridges last for about %d, put a new one in\n", row.Cartridge, row.Uses, cleanerUses)
	}
	if err == nil && !row.Finished {
		err = withHint(fmt.Errorf("clean drive %d: it still held %s after %s, and the robot took it out", row.Drive, row.Cartridge, c.Wait),
			"look at the drive: tapefs drive status %d; a worn out cartridge cleans nothing", row.Drive)
	}
	return err
}

// clean loads a cleaning cartridge, which starts the cleaning, and takes it out when the drive is done.
func (h *hand) clean(ctx context.Context, db *catalog.DB, d changer.DriveConfig, with changer.Barcode, limit time.Duration) (row cleanJSON, err error) {
	row = cleanJSON{Drive: d.Element, Serial: d.Serial}
	if _, err := h.findCleaner(ctx, db, with); err != nil {
		return row, err // before anybody gives up a drive for it
	}
	lease, err := h.lease(ctx, changer.Request{Drive: d.Serial, Purpose: "clean"})
	if err != nil {
		return row, err
	}
	defer release(ctx, lease, &err)
	if err := lease.Unload(ctx); err != nil {
		return row, err
	}
	s, err := h.findCleaner(ctx, db, with)
	if err != nil {
		return row, err
	}
	row.Cartridge = string(s.Barcode)
	product := ""
	if q, err := h.lib.Inquire(ctx, d.Device); err == nil {
		product = q.Product
	}
	if err := lease.LoadSlot(ctx, s.Number, s.Barcode); err != nil {
		return row, err
	}
	if row.Uses, err = db.CountCleaning(context.WithoutCancel(ctx), string(s.Barcode), d.Serial, product, time.Now().UTC()); err != nil {
		return row, err
	}
	if row.Finished, err = h.awaitClean(ctx, lease, limit); err != nil {
		return row, withHint(err, "%s is still in the drive: tapefs tape unload %d when it is done", s.Barcode, d.Element)
	}
	return row, lease.Unload(ctx) // a library that took it out by itself has left an empty drive
}

// awaitClean waits until the drive has let its cartridge go, or the library has taken it; false: not within
// the limit.
func (h *hand) awaitClean(ctx context.Context, lease *changer.Lease, limit time.Duration) (bool, error) {
	begin, noticed := time.Now(), false
	for {
		st, err := lease.Status(ctx)
		if err != nil {
			return false, err
		}
		_, full, err := lease.Loaded(ctx)
		if err != nil {
			return false, err
		}
		noticed = noticed || !st.DoorOpen
		if !full || st.DoorOpen && (noticed || time.Since(begin) > cleanBegins) {
			return true, nil
		}
		left := limit - time.Since(begin)
		if left <= 0 {
			return false, nil
		}
		timer := time.NewTimer(min(cleanPoll, left))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false, fmt.Errorf("wait until the drive is clean: %w", ctx.Err())
		case <-timer.C:
		}
	}
}

// findCleaner finds a cleaning cartridge in the slots: the named one, or the least used.
func (h *hand) findCleaner(ctx context.Context, db *catalog.DB, with changer.Barcode) (changer.Slot, error) {
	if with != "" && !with.Cleaning() {
		return changer.Slot{}, usagef("%s is not a cleaning cartridge: their labels begin with CLN", with)
	}
	inv, err := h.lib.Inventory(ctx)
	if err != nil {
		return changer.Slot{}, err
	}
	uses, err := db.CleanerUses(ctx)
	if err != nil {
		return changer.Slot{}, err
	}
	var best changer.Slot
	for _, s := range inv.Slots {
		if !s.Full || !s.Barcode.Cleaning() || with != "" && s.Barcode != with {
			continue
		}
		if !best.Full || uses[string(s.Barcode)] < uses[string(best.Barcode)] {
			best = s
		}
	}
	if !best.Full {
		return best, withHint(fmt.Errorf("no cleaning cartridge is in a slot: %w", archiver.ErrNeedsOperator), "put one (label CLN…) into a mail slot and run: tapefs tape import")
	}
	return best, nil
}
