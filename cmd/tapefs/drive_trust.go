package main

import (
	"context"
	"fmt"

	"tapefs/catalog"
)

// driveTrustCmd takes back that a drive is suspect.
type driveTrustCmd struct {
	Drive string `arg:"" help:"Number or serial of the drive."`
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
		return printJSON(a.stdout, map[string]string{"serial": d.Serial, "was": was, "state": catalog.DriveOK})
	}
	fmt.Fprintf(a.stdout, "drive %s is used again for writing\n", d.Serial)
	return nil
}
