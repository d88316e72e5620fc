package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// tapeTrustCmd takes back that a tape is suspect.
type tapeTrustCmd struct {
	Barcode string `arg:"" help:"The tape's barcode."`
	Yes     bool   `short:"y" help:"Do not ask."`
}

// trustJSON is what became of a tape.
type trustJSON struct {
	Barcode string `json:"barcode"`
	Was     string `json:"was"`
	State   string `json:"state"`
	Unread  int    `json:"unread"`  // files on it that were not read back well since it became suspect
	Missing int    `json:"missing"` // files that are not on it any more
}

func (c *tapeTrustCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if c.Barcode, err = spelt(ctx, db, c.Barcode); err != nil {
		return err
	}
	t, err := db.TapeByBarcode(ctx, c.Barcode)
	if err != nil {
		return withHint(err, "tapefs tape list shows the tapes of this catalog")
	}
	row := trustJSON{Barcode: t.Barcode, Was: t.State, State: t.State}
	if !t.Doubted() {
		if a.JSON {
			return ui.WriteJSON(a.stdout, row)
		}
		fmt.Fprintf(a.stdout, "%s is %s, not suspect: nothing was changed\n", t.Barcode, t.State)
		return nil
	}
	doubt, err := db.Doubt(ctx, t.ID)
	if err != nil {
		return err
	}
	row.Unread, row.Missing = doubt.Unread, doubt.Missing
	if err := a.confirm(c.Yes, fmt.Sprintf("trust %s again, %s", t.Barcode, doubtText(t, doubt))); err != nil {
		return err
	}
	arch, err := a.newReader(conf, db)
	if err != nil {
		return err
	}
	if t, row.Was, err = arch.TrustTape(ctx, c.Barcode); err != nil {
		return err
	}
	row.State = t.State
	if a.JSON {
		return ui.WriteJSON(a.stdout, row)
	}
	fmt.Fprintf(a.stdout, "%s is trusted again, and %s\n", t.Barcode, t.State)
	return nil
}

// doubtText says what speaks against a tape.
func doubtText(t catalog.Tape, d catalog.TapeDoubt) string {
	text := "which is suspect"
	if t.Note != "" {
		text += ": " + t.Note
	}
	var more []string
	if d.Unread > 0 {
		more = append(more, fmt.Sprintf("%s not read back well since", ui.Count(int64(d.Unread), "file was", "files were")))
	}
	if d.Missing > 0 {
		more = append(more, fmt.Sprintf("%s missing there", ui.Count(int64(d.Missing), "file is", "files are")))
	}
	if len(more) > 0 {
		text += "; " + strings.Join(more, ", ")
	}
	return text
}

// suspectHints are the hints for the suspect tapes of a list.
func suspectHints(rows []tapeJSON) (hints []string) {
	for _, r := range rows {
		if r.Remedy != "" {
			hints = append(hints, r.Barcode+" is suspect: "+r.Remedy)
		}
	}
	return hints
}

// remedy is what gets a tape out of suspicion; "" if it is not suspect.
func remedy(t catalog.Tape) string {
	if !t.Suspect() {
		return ""
	}
	return volume.SuspectHint(t.Barcode)
}
