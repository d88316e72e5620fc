package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// RecordWear records what a drive said of itself and of the cartridge in it. The tape is known by its volume's UUID; one whose volume
// did not mount, by its label.
func RecordWear(ctx context.Context, db *catalog.DB, w changer.Wear) error {
	var t catalog.Tape
	var err error
	if w.UUID != "" {
		t, err = db.TapeByUUID(ctx, w.UUID)
	} else if w.Barcode != "" {
		t, err = db.TapeByBarcode(ctx, string(w.Barcode))
	}
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	flags := make([]int, len(w.Alerts))
	for i, a := range w.Alerts {
		flags[i] = int(a)
	}
	return db.Wear().Record(ctx, catalog.Worn{Time: w.At, Drive: w.Drive, Tape: t.ID, Alerts: flags,
		Loads: w.Tape.Loads, MBWritten: w.Tape.MBWritten, MBRead: w.Tape.MBRead, WriteRetries: w.Tape.WriteRetries, ReadRetries: w.Tape.ReadRetries,
		WriteErrors: w.Tape.WriteErrors, ReadErrors: w.Tape.ReadErrors,
		DriveLoads: w.Own.Loads, Cleanings: w.Own.Cleanings, PoweredHours: w.Own.PoweredHours, MovingHours: w.Own.MovingHours, Metres: w.Own.MetresMoved})
}

// Advice is a sign that a tape or a drive gets worse, and what to do before it fails.
type Advice struct {
	What string `json:"what"`
	Todo string `json:"todo"`
}

func (a Advice) String() string { return a.What + ": " + a.Todo }

const (
	alertsCount  = 90 * 24 * time.Hour // flags that say nothing for ever are forgotten after so long
	noisyMB      = 50_000              // what has to be written or read before a rate of errors means anything, 10^6 bytes
	noisyRetries = 100                 // … and how many errors there have to be
	noisyTimes   = 10                  // so many times as many errors as before are a sign
	drivesAgree  = 2                   // a flag that so many drives raise for one tape is about the tape
	tapesAgree   = 3                   // a flag that one drive raises for so many tapes is about the drive
)

// TapeAdvice judges what drives said of a tape, the newest first.
func TapeAdvice(barcode string, history []catalog.Worn, now time.Time) (list []Advice) {
	away := fmt.Sprintf("copy what lives on it to others with tapefs tape repack %s, then tapefs tape retire %s", barcode, barcode)
	for _, r := range raised(history) {
		switch a := r.alert; {
		case a.Retire():
			list = append(list, Advice{r.text(), away})
		case now.Sub(r.last) > alertsCount:
		case a.About() == changer.AboutEither && len(r.drives) >= drivesAgree:
			list = append(list, Advice{fmt.Sprintf("%s in %d drives", r.text(), len(r.drives)), away})
		case a.About() == changer.AboutEither || a.About() == changer.AboutTape && a.Todo() != "":
			list = append(list, Advice{r.text(), a.Todo()})
		}
	}
	read := fmt.Sprintf("tapefs verify --tape %s; if that finds damage, or the number rises: %s", barcode, away)
	if n, since := rose(history, func(w catalog.Worn) int64 { return w.WriteErrors }); n > 0 {
		list = append(list, Advice{fmt.Sprintf("%d errors of writing that could not be corrected%s", n, since), read})
	}
	if n, since := rose(history, func(w catalog.Worn) int64 { return w.ReadErrors }); n > 0 {
		list = append(list, Advice{fmt.Sprintf("%d errors of reading that could not be corrected%s", n, since), read})
	}
	for _, k := range []struct {
		what  string
		count func(catalog.Worn) (retries, mb int64)
	}{
		{"writing", func(w catalog.Worn) (int64, int64) { return w.WriteRetries, w.MBWritten }},
		{"reading", func(w catalog.Worn) (int64, int64) { return w.ReadRetries, w.MBRead }},
	} {
		if times := noisier(history, k.count); times > 0 {
			list = append(list, Advice{fmt.Sprintf("%d times as many errors are corrected in %s it as before", times, k.what), read})
		}
	}
	return list
}

