package main

import (
	"context"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// wearJSON is what drives said of a tape or of themselves: the newest, the oldest that is kept, and what follows from them.
type wearJSON struct {
	Newest *wornJSON         `json:"newest,omitempty"`
	Oldest *wornJSON         `json:"oldest,omitempty"` // unless it is the newest
	Advice []archiver.Advice `json:"advice"`
}

// wornJSON has -1 where a drive did not say.
type wornJSON struct {
	Time         time.Time `json:"time"`
	Drive        string    `json:"drive"`
	Alerts       []int     `json:"alerts,omitempty"`
	Loads        int64     `json:"loads"`
	MBWritten    int64     `json:"mb_written"`
	MBRead       int64     `json:"mb_read"`
	WriteRetries int64     `json:"write_retries"`
	ReadRetries  int64     `json:"read_retries"`
	WriteErrors  int64     `json:"write_errors"`
	ReadErrors   int64     `json:"read_errors"`
	DriveLoads   int64     `json:"drive_loads"`
	Cleanings    int64     `json:"cleanings"`
	PoweredHours int64     `json:"powered_hours"`
	MovingHours  int64     `json:"moving_hours"`
	Metres       int64     `json:"metres"`
}

func wornOf(w catalog.Worn) *wornJSON {
	return &wornJSON{w.Time, w.Drive, w.Alerts, w.Loads, w.MBWritten, w.MBRead, w.WriteRetries, w.ReadRetries, w.WriteErrors, w.ReadErrors,
		w.DriveLoads, w.Cleanings, w.PoweredHours, w.MovingHours, w.Metres}
}

// wearOf has the ends of a history, the newest first, nil for none.
func wearOf(history []catalog.Worn, advice []archiver.Advice) *wearJSON {
	if len(history) == 0 {
		return nil
	}
	w := &wearJSON{Newest: wornOf(history[0]), Advice: advice}
	if n := len(history) - 1; n > 0 {
		w.Oldest = wornOf(history[n])
	}
	return w
}

// tapeWear is what is known of a tape's wear, nil for nothing.
func tapeWear(ctx context.Context, db *catalog.DB, id int64, barcode string) (*wearJSON, error) {
	history, err := db.Wear().OfTape(ctx, id)
	if err != nil {
		return nil, err
	}
	return wearOf(history, volume.TapeAdvice(barcode, history, time.Now())), nil
}

// driveWear is what is known of a drive's wear, nil for nothing.
func driveWear(ctx context.Context, db *catalog.DB, number int, serial string) (*wearJSON, error) {
	history, err := db.Wear().OfDrive(ctx, serial)
	if err != nil {
		return nil, err
	}
	var cleaned time.Time
	drives, err := db.Drives(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range drives {
		if d.Serial == serial {
			cleaned = d.Cleaned
		}
	}
	return wearOf(history, volume.DriveAdvice(number, history, cleaned, time.Now())), nil
}

// worseJSON is a tape or a drive that gets worse, as status shows it.
type worseJSON struct {
	Tape  string `json:"tape,omitempty"`
	Drive string `json:"drive,omitempty"`
	archiver.Advice
}

// gettingWorse lists tapes and configured drives that should be seen to before they fail. Tapes that are out of use are left out.
func gettingWorse(ctx context.Context, conf *settings, db *catalog.DB) ([]worseJSON, error) {
	rows := []worseJSON{}
	ids, err := db.Wear().Tapes(ctx)
	if err != nil {
		return nil, err
	}
	worn := map[int64]bool{}
	for _, id := range ids {
		worn[id] = true
	}
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tapes {
		if !worn[t.ID] || t.State == catalog.TapeRetired {
			continue
		}
		w, err := tapeWear(ctx, db, t.ID, t.Barcode)
		if err != nil {
			return nil, err
		}
		for _, a := range w.Advice {
			rows = append(rows, worseJSON{Tape: t.Barcode, Advice: a})
		}
	}
	for _, d := range conf.Library.Drives {
		w, err := driveWear(ctx, db, d.Element, d.Serial)
		if err != nil {
			return nil, err
		}
		if w == nil {
			continue
		}
		for _, a := range w.Advice {
			rows = append(rows, worseJSON{Drive: d.Serial, Advice: a})
		}
	}
	return rows, nil
}

func printWorse(t *ui.Table, rows []worseJSON) {
	for _, r := range rows {
		who := "tape " + r.Tape
		if r.Drive != "" {
			who = "drive " + r.Drive
		}
		t.Row("GETS WORSE", who+"  "+r.Advice.String())
	}
}

// printTapeWear shows a tape's wear: each count, and by how much it rose since the oldest day that is kept.
func printTapeWear(t *ui.Table, w *wearJSON) {
	if w == nil {
		return
	}
	n := w.Newest
	if n.Loads >= 0 || n.MBWritten >= 0 {
		t.Row("  wear", fmt.Sprintf("%s, by drive %s:", ui.DateOr(&n.Time, "-"), n.Drive))
		t.Row("    loads", w.trend(func(x *wornJSON) int64 { return x.Loads }))
		t.Row("    MB written", w.trend(func(x *wornJSON) int64 { return x.MBWritten }))
		t.Row("    MB read", w.trend(func(x *wornJSON) int64 { return x.MBRead }))
		t.Row("    corrected", "writing "+w.trend(func(x *wornJSON) int64 { return x.WriteRetries })+"; reading "+w.trend(func(x *wornJSON) int64 { return x.ReadRetries }))
		t.Row("    not corrected", "writing "+w.trend(func(x *wornJSON) int64 { return x.WriteErrors })+"; reading "+w.trend(func(x *wornJSON) int64 { return x.ReadErrors }))
	}
	for _, a := range w.Advice {
		t.Row("  GETS WORSE", a.String())
	}
}

// trend shows a count and its rise: "1,030 (+500 since 2026-10-01)".
func (w *wearJSON) trend(count func(*wornJSON) int64) string {
	now := count(w.Newest)
	text := numberOr(now)
	if w.Oldest == nil || now < 0 {
		return text
	}
	if before := count(w.Oldest); before >= 0 && before < now {
		text += fmt.Sprintf(" (+%s since %s)", humanize.Comma(now-before), w.Oldest.Time.UTC().Format(time.DateOnly))
	}
	return text
}

// driveWearText says in a line what a drive counts of itself, "" when it counts nothing.
func driveWearText(w *wearJSON) string {
	if w == nil || w.Newest.DriveLoads < 0 && w.Newest.PoweredHours < 0 {
		return ""
	}
	return fmt.Sprintf("%s loads, %s cleanings, %s hours on, %s of them with the tape moving, %s m of tape", w.trend(func(x *wornJSON) int64 { return x.DriveLoads }),
		w.trend(func(x *wornJSON) int64 { return x.Cleanings }), w.trend(func(x *wornJSON) int64 { return x.PoweredHours }),
		w.trend(func(x *wornJSON) int64 { return x.MovingHours }), w.trend(func(x *wornJSON) int64 { return x.Metres }))
}
