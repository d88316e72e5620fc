package web

import (
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize"
)

// The size of a plot, in the units of its picture. Text needs room below and to the left.
const (
	plotWidth, plotHeight    = 720, 150
	plotLeft, plotBottom     = 70, 22
	plotTop, plotRightMargin = 12, 12
)

// plot is one measure of the runs over time.
type plot struct {
	Title  string
	Points []plotPoint
	Ticks  []plotTick // the scale at the left
	Days   []plotTick // the scale below
}

// plotPoint is a run; Y is where its value is, Base the zero line.
type plotPoint struct {
	X, Y, Base float64
	State      string
	Text       string
	Run        int64
}

// plotTick is a label of a scale.
type plotTick struct {
	At   float64
	Text string
}

// plotsOf draws bytes, duration and rate of the runs that ended and wrote something.
func plotsOf(rows []runRow) []plot {
	wrote := slices.DeleteFunc(slices.Clone(rows), func(r runRow) bool { return r.Written == 0 || r.Ended.IsZero() })
	if len(wrote) < 2 {
		return nil // nothing to compare
	}
	slices.Reverse(wrote)
	size := func(v float64) string { return humanize.IBytes(uint64(v)) }
	return []plot{
		plotOf("Written to tape", wrote, func(r runRow) float64 { return float64(r.Written) }, size),
		plotOf("Duration", wrote, func(r runRow) float64 { return r.Took.Seconds() }, func(v float64) string {
			return time.Duration(v * float64(time.Second)).Round(time.Second).String()
		}),
		plotOf("Rate while writing", wrote, func(r runRow) float64 { return r.Rate }, func(v float64) string { return size(v) + "/s" }),
	}
}

// plotOf draws one measure. rows are in the order of time, and there are at least two.
func plotOf(title string, rows []runRow, value func(runRow) float64, text func(float64) string) plot {
	p := plot{Title: title}
	first, last := rows[0].Started, rows[len(rows)-1].Started
	span := max(last.Sub(first).Seconds(), 1)
	top := 1.0
	for _, r := range rows {
		top = max(top, value(r))
	}
	base := float64(plotHeight - plotBottom)
	x := func(t time.Time) float64 {
		return plotLeft + t.Sub(first).Seconds()/span*float64(plotWidth-plotLeft-plotRightMargin)
	}
	y := func(v float64) float64 { return base - v/top*(base-plotTop) }
	for _, r := range rows {
		v := value(r)
		p.Points = append(p.Points, plotPoint{X: x(r.Started), Y: y(v), Base: base, State: r.State, Run: r.ID,
			Text: fmt.Sprintf("run %d, %s: %s, %s", r.ID, r.Started.Local().Format("2006-01-02 15:04"), text(v), r.State)})
	}
	for _, part := range []float64{0, 0.5, 1} {
		p.Ticks = append(p.Ticks, plotTick{y(top * part), text(top * part)})
	}
	day := "2006-01-02"
	if last.Sub(first) < 48*time.Hour {
		day += " 15:04"
	}
	p.Days = []plotTick{{x(first), first.Local().Format(day)}, {x(last), last.Local().Format(day)}}
	return p
}
