package main

import (
	"context"
	"fmt"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// driveTrustCmd takes back that a drive is suspect.
type driveTrustCmd struct {
	Drive string `arg:"" help:"Number or serial of the drive."`
}

// trustedDrive is what became of a drive.
type trustedDrive struct {
	Serial string `json:"serial"`
	Was    string `json:"was"`
	State  string `json:"state"`
}

func (c *driveTrustCmd) Run(ctx context.Context, a *app) error {
	h, err := a.atLibrary()
	if err != nil {
		return err
	}
	d, err := h.driveNamed(c.Drive)
	if err != nil {
		return err
	}
	_, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	was := ""
	_, err = db.UpdateDrive(ctx, d.Serial, func(d *catalog.Drive) error {
		was = d.State
		d.State, d.Failed, d.Note = catalog.DriveOK, nil, ""
		return nil
	})
	if err != nil {
		return err
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, trustedDrive{d.Serial, was, catalog.DriveOK})
	}
	fmt.Fprintf(a.stdout, "drive %s is used again for writing\n", d.Serial)
	return nil
}
