package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeCheckCmd struct {
	Barcode string `arg:"" help:"The tape's barcode."`
	Deep    bool   `help:"When ltfsck cannot make the volume whole, take it back to its last whole index; what was written behind that may be lost."`
}

// checkJSON is what a check found.
type checkJSON struct {
	Barcode    string `json:"barcode"`
	Volume     string `json:"volume"`     // UUID
	Generation int64  `json:"generation"` // of the index
	Proved     int64  `json:"proved"`     // generation that the catalog knows to be on tape, 0 unknown
	Deep       bool   `json:"deep"`       // deep recovery was needed
	ReadOnly   bool   `json:"read_only"`  // it mounts read-only: write-protected or full
	State      string `json:"state,omitempty"`
	Remedy     string `json:"remedy,omitempty"` // what gets it out of suspicion, if that is its state
}

func (c *tapeCheckCmd) Run(ctx context.Context, a *app) (err error) {
	conf, db, err := a.writeCatalog(ctx)
	lost := errors.Is(err, fs.ErrNotExist)
	if lost { // a rebuild may be waiting for this very tape
		conf, err = a.configuration()
	}
	if err != nil {
		return err
	}
	lib, err := a.library(conf)
	if err != nil {
		return err
	}
	var t catalog.Tape
	if !lost {
		defer db.Close()
		if c.Barcode, err = spelt(ctx, db, c.Barcode); err != nil {
			return err
		}
		t, err = db.TapeByBarcode(ctx, c.Barcode)
		if err != nil && !errors.Is(err, catalog.ErrNotFound) {
			return err
		}
	}
	op := "check tape " + c.Barcode
	if t.State == catalog.TapeForeign {
		return withHint(usagef("%s: it belongs to an imported archive and is only read, and a check may write", op),
			"tapefs verify --tape %s reads its files", c.Barcode)
	}
	h := &hand{a, conf, lib}
	lease, err := h.lease(ctx, changer.Request{Barcode: changer.Barcode(c.Barcode), Purpose: "check"})
	if err != nil {
		return err
	}
	defer release(ctx, lease, &err)
	row := checkJSON{Barcode: c.Barcode, Proved: t.IndexGeneration}
	if lib.Changer() == changer.None {
		err = lease.Ready(ctx) // Load would mount, and what needs a check cannot be mounted
	} else {
		err = lease.Load(ctx, changer.Barcode(c.Barcode))
	}
	if err != nil {
		return err
	}
	if _, err = lease.Check(ctx, false); err != nil && changer.CheckFailed(err) {
		if !c.Deep {
			return withHint(err, "tapefs tape check %s --deep takes the volume back to its last whole index; what was written behind that may be lost", c.Barcode)
		}
		row.Deep = true
		_, err = lease.Check(ctx, true)
	}
	if err != nil {
		return err
	}
	if err := c.prove(ctx, lease, t, &row); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if t.ID != 0 {
		t, err = volume.Checked(ctx, db, t, row.Generation, time.Now())
		row.State, row.Remedy = t.State, remedy(t)
	}
	if a.JSON {
		err = errors.Join(ui.WriteJSON(a.stdout, row), err)
	} else {
		known := ""
		switch {
		case lost:
			known = "; there is no catalog: tapefs catalog rebuild reads the tape now"
		case t.ID == 0:
			known = "; the catalog does not know the tape"
		}
		fmt.Fprintf(a.stdout, "%s is consistent: volume %s, index generation %d%s\n", c.Barcode, row.Volume, row.Generation, known)
		if row.Remedy != "" {
			fmt.Fprintf(a.stdout, "hint: it stays suspect: %s\n", row.Remedy)
		}
	}
	return err
}

// prove mounts the checked volume and reads who it is.
func (c *tapeCheckCmd) prove(ctx context.Context, lease *changer.Lease, t catalog.Tape, row *checkJSON) error {
	v, err := lease.Mount(ctx, changer.MountRequest{UUID: t.UUID, ReadOnly: true})
	if err != nil {
		return err
	}
	row.Volume, row.ReadOnly = v.UUID, v.ReadOnly
	row.Generation, err = v.Generation()
	return errors.Join(err, v.Unmount(ctx))
}
