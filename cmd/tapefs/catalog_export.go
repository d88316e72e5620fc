package main

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/inventory"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// catalogExportCmd lists what is in the archive for other programs, one row at a time.
type catalogExportCmd struct {
	What     string `arg:"" optional:"" help:"files, or tapes." enum:"files,tapes" default:"files"`
	Format   string `help:"csv (RFC 4180, with a header), or jsonl (one object a line). Default: csv; with --json, jsonl." enum:"csv,jsonl," default:"" placeholder:"FORMAT"`
	Versions bool   `help:"Older versions of files, too."`
}

func (c *catalogExportCmd) Run(ctx context.Context, a *app) error {
	switch {
	case a.JSON && c.Format == "csv":
		return usagef("--json prints JSON lines: it does not go with --format csv")
	case c.Versions && c.What == "tapes":
		return usagef("--versions goes with files")
	}
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	// Both forms escape by themselves what a terminal would obey.
	out := bufio.NewWriterSize(ui.RawOutput(a.stdout), 1<<16)
	lines := a.JSON || c.Format == "jsonl"
	if c.What == "tapes" {
		err = exportTapes(ctx, db, out, lines)
	} else {
		err = c.files(ctx, conf, db, out, lines)
	}
	return errors.Join(err, out.Flush())
}

func exportTapes(ctx context.Context, db *catalog.DB, out io.Writer, lines bool) error {
	tapes, err := inventory.Tapes(ctx, db)
	if err != nil {
		return err
	}
	if !lines {
		return inventory.TapeCSV(out, tapes)
	}
	for i := range tapes {
		if err := ui.WriteJSONLine(out, &tapes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *catalogExportCmd) files(ctx context.Context, conf *settings, db *catalog.DB, out io.Writer, lines bool) error {
	o := inventory.FileOptions{Versions: c.Versions, Asked: copiesAsked(conf)}
	if lines {
		o.Emit = func(f *inventory.File) error { return ui.WriteJSONLine(out, f) }
		return inventory.Files(ctx, db, o)
	}
	rows, err := inventory.NewFileCSV(out)
	if err != nil {
		return err
	}
	o.Emit = rows.Write
	return errors.Join(inventory.Files(ctx, db, o), rows.Flush())
}
