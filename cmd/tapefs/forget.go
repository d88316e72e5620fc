package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type forgetCmd struct {
	Paths          []string `arg:"" optional:"" name:"path" help:"Paths of the archive. Without a rule all below them is forgotten, also what the source still has."`
	VanishedBefore before   `help:"Forget what its source had no more before this time: 2024-05-31, 2024-05-31 18:30, or 2y, 90d, 12h ago." placeholder:"TIME"`
	KeepVersions   int      `help:"Forget versions of each path that are older than so many that can be read." placeholder:"N"`
	RemovedToo     bool     `help:"Forget also what safe --delete or an inbox removed at the source: the rules spare it, for nobody deleted it."`
	Yes            bool     `help:"Do it. Without this the versions are listed only."`
}

// before is a moment of which a day alone means the beginning: what happened on it came later.
type before struct {
	moment
	byAge bool // 2y, 90d, 12h ago, and no date
}

func (b *before) UnmarshalText(text []byte) error {
	b.byAge = !strings.ContainsAny(string(text), "-:")
	if t, err := time.ParseInLocation(time.DateOnly, strings.TrimSpace(string(text)), time.Local); err == nil {
		text = []byte(t.Format(time.RFC3339))
	}
	return b.moment.UnmarshalText(text)
}

type forgetJSON struct {
	Run      int64 `json:"run,omitempty"`
	DryRun   bool  `json:"dry_run"`
	Versions int64 `json:"versions"`
	Bytes    int64 `json:"bytes"`
	Dirs     int64 `json:"directories"`
	There    int64 `json:"still_at_source"`
	Waiting  int64 `json:"waiting"`
	Spared   int64 `json:"spared"` // removed at the source by safe --delete or an inbox
}

type forgetSummaryJSON struct {
	Summary forgetJSON `json:"summary"`
}

type forgottenJSON struct {
	ui.PathText
	Version catalog.ID `json:"version"`
	Kind    string     `json:"kind"`
	Size    int64      `json:"size"`
	Since   time.Time  `json:"since"`
	Current bool       `json:"current"`
	There   bool       `json:"still_at_source"`
}

func (c *forgetCmd) Run(ctx context.Context, a *app) error {
	rule := catalog.ForgetRule{VanishedBefore: c.VanishedBefore.Time, ByAge: c.VanishedBefore.byAge, KeepVersions: c.KeepVersions, RemovedToo: c.RemovedToo}
	ruled := !c.VanishedBefore.IsZero() || c.KeepVersions > 0
	switch {
	case c.KeepVersions < 0:
		return usagef("--keep-versions takes a number of versions, 1 or more")
	case c.RemovedToo && !ruled:
		return usagef("--removed-too goes with --vanished-before or --keep-versions: paths alone are forgotten, whoever removed them")
	case len(c.Paths) == 0 && !ruled:
		return usagef("name paths, or say --vanished-before TIME or --keep-versions N")
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, p := range c.Paths {
		if _, err := resolve(ctx, db.Now(), p); err != nil {
			return err
		}
	}
	arch, err := a.newReader(conf, db)
	if err != nil {
		return err
	}
	sum, err := arch.Forget(ctx, c.Paths, rule, !c.Yes, func(f catalog.Forgettable) error { return c.print(a, f) })
	if err != nil {
		return err
	}
	if a.JSON {
		return ui.WriteJSONLine(a.stdout, forgetSummaryJSON{forgetJSON{sum.Run, !c.Yes, sum.Versions, sum.Bytes, sum.Dirs, sum.There, sum.Waiting, sum.Spared}})
	}
	fmt.Fprintln(a.stdout, forgetLine(sum, !c.Yes))
	if !c.Yes {
		return nil
	}
	pending, err := pendingOf(ctx, conf, db)
	for _, p := range pending {
		fmt.Fprintln(a.stdout, pendingLine(p))
	}
	return err
}

// print lists a version in a dry run; programs get them always.
func (c *forgetCmd) print(a *app, f catalog.Forgettable) error {
	if a.JSON {
		return ui.WriteJSONLine(a.stdout, forgottenJSON{ui.NewPathText(f.Path), f.ID, kindName(f.Kind), f.Size, f.Since, f.Current, f.There})
	}
	if c.Yes {
		return nil
	}
	note := ""
	switch {
	case f.There:
		note = "  still at the source"
	case !f.Current:
		note = "  older version"
	}
	_, err := fmt.Fprintf(a.stdout, "%8d  %s  %9s  %s%s\n", f.ID, ui.DateOr(&f.Since, "-"), ui.Bytes(f.Size), ui.Printable(f.Path), note)
	return err
}

func forgetLine(s archiver.ForgetSummary, dry bool) string {
	verb := "forgotten"
	if dry {
		verb = "would be forgotten"
	}
	line := fmt.Sprintf("%s: %s, %s", verb, ui.Count(s.Versions, "version", "versions"), ui.Bytes(s.Bytes))
	if s.Dirs > 0 {
		line += ", " + ui.Count(s.Dirs, "directory", "directories")
	}
	if s.There > 0 {
		line += fmt.Sprintf("; %s still at the source, so the next archive takes them again (exclude: keeps it from that)", humanize.Comma(s.There))
	}
	if s.Waiting > 0 {
		line += fmt.Sprintf("; %s on their way to tape and left alone", humanize.Comma(s.Waiting))
	}
	if s.Spared > 0 {
		line += fmt.Sprintf("; %s removed at the source once they were safe, and spared (--removed-too forgets them)", ui.Count(s.Spared, "version", "versions"))
	}
	if s.Versions > 0 {
		line += "; their room on tape comes free by tape repack"
	}
	if dry && s.Versions+s.Dirs > 0 {
		line += "\nnothing was changed: add --yes to do it"
	}
	return line
}
