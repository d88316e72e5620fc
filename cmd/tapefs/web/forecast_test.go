package web

import (
	"testing"
	"time"
)

func TestForecast(t *testing.T) {
	const tape, day = 12 << 40, 24 * time.Hour
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	base := poolForecast{Pool: "main", Free: 5 << 40, Size: tape}
	for name, c := range map[string]struct {
		written   int64
		within    time.Duration
		in3, in12 int
		full      int // days until what is free is full; 0: never
	}{
		"nothing was written":         {0, 90 * day, 0, 0, 0},
		"what is free lasts":          {90 << 30, 90 * day, 0, 0, 0},  // 1 GiB a day: 14 years
		"a tape every two months":     {18 << 40, 90 * day, 2, 6, 25}, // 0.2 TiB a day: 18.25 and 73 TiB, less 5
		"less than a day counts as 1": {1 << 40, time.Hour, 8, 30, 5}, // 1 TiB a day
	} {
		f := forecastOf(base, c.written, c.within, now)
		full := 0
		if !f.Until.IsZero() {
			full = int(f.Until.Sub(now) / day)
		}
		if f.In3 != c.in3 || f.In12 != c.in12 || full != c.full {
			t.Errorf("%s: %d tapes in 3 months, %d in 12, full in %d days; want %d, %d, %d", name, f.In3, f.In12, full, c.in3, c.in12, c.full)
		}
	}
}

// Every point of a plot lies within its picture, the largest at the top and nothing below the zero line.
func TestPlot(t *testing.T) {
	start := time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC)
	var rows []runRow
	for i := range 20 {
		at := start.AddDate(0, 0, i)
		rows = append([]runRow{{ID: int64(i + 1), Started: at, Ended: at.Add(time.Duration(i) * time.Minute), Took: time.Duration(i) * time.Minute,
			Written: int64(i) << 30, Rate: float64(i * 1000), State: "done"}}, rows...)
	}
	plots := plotsOf(rows)
	if len(plots) != 3 {
		t.Fatalf("%d plots", len(plots))
	}
	for _, p := range plots {
		if len(p.Points) != 19 { // the first one wrote nothing
			t.Errorf("%s has %d points", p.Title, len(p.Points))
		}
		for i, at := range p.Points {
			if at.X < plotLeft || at.X > plotWidth || at.Y < plotTop-0.01 || at.Y > plotHeight-plotBottom {
				t.Errorf("%s: run %d is drawn at %v, %v", p.Title, at.Run, at.X, at.Y)
			}
			if i > 0 && (at.X <= p.Points[i-1].X || at.Y >= p.Points[i-1].Y) {
				t.Errorf("%s: run %d does not follow run %d upwards", p.Title, at.Run, p.Points[i-1].Run)
			}
		}
	}
	if plotsOf(rows[:1]) != nil {
		t.Error("one run is plotted")
	}
}
