package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type archiveCmd struct {
	Sources  []string `arg:"" optional:"" name:"source" help:"Sources by name; all when none is named."`
	DryRun   bool     `help:"List and compare only; say what would be done."`
	Limit    string   `help:"Fetch at most this much." placeholder:"SIZE"`
	Until    string   `help:"Start nothing new after this time of day." placeholder:"HH:MM"`
	Heal     bool     `help:"Make damaged copies again from good ones, too."`
	Checksum bool     `help:"Compare the content of unchanged files, too: reads every file at the source."`
	Now      bool     `help:"Write what is owed, also less than a pool's min_batch, and a manifest for deletions and renames alone."`

	AcceptDeletions bool `help:"Mark as vanished all that a source has no more, also when that is more than a tenth of its files."`
}

func (c *archiveCmd) Run(ctx context.Context, a *app) (err error) {
	options, err := c.options(time.Now())
	if err != nil {
		return err
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return a.notBegun(ctx, "archive", err)
	}
	defer db.Close()
	if len(conf.Sources) == 0 {
		return withHint(usagef("no source is configured"), "add one under sources: in %s", conf.File())
	}
	for _, name := range c.Sources {
		if _, ok := conf.Sources[name]; !ok {
			return usagef("no source %q in %s%s", name, conf.File(), ui.DidYouMean(name, slices.Sorted(maps.Keys(conf.Sources))))
		}
	}
	var arch *archiver.Archiver
	if !c.DryRun {
		end := a.working(ctx, "archive", conf, db)
		defer func() { end(err, arch) }()
	}
	if arch, err = a.newArchiver(conf, db, newProgress(a)); err != nil {
		return err
	}
	finishing(ctx, arch.Doing)
	summary, err := arch.Archive(ctx, c.Sources, options)
	finishing(ctx, nil)
	if summary.Run != 0 || c.DryRun {
		if a.JSON {
			if jsonErr := ui.WriteJSON(a.stdout, summaryOf(summary)); err == nil {
				err = jsonErr
			}
		} else {
			line := summaryLine(summary, c.DryRun)
			if !options.Until.IsZero() && time.Now().After(options.Until) {
				line += "; stopped at " + c.Until
			}
			fmt.Fprintln(a.stdout, line)
			for _, f := range summary.Forecast {
				fmt.Fprintln(a.stdout, forecastLine(f))
			}
			for _, p := range pendingRows(summary.Pending) {
				fmt.Fprintln(a.stdout, pendingLine(p))
			}
		}
	}
	var stopped *archiver.Interrupted
	switch {
	case !errors.As(err, &stopped):
	case stopped.Closing == nil:
		return withHint(fmt.Errorf("archive: %w", err), "what was written is safe on tape, what was fetched is in the spool: run tapefs archive again to go on")
	default:
		return withHint(fmt.Errorf("archive: %w", err), "run tapefs archive again: it proves what is on the tape, writes again what is not, and goes on")
	}
	if errors.Is(err, archiver.ErrPartial) && summary.Run != 0 {
		return withHint(err, "tapefs runs %d says more", summary.Run)
	}
	return err
}

// forecastLine says what a pool would get, and where.
func forecastLine(f archiver.Forecast) string {
	line := fmt.Sprintf("pool %s would get about %s", f.Pool, ui.Bytes(f.Bytes))
	if len(f.Tapes) > 0 {
		line += " on " + strings.Join(f.Tapes, ", ")
	}
	if f.Short > 0 {
		line += fmt.Sprintf("; there is no tape in the library for %s", ui.Bytes(f.Short))
	}
	return line
}

type summaryJSON struct {
	Run    int64                       `json:"run"`
	Counts map[string]map[string]int64 `json:"counts"`
	Tapes  []string                    `json:"tapes"`
	Held   []archiver.Held             `json:"held"`

	Pending []pendingJSON `json:"pending"`

	Forecast []archiver.Forecast `json:"forecast,omitempty"`
}

func summaryOf(s archiver.Summary) summaryJSON {
	return summaryJSON{Run: s.Run, Counts: s.Counts, Tapes: s.Tapes, Held: s.Held, Pending: pendingRows(s.Pending), Forecast: s.Forecast}
}

func (c *archiveCmd) options(now time.Time) (archiver.Options, error) {
	o := archiver.Options{DryRun: c.DryRun, Heal: c.Heal, Now: c.Now || c.Heal, Names: c.Now, Checksum: c.Checksum, AcceptDeletions: c.AcceptDeletions}
	if c.Limit != "" {
		n, err := humanize.ParseBytes(c.Limit)
		if err != nil || n > 1<<62 {
			return o, usagef("--limit %q is not a size such as 500GiB", c.Limit)
		}
		o.Limit = int64(n)
	}
	if c.Until != "" {
		t, err := time.ParseInLocation("15:04", c.Until, time.Local)
		if err != nil {
			return o, usagef("--until %q is not a time such as 06:30", c.Until)
		}
		o.Until = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), 0, 0, time.Local)
		if !o.Until.After(now) {
			o.Until = o.Until.AddDate(0, 0, 1)
		}
	}
	return o, nil
}

