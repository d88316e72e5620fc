package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapefs/tapefs/cmd/tapefs/paper"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// tapeLabelsCmd prints labels, also for tapes that no catalog knows yet.
type tapeLabelsCmd struct {
	Barcode []string `arg:"" help:"Eight characters each, such as AB0001L8, or a range: AB0001L8..AB0020L8."`
	Layout  string   `help:"a4, letter (plain paper with marks to cut at), roll (one label a sheet), or measures in mm of a sheet of labels: sheet, columns x rows, place of the first label, step from one to the next, as in 210x297,2x14,22+18,87+19." default:"a4" placeholder:"LAYOUT"`
	Colors  string   `help:"Colours of digits: usual, or none." enum:"usual,none" default:"usual"`
	Skip    int      `help:"Places of the first sheet that are used up." placeholder:"N"`
	Output  string   `short:"o" help:"Write the PDF to this file, which may exist; else to standard output." placeholder:"FILE"`
}

// maxLabels bounds a range: nobody prints more at once, and a slip of a digit costs no memory.
const maxLabels = 10_000

func (c *tapeLabelsCmd) Run(a *app) error {
	layout, err := paper.ParseLayout(c.Layout)
	if err != nil {
		return usagef("--layout: %w", err)
	}
	var texts []string
	for _, word := range c.Barcode {
		list, err := labelsOf(strings.ToUpper(word))
		if err != nil {
			return usagef("make labels: %w", err)
		}
		if texts = append(texts, list...); len(texts) > maxLabels {
			return usagef("make labels: more than %d at once", maxLabels)
		}
	}
	if each := layout.Columns * layout.Rows; c.Skip < 0 || c.Skip >= each {
		return usagef("--skip %d: a sheet of this layout has %s", c.Skip, ui.Count(int64(each), "place", "places"))
	}
	if a.JSON { // what would be printed
		return writeOutput(a, c.Output, false, func(w io.Writer) error { return ui.WriteJSON(w, texts) })
	}
	return writeOutput(a, c.Output, true, func(w io.Writer) error {
		return paper.WriteLabels(w, paper.Labels{Texts: texts, Layout: layout, Skip: c.Skip, Colors: maps.Clone(paper.Colors[c.Colors]), Printed: time.Now().UTC()})
	})
}

// labelsOf is a label, or the labels of a range: from and to differ in the number at the end of their first six characters.
func labelsOf(word string) ([]string, error) {
	from, to, isRange := strings.Cut(word, "..")
	if err := paper.CheckLabel(from); err != nil || !isRange {
		return []string{from}, err
	}
	if err := paper.CheckLabel(to); err != nil {
		return nil, err
	}
	tape, kind := from[:6], from[6:]
	prefix := strings.TrimRight(tape, "0123456789")
	first, err := strconv.Atoi(tape[len(prefix):])
	last, err2 := strconv.Atoi(strings.TrimPrefix(to[:6], prefix))
	if err != nil || err2 != nil || !strings.HasPrefix(to, prefix) || to[6:] != kind || last < first || last-first >= maxLabels {
		return nil, fmt.Errorf("%s is no range: both ends have the same letters before their number and the same kind, the lower number first, and at most %d lie between", word, maxLabels)
	}
	var list []string
	for n := first; n <= last; n++ {
		list = append(list, fmt.Sprintf("%s%0*d%s", prefix, 6-len(prefix), n, kind))
	}
	return slices.Clip(list), nil
}
