package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/term"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/inventory"
	"github.com/tapefs/tapefs/cmd/tapefs/paper"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// tapePageCmd makes what lies beside a tape on the shelf.
type tapePageCmd struct {
	Barcode []string `arg:"" help:"The tapes; each gets a page of its own."`
	Format  string   `help:"html, or pdf." enum:"html,pdf" default:"html"`
	Paper   string   `help:"Size of a PDF's sheets: a4 or letter. HTML fits both." enum:"a4,letter" default:"a4"`
	Output  string   `short:"o" help:"Write it to this file, which may exist; else to standard output." placeholder:"FILE"`
}

func (c *tapePageCmd) Run(ctx context.Context, a *app) error {
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	pages := make([]paper.Page, 0, len(c.Barcode))
	for _, barcode := range c.Barcode {
		page, err := pageOf(ctx, db, barcode)
		if err != nil {
			return fmt.Errorf("make page of tape %s: %w", ui.Printable(barcode), err)
		}
		pages = append(pages, page)
	}
	if a.JSON {
		return writeOutput(a, c.Output, false, func(w io.Writer) error { return ui.WriteJSON(w, pages) })
	}
	return writeOutput(a, c.Output, c.Format == "pdf", func(w io.Writer) error {
		if c.Format == "pdf" {
			return paper.WritePDF(w, sheetOf(c.Paper), pages)
		}
		return paper.WriteHTML(w, pages)
	})
}

func sheetOf(name string) paper.Sheet {
	if name == paper.Letter.Name {
		return paper.Letter
	}
	return paper.A4
}

// writeOutput writes what is printed or kept to a file, whole or not at all, or to standard output; what is binary not to a terminal.
func writeOutput(a *app, file string, binary bool, write func(io.Writer) error) error {
	if file == "" {
		out := ui.RawOutput(a.stdout)
		if f, ok := out.(*os.File); ok && binary && term.IsTerminal(int(f.Fd())) {
			return withHint(usagef("PDF is nothing for a terminal"), "name a file: --output FILE.pdf")
		}
		if !binary {
			out = a.stdout
		}
		return write(out)
	}
	f, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o600), renameio.WithExistingPermissions())
	if err != nil {
		return fmt.Errorf("write %s: %w", ui.Printable(file), err)
	}
	defer f.Cleanup()
	if err = write(f); err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", ui.Printable(file), err)
	}
	fmt.Fprintf(a.stderr, "wrote %s\n", ui.Printable(file))
	return nil
}

// pageOf gathers what is printed of a tape.
func pageOf(ctx context.Context, db *catalog.DB, barcode string) (paper.Page, error) {
	tape, err := knownTape(ctx, db, barcode)
	if err != nil {
		return paper.Page{}, err
	}
	if tape.State == catalog.TapeForeign {
		return paper.Page{}, withHint(usagef("it was not written by tapefs, and is read otherwise"), "docs/tapebackup.md says how tapes of tapebackup are read")
	}
	row, err := inventory.TapeOf(ctx, db, &tape)
	if err != nil {
		return paper.Page{}, err
	}
	folders, err := inventory.Contents(ctx, db, tape.ID)
	if err != nil {
		return paper.Page{}, err
	}
	keys, err := db.Keys(ctx)
	if err != nil {
		return paper.Page{}, err
	}
	page := paper.Page{Barcode: labelText(row.Barcode), Number: row.Number, Pool: row.Pool, State: row.State, Place: row.Place, Archive: db.UUID(), Volume: row.UUID,
		Generation: row.Generation, Format: volume.TapeFormat, Capacity: row.Capacity, Used: row.Used, Formatted: row.Formatted, First: row.FirstWritten, Last: row.LastWritten,
		Printed: time.Now().UTC().Truncate(time.Second), Version: programVersion(), Folders: []paper.Folder{}, Keys: []paper.Key{}}
	for _, f := range folders {
		page.Files += f.Files
		page.Bytes += f.Bytes
		page.Folders = append(page.Folders, paper.Folder{Path: f.Path, Files: f.Files, Bytes: f.Bytes, Oldest: f.Oldest, Newest: f.Newest})
	}
	for _, fingerprint := range row.Keys {
		for _, k := range keys {
			if k.Fingerprint == fingerprint {
				page.Keys = append(page.Keys, paper.Key{Fingerprint: k.Fingerprint, Cipher: k.Cipher, Iterations: k.Iterations})
			}
		}
	}
	return page, nil
}
