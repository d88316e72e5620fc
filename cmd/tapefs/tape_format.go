package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeFormatCmd struct {
	Barcode    string `arg:"" optional:"" help:"The tape's barcode."`
	Pool       string `help:"The pool it shall belong to; needed where several take this barcode." placeholder:"POOL"`
	Erase      string `help:"Format over what is on the tape: the barcode again, to be sure." placeholder:"BARCODE"`
	LoseCopies bool   `help:"With --erase: also when the tape has the last copy of files: they are gone then."`
	Unproved   bool   `help:"With --erase: also when nothing proves which tape it is, or it is one of this archive that the catalog does not know."`
	AllBlank   bool   `help:"All tapes in the library that the pool takes and the catalog does not know, each once it is proved blank."`
	Yes        bool   `short:"y" help:"With --all-blank: do not ask."`
}

func (c *tapeFormatCmd) Run(ctx context.Context, a *app) error {
	switch {
	case c.AllBlank && (c.Barcode != "" || c.Erase != ""):
		return usagef("--all-blank takes neither a barcode nor --erase: what is not blank is left alone")
	case !c.AllBlank && c.Barcode == "":
		return usagef("name the tape to be formatted, or say --all-blank")
	case c.Erase == "" && (c.LoseCopies || c.Unproved):
		return usagef("--lose-copies and --unproved go with --erase BARCODE")
	case c.Erase != "" && c.Erase != c.Barcode:
		return usagef("--erase %s does not name the tape %s", c.Erase, c.Barcode)
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	pool, err := c.pool(conf.ArchiverPools())
	if err != nil {
		return err
	}
	arch, err := a.newArchiver(conf, db, newProgress(a))
	if err != nil {
		return err
	}
	if c.AllBlank {
		return c.all(ctx, a, arch, db, pool)
	}
	tape, err := arch.FormatTape(ctx, changer.Barcode(c.Barcode), pool,
		archiver.FormatOptions{Erase: c.Erase != "", LoseCopies: c.LoseCopies, Unproved: c.Unproved})
	if err != nil {
		if errors.Is(err, changer.ErrNotBlank) && hintFor(err) == "" {
			return withHint(err, "to destroy what is on it: tapefs tape format %s --erase %s", c.Barcode, c.Barcode)
		}
		return err
	}
	if a.JSON {
		row, err := tapeOf(ctx, db, tape)
		if err != nil {
			return err
		}
		return ui.WriteJSON(a.stdout, row)
	}
	printFormatted(a, tape)
	return nil
}

func printFormatted(a *app, t catalog.Tape) {
	fmt.Fprintf(a.stdout, "formatted %s: tape %d, pool %s, volume %s, %s\n", t.Barcode, t.Number, t.PoolName, t.UUID, ui.Bytes(t.Capacity))
}

// all formats every tape that may be a blank one of the pool, after one question that names them.
func (c *tapeFormatCmd) all(ctx context.Context, a *app, arch *archiver.Archiver, db *catalog.DB, pool string) error {
	tapes, err := arch.Unformatted(ctx, pool)
	if err != nil {
		return err
	}
	rows := []tapeJSON{}
	if len(tapes) == 0 {
		if a.JSON {
			return ui.WriteJSON(a.stdout, rows)
		}
		fmt.Fprintf(a.stdout, "no tape in the library that pool %s takes is unknown to the catalog\n", pool)
		return nil
	}
	names := make([]string, len(tapes))
	for i, b := range tapes {
		names[i] = string(b)
	}
	what := fmt.Sprintf("format for pool %s what is blank of %s: %s", pool, ui.Count(int64(len(tapes)), "tape", "tapes"), strings.Join(names, " "))
	if err := a.confirm(c.Yes, what); err != nil {
		return err
	}
	failed := 0
	for _, b := range tapes {
		t, err := arch.FormatTape(ctx, b, pool, archiver.FormatOptions{})
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, changer.ErrLibraryOffline) || errors.Is(err, archiver.ErrOlder) {
				return err
			}
			report(a.stderr, err, a.globals)
			failed++
			continue
		}
		if !a.JSON {
			printFormatted(a, t)
			continue
		}
		row, err := tapeOf(ctx, db, t)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if a.JSON {
		if err := ui.WriteJSON(a.stdout, rows); err != nil {
			return err
		}
	}
	if failed > 0 {
		return exitStatus(exitPartial) // each was said
	}
	return nil
}

// pool picks the pool that was named, or the only one that takes the tape.
func (c *tapeFormatCmd) pool(pools []archiver.Pool) (string, error) {
	var names, takes []string
	for _, p := range pools {
		if p.Name == c.Pool {
			return p.Name, nil
		}
		names = append(names, p.Name)
		if c.AllBlank || p.Takes(changer.Barcode(c.Barcode)) {
			takes = append(takes, p.Name)
		}
	}
	switch {
	case c.Pool == "" && len(takes) == 1:
		return takes[0], nil
	case c.Pool == "" && len(names) == 1:
		return names[0], nil // refused later, with the reason
	case c.Pool == "" && len(takes) > 1 && !c.AllBlank:
		return "", usagef("--pool: %s may belong to several pools; name one of %s", c.Barcode, strings.Join(takes, ", "))
	}
	return "", usagef("--pool: name one of %s", strings.Join(names, ", "))
}
