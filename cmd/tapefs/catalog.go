package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"tapefs/archiver"
	"tapefs/catalog"
)

type catalogCmd struct {
	Check   catalogCheckCmd   `cmd:"" help:"Hold the catalog against itself, and with --tapes against what the tapes hold."`
	Backup  catalogBackupCmd  `cmd:"" help:"Copy the catalog, as it is at one moment, to a new file."`
	Rebuild catalogRebuildCmd `cmd:"" help:"Make the catalog anew from tapes and keys, or add tapes that it has not read."`

	ImportTapebackup catalogImportTapebackupCmd `cmd:"" name:"import-tapebackup" help:"Make an archive of the Python program tapebackup readable here, as it lies on its tapes."`
}

type catalogBackupCmd struct {
	File string `arg:"" help:"A file that does not exist."`
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
	fmt.Fprintf(a.stdout, "wrote %s: catalog %s, %s\n", printable(c.File), db.UUID(), bytesText(info.Size()))
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
	Findings []findingJSON   `json:"findings"`
	Tapes    []tapeCheckJSON `json:"tapes,omitempty"`
}

type findingJSON struct {
	What  string   `json:"what"`
	Lines []string `json:"lines"`
	More  int64    `json:"more,omitempty"`
}

type tapeCheckJSON struct {
	Barcode   string        `json:"barcode"`
	Files     int           `json:"files"`
	Wrong     []refusalJSON `json:"wrong"`
	Leftover  []refusalJSON `json:"leftover"`
	LeftBytes int64         `json:"leftover_bytes"`
	Absent    string        `json:"absent,omitempty"`
	Hint      string        `json:"hint,omitempty"`
	Unlabeled bool          `json:"unlabeled,omitempty"`
}

type refusalJSON struct {
	Barcode string `json:"barcode"`
	Name    string `json:"name,omitempty"`
	Why     string `json:"why"`
	Hint    string `json:"hint,omitempty"`
}

func refusalRows(list []archiver.Refusal) []refusalJSON {
	out := []refusalJSON{}
	for _, r := range list {
		out = append(out, refusalJSON(r))
	}
	return out
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
	out := catalogCheckJSON{Findings: []findingJSON{}}
	lines := int64(0)
	for _, f := range findings {
		out.Findings = append(out.Findings, findingJSON(f))
		lines += int64(len(f.Lines)) + f.More
	}
	var tapesErr error
	if c.Tapes || len(c.Tape) > 0 {
		arch, err := a.newArchiver(conf, db, newProgress(a))
		if err != nil {
			return err
		}
		checks, err := arch.CheckTapes(ctx, c.Tape)
		tapesErr = err
		for _, t := range checks {
			out.Tapes = append(out.Tapes, tapeCheckJSON{t.Barcode, t.Files, refusalRows(t.Wrong), refusalRows(t.Leftover), t.LeftBytes, t.Absent, t.Hint, t.Unlabeled})
		}
	}
	if a.JSON {
		err = printJSON(a.stdout, out)
	} else {
		c.print(a, out)
	}
	if err == nil && lines > 0 {
		err = withHint(fmt.Errorf("check catalog %s: %s", conf.catalogPath(), count(lines, "thing is wrong", "things are wrong")),
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
			fmt.Fprintf(a.stdout, "%s: %s\n", f.What, printable(line))
		}
		if f.More > 0 {
			fmt.Fprintf(a.stdout, "%s: and %d more\n", f.What, f.More)
		}
	}
	for _, t := range out.Tapes {
		for _, w := range t.Wrong {
			fmt.Fprintf(a.stdout, "tape %s: %s\n", w.Barcode, strings.TrimPrefix(printable(w.Name)+": ", ": ")+w.Why)
			if w.Hint != "" {
				fmt.Fprintf(a.stdout, "    hint: %s\n", w.Hint)
			}
		}
		for _, w := range t.Leftover {
			fmt.Fprintf(a.stdout, "tape %s: leftover %s: %s\n", w.Barcode, printable(w.Name), w.Why)
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
		fmt.Fprintf(a.stdout, "tape %s: %s; %s leftover\n", t.Barcode, count(int64(t.Files), "object or part", "objects and parts"), bytesText(t.LeftBytes))
	}
	if len(out.Findings) == 0 {
		fmt.Fprintln(a.stdout, "the catalog is whole")
	}
}
