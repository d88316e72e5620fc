package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeEraseCmd struct {
	Barcode    string `arg:"" help:"The tape's barcode."`
	Long       bool   `help:"Write over the whole tape: hours. Else its end of data is put at the beginning."`
	LoseCopies bool   `help:"Also when the tape has the last copy of files: they are gone then."`
	Unproved   bool   `help:"Also when the tape cannot be mounted to prove who it is."`
	Yes        bool   `short:"y" help:"Do not ask."`
}

// lossJSON is what goes with a tape.
type lossJSON struct {
	Barcode  string   `json:"barcode"`
	Held     string   `json:"held,omitempty"`
	Volume   string   `json:"volume,omitempty"`
	Objects  int      `json:"objects"`
	Bytes    int64    `json:"bytes"`
	Versions int      `json:"versions"` // whose last copy it had
	Last     []string `json:"last,omitempty"`
	Owed     int      `json:"owed,omitempty"` // copies that are to be made anew because it was retired
}

func lossOf(e archiver.Erasure) lossJSON {
	return lossJSON{Barcode: e.Barcode, Held: e.Holds, Volume: e.Volume, Objects: e.Loss.Objects, Bytes: e.Loss.Bytes,
		Versions: e.Loss.Versions, Last: e.Last}
}

// text says what goes, before it goes.
func (l lossJSON) text() string {
	text := l.Held
	if l.Objects > 0 {
		text += fmt.Sprintf(", %s of the catalog (%s)", ui.Count(int64(l.Objects), "copy", "copies"), ui.Bytes(l.Bytes))
	}
	if l.Versions > 0 {
		var names []string
		for _, path := range l.Last {
			names = append(names, ui.Printable(path))
		}
		text += fmt.Sprintf(", AND THE LAST COPY of %s: %s", ui.Count(int64(l.Versions), "version", "versions"), strings.Join(names, ", "))
		if len(l.Last) < l.Versions {
			text += ", …"
		}
	}
	return text
}

func (c *tapeEraseCmd) Run(ctx context.Context, a *app) error {
	ctx = a.patient(ctx)
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	arch, err := a.newArchiver(conf, db, newProgress(a))
	if err != nil {
		return err
	}
	confirm := func(e archiver.Erasure) error {
		return a.confirm(c.Yes, fmt.Sprintf("erase %s, which holds %s", c.Barcode, lossOf(e).text()))
	}
	e, err := arch.EraseTape(ctx, changer.Barcode(c.Barcode), archiver.EraseOptions{Long: c.Long, LoseCopies: c.LoseCopies,
		Unproved: c.Unproved, Confirm: confirm})
	if err != nil {
		return err
	}
	row := lossOf(e)
	if a.JSON {
		return ui.WriteJSON(a.stdout, row)
	}
	fmt.Fprintf(a.stdout, "erased %s; it held %s\n", c.Barcode, row.text())
	return nil
}

type tapeRetireCmd struct {
	Barcode string `arg:"" help:"The tape's barcode."`
	Reason  string `help:"Why, for people." placeholder:"TEXT" default:"retired"`
}

func (c *tapeRetireCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	arch, err := a.newArchiver(conf, db, newProgress(a))
	if err != nil {
		return err
	}
	if c.Barcode, err = spelt(ctx, db, c.Barcode); err != nil {
		return err
	}
	owed, err := arch.RetireTape(ctx, c.Barcode, c.Reason)
	if err != nil {
		return err
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, lossJSON{Barcode: c.Barcode, Owed: owed})
	}
	fmt.Fprintf(a.stdout, "%s is retired: nothing is written to it any more; %s to be made on other tapes\n", c.Barcode,
		ui.Count(int64(owed), "copy is", "copies are"))
	return nil
}