// summaryLine is the one line a run leaves in cron's mail.
func summaryLine(s archiver.Summary, dryRun bool) string {
	sum := func(name string) (n int64) {
		for _, counts := range s.Counts {
			n += counts[name]
		}
		return n
	}
	verb := "archived"
	if dryRun {
		verb = "would archive"
	}
	line := fmt.Sprintf("%s: %s new, %s changed, %s vanished", verb,
		ui.Count(sum("new"), "file", "files"), humanize.Comma(sum("changed")), humanize.Comma(sum("vanished")))
	line += symlinksAmong(sum("symlinks"), "of the files archived")
	if n := sum("planned_bytes"); n > 0 && dryRun {
		line += fmt.Sprintf("; %s to fetch", ui.Bytes(n))
	}
	if n := sum("moved"); n > 0 {
		line += fmt.Sprintf("; %s under a new name, with bytes that are archived already", ui.Count(n, "file", "files"))
	}
	if n := sum("metadata"); n > 0 {
		line += fmt.Sprintf("; %s with a new mode or owner", humanize.Comma(n))
	}
	if n := sum("again"); n > 0 {
		line += fmt.Sprintf("; %s taken again, whose bytes no tape has any more", ui.Count(n, "file", "files"))
	}
	if n := sum("unmarked"); n > 0 {
		line += fmt.Sprintf("; %s missing and not marked as vanished", ui.Count(n, "file", "files"))
	}
	if n := sum("written_bytes"); n > 0 {
		line += fmt.Sprintf("; %s written", ui.Bytes(n))
	}
	for i, barcode := range s.Tapes {
		if i == 0 {
			line += " to " + barcode
		} else {
			line += ", " + barcode
		}
	}
	if n := sum("skipped"); n > 0 {
		line += fmt.Sprintf("; %s skipped (sockets, fifos, devices)", humanize.Comma(n))
	}
	if n := sum("young"); n > 0 {
		line += fmt.Sprintf("; %s left alone (modified less than min_age ago)", ui.Count(n, "file", "files"))
	}
	if n := sum("inbox_removed"); n > 0 {
		line += fmt.Sprintf("; removed from the inbox: %s, %s", ui.Count(n, "file", "files"), ui.Bytes(sum("inbox_removed_bytes")))
	}
	if n := sum("inbox_left"); n > 0 {
		line += fmt.Sprintf("; %s left in the inbox", ui.Count(n, "file", "files"))
	}
	if n := sum("left"); n > 0 && dryRun {
		line += fmt.Sprintf("; %s of these left for a later run", humanize.Comma(n))
	} else if n > 0 {
		line += fmt.Sprintf("; %s left for a later run", ui.Count(n, "file", "files"))
	}
	for _, o := range []struct{ name, text string }{
		{"unreadable", "could not be read"}, {"cut_short", "cut short since listed"}, {"became_other", "became something else since listed"},
		{"gone", "vanished while archiving"}, {"grown", "grew since listed, and archived as found"},
		{"left_out", "left out by filters now, and kept in the archive"}, {"uncompared", "could not be compared by content"},
	} {
		if n := sum(o.name); n > 0 {
			line += fmt.Sprintf("; %s %s", ui.Count(n, "file", "files"), o.text)
		}
	}
	if n := sum("unwritten"); n > 0 {
		line += fmt.Sprintf("; %s not safe on a tape yet", ui.Count(n, "file is", "files are"))
	}
	if n := sum("forgotten"); n > 0 && dryRun {
		line += fmt.Sprintf("; keep would forget %s, %s", ui.Count(n, "version", "versions"), ui.Bytes(sum("forgotten_bytes")))
	} else if n > 0 {
		line += fmt.Sprintf("; %s forgotten by keep, %s", ui.Count(n, "version", "versions"), ui.Bytes(sum("forgotten_bytes")))
	}
	for _, h := range s.Held {
		line += fmt.Sprintf("; about %s wait in the spool for pool %s (min_batch %s, at the latest %s): no tape was moved for it",
			ui.Bytes(h.Bytes), h.Pool, ui.Bytes(h.MinBatch), ui.DateOr(&h.Until, ""))
	}
	if n := sum("failed"); n > 0 {
		line += fmt.Sprintf("; %s failed", humanize.Comma(n))
	}
	return line
}

// symlinksAmong is the part of a line that says how many of the files that were counted are symlinks, which status does not count.
func symlinksAmong(n int64, of string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "; 1 " + of + " is a symlink"
	}
	return fmt.Sprintf("; %s %s are symlinks", humanize.Comma(n), of)
}
