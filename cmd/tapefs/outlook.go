package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// sayOutlook prints what a job that reads tapes would do: "restore would read", of how many "files".
func sayOutlook(a *app, what, one, many string, o *archiver.Outlook) error {
	if a.JSON {
		return ui.WriteJSON(a.stdout, o)
	}
	fmt.Fprintln(a.stdout, outlookLine(what, one, many, o))
	for _, t := range o.Tapes {
		place := map[string]string{"drive": "in a drive", "slot": "in the library", "outside": "NOT in the library"}[string(t.Place)]
		fmt.Fprintf(a.stdout, "  %-10s %9s  %s, %s, about %s\n", t.Barcode, ui.Bytes(t.Bytes), place, ui.Count(t.Jumps, "place", "places"), aboutText(t.Seconds))
	}
	if len(o.Guessed) > 0 && len(o.Tapes) > 0 {
		fmt.Fprintf(a.stdout, "  this library never timed %s: usual figures of LTO drives stand in\n", guessedText(o.Guessed))
	}
	return nil
}

// outlookLine sums an outlook up.
func outlookLine(what, one, many string, o *archiver.Outlook) string {
	line := fmt.Sprintf("%s %s of %s from tape", what, ui.Bytes(o.Bytes), ui.Count(o.Files, one, many))
	if o.Bytes > 0 {
		line += fmt.Sprintf(": %s to load, about %s", ui.Count(int64(o.Loads), "tape", "tapes"), aboutText(o.Seconds))
	}
	if o.Present > 0 {
		line += fmt.Sprintf("; %s there already", ui.Count(o.Present, "file is", "files are"))
	}
	if o.Spooled > 0 {
		line += fmt.Sprintf("; %s in the spool", ui.Count(o.Spooled, "file is", "files are"))
	}
	if o.Lost > 0 {
		line += fmt.Sprintf("; no copy is left of %s", ui.Count(o.Lost, "file", "files"))
	}
	for _, p := range o.Unknown {
		line += fmt.Sprintf("; nothing is called %s", p)
	}
	return line
}

// aboutText rounds a duration to what an estimate is worth.
func aboutText(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%d s", seconds)
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min", (seconds+30)/60)
	}
	return fmt.Sprintf("%d h %02d min", seconds/3600, seconds%3600/60)
}

func guessedText(list []catalog.TimedWork) string {
	words := map[catalog.TimedWork]string{catalog.TimedLoad: "a load", catalog.TimedLocate: "a locate", catalog.TimedStream: "reading on"}
	var all []string
	for _, what := range list {
		all = append(all, words[what])
	}
	return strings.Join(all, ", ")
}

// outlookError tells by the exit code that an operator or something lost stands in the way.
func outlookError(o *archiver.Outlook) error {
	outside := o.Outside()
	switch {
	case len(outside) > 0:
		return withHint(fmt.Errorf("%w: not in the library: %s", archiver.ErrNeedsOperator, strings.Join(outside, ", ")), "put them into the library first; tapefs status shows where tapes are")
	case o.Lost > 0 || len(o.Unknown) > 0:
		return &restoreError{archiver.ErrPartial, o.Lost + int64(len(o.Unknown))}
	}
	return nil
}
