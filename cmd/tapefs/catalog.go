package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type catalogCmd struct {
	Check   catalogCheckCmd   `cmd:"" help:"Hold the catalog against itself, and with --tapes against what the tapes hold."`
	Backup  catalogBackupCmd  `cmd:"" help:"Copy the catalog, as it is at one moment, to a new file."`
	Export  catalogExportCmd  `cmd:"" help:"List all files, or all tapes, for spreadsheets and databases: CSV or JSON lines."`
	Rebuild catalogRebuildCmd `cmd:"" help:"Make the catalog anew from tapes and keys, or add tapes that it has not read."`

	ImportTapebackup catalogImportTapebackupCmd `cmd:"" name:"import-tapebackup" help:"Make an archive of the Python program tapebackup readable here, as it lies on its tapes."`
}

type catalogBackupCmd struct {
	File string `arg:"" help:"A file that does not exist."`
}

// backupCopy is a copy of the catalog that was read back whole.
type backupCopy struct {
	File    string `json:"file"`
	Catalog string `json:"catalog"` // its UUID
	Bytes   int64  `json:"bytes"`
}

func (c *catalogBackupCmd) Run(ctx context.Context, a *app) error {
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Snapshot(ctx, c.File); err != nil {
		return err
	}
	if err := checkBackup(ctx, c.File, db.UUID()); err != nil {
		return errors.Join(fmt.Errorf("the copy is not whole: %w", err), os.Remove(c.File))
	}
	info, err := os.Stat(c.File)
	if err != nil {
		return err
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, backupCopy{c.File, db.UUID(), info.Size()})
	}
	fmt.Fprintf(a.stdout, "wrote %s: catalog %s, %s\n", ui.Printable(c.File), db.UUID(), ui.Bytes(info.Size()))
	return nil
}

// checkBackup reads the copy whole.
func checkBackup(ctx context.Context, file, uuid string) error {
	db, err := catalog.OpenReadOnly(ctx, file)
	if err != nil {
		return err
	}
	defer db.Close()
	if db.UUID() != uuid {
		return fmt.Errorf("it is catalog %s", db.UUID())
	}
	return db.QuickCheck(ctx)
}

type catalogCheckCmd struct {
	Tapes bool     `help:"Mount each tape read-only, too, and compare names and sizes of what it holds."`
	Tape  []string `help:"Only these tapes, with --tapes." placeholder:"BARCODE"`
}

// catalogCheckJSON is what catalog check found.
type catalogCheckJSON struct {
	Findings []catalog.Finding    `json:"findings"`
	Tapes    []archiver.TapeCheck `json:"tapes,omitempty"`
}

func (c *catalogCheckCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	findings, err := db.Check(ctx)
	if err != nil {
		return err
	}
	out := catalogCheckJSON{Findings: findings}
	lines := int64(0)
	for _, f := range findings {
		lines += int64(len(f.Lines)) + f.More
	}
	var tapesErr error
	if c.Tapes || len(c.Tape) > 0 {
		arch, err := a.newArchiver(conf, db, newProgress(a))
		if err != nil {
			return err
		}
		out.Tapes, tapesErr = arch.CheckTapes(ctx, c.Tape)
	}
	if a.JSON {
		err = ui.WriteJSON(a.stdout, out)
	} else {
		c.print(a, out)
	}
	if err == nil && lines > 0 {
		err = withHint(fmt.Errorf("check catalog %s: %s", conf.CatalogPath(), ui.Count(lines, "thing is wrong", "things are wrong")),
			"keep a copy (tapefs catalog backup FILE); moved away, it comes back by tapefs catalog rebuild")
	}
	if errors.Is(tapesErr, archiver.ErrRefused) {
		tapesErr = errors.New("tapes do not hold what the catalog says")
	}
	return errors.Join(err, tapesErr)
}

func (c *catalogCheckCmd) print(a *app, out catalogCheckJSON) {
	for _, f := range out.Findings {
		for _, line := range f.Lines {
			fmt.Fprintf(a.stdout, "%s: %s\n", f.What, ui.Printable(line))
		}
		if f.More > 0 {
			fmt.Fprintf(a.stdout, "%s: and %d more\n", f.What, f.More)
		}
	}
	for _, t := range out.Tapes {
		for _, w := range t.Wrong {
			fmt.Fprintf(a.stdout, "tape %s: %s\n", w.Barcode, strings.TrimPrefix(ui.Printable(w.Name)+": ", ": ")+w.Why)
			if w.Hint != "" {
				fmt.Fprintf(a.stdout, "    hint: %s\n", w.Hint)
			}
		}
		for _, w := range t.Leftover {
			fmt.Fprintf(a.stdout, "tape %s: leftover %s: %s\n", w.Barcode, ui.Printable(w.Name), w.Why)
		}
		if t.Absent != "" {
			fmt.Fprintf(a.stdout, "tape %s was not looked at: %s\n", t.Barcode, t.Absent)
			if t.Hint != "" {
				fmt.Fprintf(a.stdout, "    hint: %s\n", t.Hint)
			}
			continue
		}
		if t.Unlabeled {
			fmt.Fprintf(a.stdout, "tape %s: empty, its format was interrupted: the next run that writes to it labels it first\n", t.Barcode)
			continue
		}
		fmt.Fprintf(a.stdout, "tape %s: %s; %s leftover\n", t.Barcode, ui.Count(int64(t.Files), "object or part", "objects and parts"), ui.Bytes(t.LeftBytes))
	}
	if len(out.Findings) == 0 {
		fmt.Fprintln(a.stdout, "the catalog is whole")
	}
}
