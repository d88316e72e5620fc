package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeRepackCmd struct {
	Barcodes []string `arg:"" optional:"" name:"barcode" help:"Tapes to repack."`
	Below    string   `help:"Repack all full tapes of which less than this share lives, such as 40%; tape list shows it." placeholder:"SHARE"`
	DryRun   bool     `help:"Say only what would be done."`
}

func (c *tapeRepackCmd) Run(ctx context.Context, a *app) error {
	below := 0.0
	if c.Below != "" {
		var err error
		if below, err = config.ParseShare(c.Below); err != nil {
			return usagef("--below: %w", err)
		}
	} else if len(c.Barcodes) == 0 {
		return usagef("name tapes, or say --below 40%%")
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	arch, err := a.newArchiver(conf, db, newProgress(a))
	if err != nil {
		return err
	}
	for i, word := range c.Barcodes {
		if c.Barcodes[i], err = spelt(ctx, db, word); err != nil {
			return err
		}
	}
	finishing(ctx, arch.Doing)
	sum, err := arch.Repack(ctx, archiver.RepackOptions{Barcodes: c.Barcodes, Below: below, DryRun: c.DryRun})
	finishing(ctx, nil)
	if errors.Is(err, catalog.ErrNotFound) {
		return withHint(err, "tapefs tape list shows the tapes of this catalog")
	}
	if a.JSON {
		if jsonErr := ui.WriteJSON(a.stdout, sum.Tapes); err == nil {
			err = jsonErr
		}
	} else {
		if err == nil && c.DryRun && len(sum.Tapes) > 0 {
			err = sayRepackOutlook(ctx, a, arch, archiver.RepackOptions{Barcodes: c.Barcodes, Below: below})
		}
		if err == nil && len(sum.Tapes) == 0 {
			fmt.Fprintln(a.stdout, "no full tape lives so little")
		}
		for _, t := range sum.Tapes {
			fmt.Fprintln(a.stdout, repackLine(t, c.DryRun))
		}
	}
	if errors.Is(err, archiver.ErrPartial) && sum.Run != 0 {
		return withHint(&repackError{err}, "tapefs runs %d says why; tapefs tape repack goes on where it was", sum.Run)
	}
	return err
}

// sayRepackOutlook says which tapes a repack would read, and how long all of it takes.
func sayRepackOutlook(ctx context.Context, a *app, arch *archiver.Archiver, o archiver.RepackOptions) error {
	out, err := arch.LookAtRepack(ctx, o)
	if err != nil {
		return fmt.Errorf("repack: %w", err)
	}
	if out.Files == 0 {
		return nil
	}
	return errors.Join(sayOutlook(a, "repack would move", "file on tape", "files on tape", &out), outlookError(&out))
}

func repackLine(t archiver.RepackedTape, dry bool) string {
	what := fmt.Sprintf("%s, %s: %s as they are, %s packed anew, %s that nobody needs", ui.Count(int64(t.Parts), "file", "files"), ui.Bytes(t.Bytes),
		fmt.Sprint(t.Copied), fmt.Sprint(t.Packed), ui.Count(int64(t.Dropped), "object", "objects"))
	switch {
	case dry:
		return fmt.Sprintf("%s: %s of it lives; would move %s", t.Barcode, shareText(&t.Share), what)
	case t.Done:
		return fmt.Sprintf("%s: moved %s; what was moved was read back: the tape may be erased or retired", t.Barcode, what)
	}
	why := t.Why
	if why == "" {
		why = "stopped"
	}
	return fmt.Sprintf("%s: moved %s; not done: %s", t.Barcode, what, why)
}

// repackError says of a repack what archiver.ErrPartial says of archive.
type repackError struct{ err error }

func (e *repackError) Error() string { return "not everything was repacked" }
func (e *repackError) Unwrap() error { return e.err }