// DriveAdvice judges what a drive said, the newest first. cleaned is when tapefs cleaned it last.
func DriveAdvice(number int, history []catalog.Worn, cleaned, now time.Time) (list []Advice) {
	for _, r := range raised(history) {
		about := r.alert.About()
		switch {
		case about == changer.AboutCleaning && !cleanedSince(history, r.last, cleaned):
			list = append(list, Advice{r.text(), fmt.Sprintf("tapefs drive clean %d", number)})
		case now.Sub(r.last) > alertsCount:
		case about == changer.AboutDrive:
			list = append(list, Advice{r.text(), r.alert.Todo()})
		case about == changer.AboutEither && len(r.tapes) >= tapesAgree:
			list = append(list, Advice{fmt.Sprintf("%s with %d tapes", r.text(), len(r.tapes)), "clean the drive: tapefs drive clean; if it comes back, have the drive serviced"})
		}
	}
	return list
}

// raisedAlert is a flag, when it was raised last, and by what.
type raisedAlert struct {
	alert  changer.TapeAlert
	last   time.Time
	drives map[string]bool
	tapes  map[int64]bool
}

func (r raisedAlert) text() string {
	return fmt.Sprintf("%s (%s)", r.alert, r.last.UTC().Format(time.DateOnly))
}

// raised lists the flags of a history by number.
func raised(history []catalog.Worn) (list []raisedAlert) {
	at := map[int]int{}
	for _, w := range history {
		for _, f := range w.Alerts {
			i, ok := at[f]
			if !ok {
				i, at[f] = len(list), len(list)
				list = append(list, raisedAlert{changer.TapeAlert(f), w.Time, map[string]bool{}, map[int64]bool{}})
			}
			list[i].drives[w.Drive], list[i].tapes[w.Tape] = true, true
		}
	}
	slices.SortFunc(list, func(a, b raisedAlert) int { return int(a.alert) - int(b.alert) })
	return list
}

// cleanedSince reports whether the drive was cleaned after a time: by tapefs, or by its own count, as a library does it.
func cleanedSince(history []catalog.Worn, at, cleaned time.Time) bool {
	if cleaned.After(at) {
		return true
	}
	newest, then := int64(-1), int64(-1)
	for _, w := range history {
		newest = max(newest, w.Cleanings)
		if !w.Time.After(at) {
			then = max(then, w.Cleanings)
		}
	}
	return then >= 0 && newest > then
}

// rose is the newest count, -1 unknown, and since when it is more than it was, if that is known.
func rose(history []catalog.Worn, count func(catalog.Worn) int64) (n int64, since string) {
	n = -1
	for _, w := range history {
		switch c := count(w); {
		case c < 0: // not said
		case n < 0:
			n = c
		case c < n:
			return n, fmt.Sprintf(", %d of them since %s", n-c, w.Time.UTC().Format(time.DateOnly))
		}
	}
	return n, ""
}

// noisier compares the newest use of a tape, of stretches that are long enough to tell, with all of its life before: how many times as
// many errors were corrected for each byte; 0 for no such sign.
func noisier(history []catalog.Worn, count func(catalog.Worn) (retries, mb int64)) int64 {
	const unused = -1
	newestRetries, newestMB := int64(unused), int64(unused)
	for _, w := range history {
		retries, mb := count(w)
		switch {
		case retries < 0 || mb < 0:
		case newestMB == unused:
			newestRetries, newestMB = retries, mb
		case newestMB-mb >= noisyMB && mb >= noisyMB:
			now := float64(newestRetries-retries) / float64(newestMB-mb)
			before := float64(max(1, retries)) / float64(mb)
			if newestRetries-retries >= noisyRetries && now >= noisyTimes*before {
				return int64(now / before)
			}
		}
	}
	return 0
}
