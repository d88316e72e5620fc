package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/inventory"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type tapeCmd struct {
	List   tapeListCmd   `cmd:"" help:"List the tapes of this catalog."`
	Info   tapeInfoCmd   `cmd:"" help:"Say all the catalog knows of one tape."`
	Files  tapeFilesCmd  `cmd:"" help:"List the files that lie on a tape, from the catalog alone."`
	Page   tapePageCmd   `cmd:"" help:"Make a page for the shelf: what is on a tape, and how it is read without tapefs."`
	Labels tapeLabelsCmd `cmd:"" help:"Print labels with bar codes for LTO cartridges."`
	Load   tapeLoadCmd   `cmd:"" help:"Bring a tape into a drive."`
	Unload tapeUnloadCmd `cmd:"" help:"Bring a tape back to its slot, or a free one."`
	Move   tapeMoveCmd   `cmd:"" help:"Move a tape between slots and mail slots."`
	Export tapeExportCmd `cmd:"" help:"Bring full or named tapes to the mail slots and note where they are put."`
	Import tapeImportCmd `cmd:"" help:"Take in what lies in the mail slots, and say who unknown tapes are."`
	Check  tapeCheckCmd  `cmd:"" help:"Run ltfsck over a tape and prove who it is."`
	Trust  tapeTrustCmd  `cmd:"" help:"Use a suspect tape again, on your word: it is written, and its copies count."`
	Repack tapeRepackCmd `cmd:"" help:"Bring what lives on tapes onto others; afterwards they may be erased or retired."`
	Format tapeFormatCmd `cmd:"" help:"Make a tape of a pool: refuses what is not proved blank."`
	Erase  tapeEraseCmd  `cmd:"" help:"Make a tape blank; first it says what would be lost."`
	Retire tapeRetireCmd `cmd:"" help:"Take a tape out of use: written and counted on no more, only read where nothing else is."`
}

// tapeJSON is a tape as list and info print it.
type tapeJSON struct {
	Barcode    string     `json:"barcode"`
	UUID       string     `json:"uuid"`
	Pool       string     `json:"pool"`
	Number     int        `json:"number"`
	Generation int        `json:"generation"`
	State      string     `json:"state"`
	Capacity   int64      `json:"capacity"`
	Free       int64      `json:"free"`
	Used       int64      `json:"used"`
	Leftover   int64      `json:"leftover"`
	Objects    int        `json:"objects"`
	Live       int64      `json:"live"`
	Share      *float64   `json:"live_share,omitempty"` // of what was written: what somebody needs still
	Unsafe     int        `json:"unsafe"`               // files that were written and not proved
	Formatted  *time.Time `json:"formatted,omitempty"`
	Seen       *time.Time `json:"seen,omitempty"`
	Loads      int64      `json:"loads"`
	Place      string     `json:"place,omitempty"`
	Note       string     `json:"note,omitempty"`
	Remedy     string     `json:"remedy,omitempty"` // what gets a suspect tape out of that

	Counters *changer.Counters `json:"counters,omitempty"` // info only: what the cartridge said when it was last mounted here
	Wear     *wearJSON         `json:"wear,omitempty"`     // info only: what drives said of it
}

func tapeOf(ctx context.Context, db *catalog.DB, t catalog.Tape) (tapeJSON, error) {
	objects, live, err := db.TapeObjects(ctx, t.ID)
	if err != nil {
		return tapeJSON{}, err
	}
	parts, err := db.UnsafeParts(ctx)
	unsafe := 0
	for _, p := range parts {
		if p.Tape == t.ID {
			unsafe++
		}
	}
	return tapeJSON{Barcode: t.Barcode, UUID: t.UUID, Pool: t.PoolName, Number: t.Number, Generation: t.Generation,
		State: t.State, Capacity: t.Capacity, Free: inventory.FreeOn(&t), Used: t.Used, Leftover: t.Leftover, Objects: objects, Live: live, Unsafe: unsafe,
		Formatted: ui.TimeOrNil(t.Formatted), Seen: ui.TimeOrNil(t.Seen), Loads: t.Loads, Place: t.Place, Note: t.Note, Remedy: remedy(t)}, err
}

type tapeListCmd struct{}

func (c *tapeListCmd) Run(ctx context.Context, a *app) error {
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := tapeRows(ctx, db)
	if err != nil {
		return err
	}
	lives, err := db.TapeLives(ctx)
	if err != nil {
		return err
	}
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return err
	}
	for i, t := range tapes {
		if life := lives[t.ID]; i < len(rows) && life.Written > 0 {
			share := life.Share()
			rows[i].Share = &share
		}
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, rows)
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.stdout, "no tapes yet: tapefs tape format BARCODE makes one, or archive does where a pool says format_blank: true")
		return nil
	}
	return printTapes(a, rows)
}

