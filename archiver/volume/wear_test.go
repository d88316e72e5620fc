package volume

import (
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// worn is a row of n days ago in which the drive said nothing but what is set afterwards.
func worn(days int, set func(*catalog.Worn)) catalog.Worn {
	w := catalog.Worn{Time: wearNow.Add(-time.Duration(days) * 24 * time.Hour), Drive: "DRV1", Tape: 1, Loads: -1, MBWritten: -1, MBRead: -1, WriteRetries: -1,
		ReadRetries: -1, WriteErrors: -1, ReadErrors: -1, DriveLoads: -1, Cleanings: -1, PoweredHours: -1, MovingHours: -1, Metres: -1}
	if set != nil {
		set(&w)
	}
	return w
}

var wearNow = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func flags(days int, drive string, tape int64, alerts ...int) catalog.Worn {
	return worn(days, func(w *catalog.Worn) { w.Drive, w.Tape, w.Alerts = drive, tape, alerts })
}

func written(days int, mb, retries int64) catalog.Worn {
	return worn(days, func(w *catalog.Worn) { w.MBWritten, w.WriteRetries = mb, retries })
}

func failedWrites(days int, n int64) catalog.Worn {
	return worn(days, func(w *catalog.Worn) { w.WriteErrors = n })
}

// What is said of a tape, the newest first, and what that means.
func TestTapeAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		history []catalog.Worn
		want    []string
	}{
		"nothing known":              {nil, nil},
		"all is well":                {[]catalog.Worn{written(1, 6268401, 25), failedWrites(2, 0)}, nil},
		"end of life, long ago":      {[]catalog.Worn{flags(1, "DRV1", 1), flags(400, "DRV1", 1, 7)}, []string{"TapeAlert 7: media life: the tape has reached the end of its calculated life (2025-10-25): copy what lives on it to others with tapefs tape repack VT0001L8, then tapefs tape retire VT0001L8"}},
		"one drive reads badly":      {[]catalog.Worn{flags(1, "DRV1", 1, 5), flags(2, "DRV1", 1, 5)}, []string{"TapeAlert 5: read failure (2026-11-28): try the tape in another drive"}},
		"two drives read badly":      {[]catalog.Worn{flags(1, "DRV1", 1, 5), flags(2, "DRV2", 1, 5)}, []string{"TapeAlert 5: read failure (2026-11-28) in 2 drives: copy what lives on it"}},
		"read badly, long ago":       {[]catalog.Worn{flags(1, "DRV1", 1), flags(200, "DRV1", 1, 5)}, nil},
		"about the drive":            {[]catalog.Worn{flags(1, "DRV1", 1, 20, 38, 36)}, nil},
		"about nothing worn":         {[]catalog.Worn{flags(1, "DRV1", 1, 9, 10, 60)}, nil},
		"errors that were there":     {[]catalog.Worn{failedWrites(1, 2), failedWrites(9, 2)}, []string{"2 errors of writing that could not be corrected: tapefs verify --tape VT0001L8"}},
		"errors that came":           {[]catalog.Worn{failedWrites(1, 3), worn(2, nil), failedWrites(9, 1)}, []string{"3 errors of writing that could not be corrected, 2 of them since 2026-11-20: tapefs verify"}},
		"more is corrected":          {[]catalog.Worn{written(1, 300_000, 1030), written(5, 250_000, 530), written(9, 200_000, 30)}, []string{"66 times as many errors are corrected in writing it as before: tapefs verify"}},
		"a little more is corrected": {[]catalog.Worn{written(1, 300_000, 230), written(9, 200_000, 130)}, nil},
		"too little was written":     {[]catalog.Worn{written(1, 230_000, 1030), written(9, 200_000, 30)}, nil},
	} {
		checkAdvice(t, name, TapeAdvice("VT0001L8", c.history, wearNow), c.want)
	}
}

func checkAdvice(t *testing.T, name string, got []Advice, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		ok = ok && strings.HasPrefix(got[i].String(), want[i])
	}
	if !ok {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestDriveAdvice(t *testing.T) {
	cleanings := func(days int, n int64, alerts ...int) catalog.Worn {
		return worn(days, func(w *catalog.Worn) { w.Cleanings, w.Alerts = n, alerts })
	}
	for name, c := range map[string]struct {
		history []catalog.Worn
		cleaned time.Time
		want    []string
	}{
		"due":                       {[]catalog.Worn{cleanings(1, 3), cleanings(2, 3, 21)}, time.Time{}, []string{"TapeAlert 21: the drive is due for cleaning (2026-11-27): tapefs drive clean 1"}},
		"due, and nobody counts":    {[]catalog.Worn{flags(1, "DRV1", 1), flags(2, "DRV1", 1, 20)}, time.Time{}, []string{"TapeAlert 20: the drive has to be cleaned now"}},
		"cleaned by the library":    {[]catalog.Worn{cleanings(1, 4), cleanings(2, 3, 21)}, time.Time{}, nil},
		"cleaned by tapefs":         {[]catalog.Worn{flags(1, "DRV1", 1), flags(2, "DRV1", 1, 20)}, wearNow.Add(-time.Hour), nil},
		"cleaned, and due again":    {[]catalog.Worn{cleanings(0, 4, 20), cleanings(2, 3, 20)}, wearNow.Add(-time.Hour), []string{"TapeAlert 20: the drive has to be cleaned now"}},
		"predicts its failure":      {[]catalog.Worn{flags(1, "DRV1", 1, 38)}, time.Time{}, []string{"TapeAlert 38: the drive predicts that it will fail (2026-11-28): have the drive serviced"}},
		"predicted it, long ago":    {[]catalog.Worn{flags(1, "DRV1", 1), flags(200, "DRV1", 1, 38)}, time.Time{}, nil},
		"writes three tapes badly":  {[]catalog.Worn{flags(1, "DRV1", 1, 6), flags(2, "DRV1", 2, 6), flags(3, "DRV1", 3, 6)}, time.Time{}, []string{"TapeAlert 6: write failure (2026-11-28) with 3 tapes: clean the drive"}},
		"writes two tapes badly":    {[]catalog.Worn{flags(1, "DRV1", 1, 6), flags(2, "DRV1", 2, 6)}, time.Time{}, nil},
		"a tape at the end of life": {[]catalog.Worn{flags(1, "DRV1", 1, 7)}, time.Time{}, nil},
	} {
		checkAdvice(t, name, DriveAdvice(1, c.history, c.cleaned, wearNow), c.want)
	}
}
