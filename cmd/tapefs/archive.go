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

	"tapefs/archiver"
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
		return withHint(usagef("no source is configured"), "add one under sources: in %s", conf.path)
	}
	for _, name := range c.Sources {
		if _, ok := conf.Sources[name]; !ok {
			return usagef("no source %q in %s%s", name, conf.path, didYouMean(name, slices.Sorted(maps.Keys(conf.Sources))))
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
			if jsonErr := printJSON(a.stdout, summaryOf(summary)); err == nil {
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
	line := fmt.Sprintf("pool %s would get about %s", f.Pool, bytesText(f.Bytes))
	if len(f.Tapes) > 0 {
		line += " on " + strings.Join(f.Tapes, ", ")
	}
	if f.Short > 0 {
		line += fmt.Sprintf("; there is no tape in the library for %s", bytesText(f.Short))
	}
	return line
}

type summaryJSON struct {
	Run    int64                       `json:"run"`
	Counts map[string]map[string]int64 `json:"counts"`
	Tapes  []string                    `json:"tapes"`
	Held   []heldJSON                  `json:"held"`

	Pending []pendingJSON `json:"pending"`

	Forecast []forecastJSON `json:"forecast,omitempty"`
}

// forecastJSON is what a pool would get in a run that --dry-run leaves out.
type forecastJSON struct {
	Pool  string   `json:"pool"`
	Bytes int64    `json:"bytes"`
	Tapes []string `json:"tapes"`
	Short int64    `json:"short,omitempty"`
}

// heldJSON is what a pool is owed that was not worth the mount of a tape.
type heldJSON struct {
	Pool   string    `json:"pool"`
	Copies int       `json:"copies"`
	Bytes  int64     `json:"bytes"`
	Until  time.Time `json:"until"`
}

func summaryOf(s archiver.Summary) summaryJSON {
	j := summaryJSON{Run: s.Run, Counts: s.Counts, Tapes: s.Tapes, Held: []heldJSON{}, Pending: pendingRows(s.Pending)}
	for _, h := range s.Held {
		j.Held = append(j.Held, heldJSON{h.Pool, h.Copies, h.Bytes, h.Until})
	}
	for _, f := range s.Forecast {
		j.Forecast = append(j.Forecast, forecastJSON{f.Pool, f.Bytes, append([]string{}, f.Tapes...), f.Short})
	}
	return j
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
		count(sum("new"), "file", "files"), humanize.Comma(sum("changed")), humanize.Comma(sum("vanished")))
	if n := sum("planned_bytes"); n > 0 && dryRun {
		line += fmt.Sprintf("; %s to fetch", bytesText(n))
	}
	if n := sum("moved"); n > 0 {
		line += fmt.Sprintf("; %s under a new name, with bytes that are archived already", count(n, "file", "files"))
	}
	if n := sum("metadata"); n > 0 {
		line += fmt.Sprintf("; %s with a new mode or owner", humanize.Comma(n))
	}
	if n := sum("again"); n > 0 {
		line += fmt.Sprintf("; %s taken again, whose bytes no tape has any more", count(n, "file", "files"))
	}
	if n := sum("unmarked"); n > 0 {
		line += fmt.Sprintf("; %s missing and not marked as vanished", count(n, "file", "files"))
	}
	if n := sum("written_bytes"); n > 0 {
		line += fmt.Sprintf("; %s written", bytesText(n))
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
		line += fmt.Sprintf("; %s left alone (modified less than min_age ago)", count(n, "file", "files"))
	}
	if n := sum("left"); n > 0 && dryRun {
		line += fmt.Sprintf("; %s of these left for a later run", humanize.Comma(n))
	} else if n > 0 {
		line += fmt.Sprintf("; %s left for a later run", count(n, "file", "files"))
	}
	for _, o := range []struct{ name, text string }{
		{"unreadable", "could not be read"}, {"cut_short", "cut short since listed"}, {"became_other", "became something else since listed"},
		{"gone", "vanished while archiving"}, {"grown", "grew since listed, and archived as found"},
		{"left_out", "left out by filters now, and kept in the archive"}, {"uncompared", "could not be compared by content"},
	} {
		if n := sum(o.name); n > 0 {
			line += fmt.Sprintf("; %s %s", count(n, "file", "files"), o.text)
		}
	}
	if n := sum("unwritten"); n > 0 {
		line += fmt.Sprintf("; %s not safe on a tape yet", count(n, "file is", "files are"))
	}
	for _, h := range s.Held {
		line += fmt.Sprintf("; about %s wait in the spool for pool %s (min_batch %s, at the latest %s): no tape was moved for it",
			bytesText(h.Bytes), h.Pool, bytesText(h.MinBatch), dateOr(&h.Until, ""))
	}
	if n := sum("failed"); n > 0 {
		line += fmt.Sprintf("; %s failed", humanize.Comma(n))
	}
	return line
}