func tapeRows(ctx context.Context, db *catalog.DB) ([]tapeJSON, error) {
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	rows := []tapeJSON{}
	for _, t := range tapes {
		row, err := tapeOf(ctx, db, t)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func printTapes(a *app, rows []tapeJSON) error {
	t := ui.NewTable(a.stdout, "TAPE", "POOL", "NO", "STATE", "USED", "FREE", "LEFTOVER", "CAPACITY", "LIVE", "OBJECTS", "LAST USE", "NOTE")
	for _, r := range rows {
		note := r.Note
		if r.Place != "" {
			note = strings.TrimSpace("at " + r.Place + " " + note)
		}
		if r.Unsafe > 0 {
			note = strings.TrimSuffix(fmt.Sprintf("%s not safe yet; %s", ui.Count(int64(r.Unsafe), "file", "files"), note), "; ")
		}
		t.Row(r.Barcode, ui.OrDash(r.Pool), fmt.Sprint(r.Number), r.State, ui.Bytes(r.Used), ui.Bytes(r.Free),
			leftoverText(r.Leftover), ui.Bytes(r.Capacity), shareText(r.Share), fmt.Sprint(r.Objects), ui.DateOr(r.Seen, "-"), note)
	}
	err := t.Flush()
	for _, hint := range suspectHints(rows) {
		fmt.Fprintln(a.stdout, "hint: "+hint)
	}
	return err
}

// shareText is how much of a tape lives, in whole percents, never rounded up to all or down to nothing.
func shareText(share *float64) string {
	if share == nil {
		return "-"
	}
	n := int(*share*100 + 0.5)
	if *share < 1 {
		n = min(n, 99)
	}
	if *share > 0 {
		n = max(n, 1)
	}
	return fmt.Sprintf("%d%%", n)
}

type tapeInfoCmd struct {
	Barcode string `arg:"" help:"The tape's barcode."`
}

func (c *tapeInfoCmd) Run(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	tape, err := knownTape(ctx, db, c.Barcode)
	if err != nil {
		return err
	}
	r, err := tapeOf(ctx, db, tape)
	if err != nil {
		return err
	}
	if r.UUID != "" {
		if c, err := changer.ReadCounters(conf.RunDir(), r.UUID); err == nil {
			r.Counters = &c
		} else if !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn(err.Error())
		}
	}
	if r.Wear, err = tapeWear(ctx, db, tape.ID, r.Barcode); err != nil {
		return err
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, r)
	}
	fmt.Fprintln(a.stdout, r.Barcode)
	t := ui.NewTable(a.stdout)
	t.Row("  volume UUID", ui.OrDash(r.UUID))
	t.Row("  pool", fmt.Sprintf("%s, tape number %d", ui.OrDash(r.Pool), r.Number))
	if r.Generation > 0 {
		t.Row("  generation", fmt.Sprintf("LTO-%d", r.Generation))
	}
	t.Row("  state", strings.TrimSpace(r.State+" "+r.Note))
	if r.Remedy != "" {
		t.Row("  remedy", r.Remedy)
	}
	t.Row("  capacity", ui.Bytes(r.Capacity))
	t.Row("  used", fmt.Sprintf("%s, %s of it in %s that live", ui.Bytes(r.Used), ui.Bytes(r.Live), ui.Count(int64(r.Objects), "object", "objects")))
	t.Row("  free", ui.Bytes(r.Free))
	if r.Unsafe > 0 {
		t.Row("  not safe yet", ui.Count(int64(r.Unsafe), "file", "files")+" that the next archive reads back")
	}
	if r.Leftover > 0 {
		t.Row("  leftover", ui.Bytes(r.Leftover)+" of files that count for nothing")
	}
	t.Row("  formatted", ui.DateOr(r.Formatted, "-"))
	t.Row("  last use", ui.DateOr(r.Seen, "-"))
	t.Row("  loads", fmt.Sprint(r.Loads))
	if r.Place != "" {
		t.Row("  place", r.Place)
	}
	if c := r.Counters; c != nil {
		t.Row("  it said", fmt.Sprintf("%s, in drive %s:", ui.DateOr(&c.Time, "-"), c.Drive))
		t.Row("    partitions", fmt.Sprintf("%s: data %s, %s free; index %s, %s free", ui.OrDash(c.Partitions), ui.Bytes(c.DataCapacity), ui.Bytes(c.DataFree),
			ui.Bytes(c.IndexCapacity), ui.Bytes(c.IndexFree)))
		t.Row("    loads", numberOr(c.Loads))
		t.Row("    in its life", fmt.Sprintf("%s MiB written, %s MiB read", numberOr(c.MiBWritten), numberOr(c.MiBRead)))
		t.Row("    errors", fmt.Sprintf("writing: %s permanent, %s recovered; reading: %s permanent, %s recovered", numberOr(c.PermanentWriteErrors),
			numberOr(c.RecoveredWriteErrors), numberOr(c.PermanentReadErrors), numberOr(c.RecoveredReadErrors)))
		if c.Alert != "" {
			t.Row("    ALERT", c.Alert)
		}
	}
	printTapeWear(t, r.Wear)
	return t.Flush()
}

// numberOr shows a counter, "-" for one that is not known.
func numberOr(n int64) string {
	if n < 0 {
		return "-"
	}
	return humanize.Comma(n)
}

func leftoverText(n int64) string {
	if n == 0 {
		return "-"
	}
	return ui.Bytes(n)
}
