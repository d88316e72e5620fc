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
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/config"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type verifyCmd struct {
	Paths   []string `arg:"" optional:"" name:"path" help:"Verify what holds these files and directories: /source/dir/file."`
	Sample  string   `help:"Read this share, drawn at random." placeholder:"5%" xor:"how"`
	Oldest  string   `help:"Read so much of what was not proved for the longest time." placeholder:"SIZE" xor:"how"`
	Due     bool     `help:"Read what scrub: in the configuration says is due; for cron." xor:"how"`
	Tape    string   `help:"Read only this tape." placeholder:"BARCODE"`
	Source  string   `help:"Read only this source's objects." placeholder:"NAME"`
	DryRun  bool     `help:"Only say which tapes would be read, and about how long that takes. No tape moves."`
	Openssl bool     `name:"openssl" help:"Open each object with the openssl program too, and compare each file's SHA-256: the independent proof."`
}

// args names what is verified: a run with the same resumes one that was cut short.
func (c *verifyCmd) args() []string {
	out := []string{}
	for _, f := range [][2]string{{"--sample", c.Sample}, {"--oldest", c.Oldest}, {"--tape", c.Tape}, {"--source", c.Source}} {
		if f[1] != "" {
			out = append(out, f[0], f[1])
		}
	}
	if c.Due {
		out = append(out, "--due")
	}
	if c.Openssl {
		out = append(out, "--openssl")
	}
	return append(out, c.Paths...)
}

func (c *verifyCmd) options(ctx context.Context, conf *settings, db *catalog.DB) (o archiver.VerifyOptions, err error) {
	o = archiver.VerifyOptions{Tape: c.Tape, Source: c.Source, OpenSSL: c.Openssl, Args: c.args()}
	if c.Sample != "" {
		if o.Sample, err = config.ParseShare(c.Sample); err != nil {
			return o, usagef("--sample: %w", err)
		}
	}
	if c.Oldest != "" {
		n, err := humanize.ParseBytes(c.Oldest)
		if err != nil || n == 0 || n > 1<<62 {
			return o, usagef("--oldest %q is not a size such as 500GB", c.Oldest)
		}
		o.Budget = int64(n)
	}
	if c.Due {
		o.Due, o.Budget = time.Duration(conf.Scrub.Every), int64(conf.Scrub.Budget)
	}
	if c.Tape != "" {
		if c.Tape, err = spelt(ctx, db, c.Tape); err != nil {
			return o, err
		}
		if _, err := db.TapeByBarcode(ctx, c.Tape); err != nil {
			return o, err
		}
	}
	for _, p := range c.Paths {
		v, err := resolve(ctx, db.Now(), p)
		if err != nil {
			return o, err
		}
		o.Paths = append(o.Paths, v)
	}
	return o, nil
}

type verifyJSON struct {
	Run       int64                   `json:"run"`
	Parts     int                     `json:"parts"`
	Bytes     int64                   `json:"bytes"`
	Files     int                     `json:"files"`
	Skipped   int                     `json:"skipped"`
	Recovered int                     `json:"recovered"`
	Replaced  int                     `json:"replaced"` // damaged as was known, and whole elsewhere in the pool or known as lost
	Damaged   []archiver.VerifyDamage `json:"damaged"`
	Manifests int                     `json:"manifests"`
	Snapshots int                     `json:"snapshots"`
	Lost      []archiver.VerifyDamage `json:"lost"`              // manifests and snapshots of the catalog that are not on tape as they were written
	Unnamed   int                     `json:"missing_manifests"` // that were lost, also earlier, and that no other replaces yet
	Known     int                     `json:"known_damaged"`     // copies that are damaged and not healed, also those found earlier
	Trusted   []string                `json:"trusted"`           // tapes that are suspect no more
	Suspect   []string                `json:"suspect"`           // tapes that still are
	Wanted    []string                `json:"wanted"`
}

// look says what a verify would read.
func (c *verifyCmd) look(ctx context.Context, a *app) error {
	conf, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	o, err := c.options(ctx, conf, db)
	if err != nil {
		return err
	}
	arch, err := a.newArchiver(conf, db, nil)
	if err != nil {
		return err
	}
	out, err := arch.LookAtVerify(ctx, o)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return errors.Join(sayOutlook(a, "verify would read", "file on tape", "files on tape", &out), outlookError(&out))
}

func (c *verifyCmd) Run(ctx context.Context, a *app) (err error) {
	if c.DryRun {
		return c.look(ctx, a)
	}
	conf, db, err := a.writeCatalog(ctx)
	if err != nil {
		return a.notBegun(ctx, "verify", err)
	}
	defer db.Close()
	o, err := c.options(ctx, conf, db)
	if err != nil {
		return err
	}
	end := a.working(ctx, "verify", conf, db)
	defer func() { end(err, nil) }()
	if err := conf.openKeys(); err != nil && c.Openssl { // else only manifests need them: verify names those that it could not prove
		return err
	}
	arch, err := a.newArchiver(conf, db, newProgress(a))
	if err != nil {
		return err
	}
	sum, err := arch.Verify(ctx, o)
	if sum.Run != 0 {
		suspects, serr := suspectRows(ctx, db)
		if err == nil {
			err = serr
		}
		if a.JSON {
			j := verifyJSON{Run: sum.Run, Parts: sum.Parts, Bytes: sum.Bytes, Files: sum.Files, Skipped: sum.Skipped, Recovered: sum.Recovered, Replaced: sum.Replaced, Damaged: sum.Damaged, Lost: sum.Lost,
				Manifests: sum.Manifests, Snapshots: sum.Snapshots, Unnamed: sum.Unnamed, Known: sum.Known, Trusted: []string{}, Suspect: []string{}, Wanted: append([]string{}, sum.Wanted...)}
			for _, t := range sum.Trusted {
				j.Trusted = append(j.Trusted, t.Barcode)
			}
			for _, r := range suspects {
				j.Suspect = append(j.Suspect, r.Barcode)
			}
			if jsonErr := ui.WriteJSON(a.stdout, j); err == nil {
				err = jsonErr
			}
		} else {
			c.print(a, sum)
			for _, hint := range suspectHints(suspects) {
				fmt.Fprintln(a.stdout, "hint: "+hint)
			}
		}
	}
	if errors.Is(err, archiver.ErrDamaged) {
		return withHint(fmt.Errorf("verify: %w", err), "%s", verifyHint(sum))
	}
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// verifyHint says how to mend what a verify found.
func verifyHint(s archiver.VerifySummary) string {
	const heal, name = "tapefs archive --heal makes new copies from good ones", "tapefs archive writes manifests anew that were lost"
	switch {
	case s.Unnamed == 0 && len(s.Lost) == 0:
		return heal
	case s.Known == 0 && len(s.Damaged) == 0:
		return name
	}
	return heal + "; " + name
}

func (c *verifyCmd) print(a *app, s archiver.VerifySummary) {
	for _, d := range s.Damaged {
		fmt.Fprintf(a.stdout, "damaged: tape %s, pool %s, object %s: %s\n", d.Barcode, d.Pool, d.Object, d.Why)
	}
	for _, d := range s.Lost {
		fmt.Fprintf(a.stdout, "lost: tape %s, pool %s, %s: %s\n", d.Barcode, d.Pool, d.File, d.Why)
	}
	for _, b := range s.Wanted {
		fmt.Fprintf(a.stdout, "wanted: tape %s is not in the library\n", b)
	}
	for _, t := range s.Trusted {
		fmt.Fprintf(a.stdout, "tape %s is suspect no more, and %s%s\n", t.Barcode, t.State, prefixed(": ", t.Note))
	}
	line := fmt.Sprintf("verified: %s, %s", ui.Count(int64(s.Parts), "part", "parts"), ui.Bytes(s.Bytes))
	if c.Openssl {
		line += fmt.Sprintf("; %s compared by openssl", ui.Count(int64(s.Files), "file", "files"))
	}
	if s.Manifests > 0 {
		line += fmt.Sprintf("; %s", ui.Count(int64(s.Manifests), "manifest", "manifests"))
	}
	if s.Recovered > 0 {
		line += fmt.Sprintf("; %s that counted as damaged: good again", ui.Count(int64(s.Recovered), "part", "parts"))
	}
	if s.Replaced > 0 {
		line += fmt.Sprintf("; %s damaged as was known, and no loss: whole elsewhere in the pool, or given up", ui.Count(int64(s.Replaced), "part", "parts"))
	}
	if s.Skipped > 0 {
		line += fmt.Sprintf("; %s proved before the run was cut short", ui.Count(int64(s.Skipped), "part", "parts"))
	}
	if n := len(s.Damaged); n > 0 {
		line += fmt.Sprintf("; %s DAMAGED", ui.Count(int64(n), "part", "parts"))
	}
	manifests := int64(0)
	for _, d := range s.Lost {
		if strings.Contains(d.File, "/manifest-") {
			manifests++
		}
	}
	if manifests > 0 {
		line += fmt.Sprintf("; %s LOST", ui.Count(manifests, "manifest", "manifests"))
	}
	if n := int64(len(s.Lost)) - manifests; n > 0 {
		line += fmt.Sprintf("; %s of the catalog LOST", ui.Count(n, "snapshot", "snapshots"))
	}
	fmt.Fprintln(a.stdout, line)
}

// prefixed is a text with something before it, or nothing.
func prefixed(with, text string) string {
	if text == "" {
		return ""
	}
	return with + text
}

// suspectRows are the suspect tapes.
func suspectRows(ctx context.Context, db *catalog.DB) (rows []tapeJSON, err error) {
	all, err := tapeRows(ctx, db)
	for _, r := range all {
		if r.Remedy != "" {
			rows = append(rows, r)
		}
	}
	return rows, err
}

// missedJSON is a pool with manifests that were lost and not written anew yet.
type missedJSON struct {
	Pool      string `json:"pool"`
	Manifests int    `json:"manifests"`
}

// manifestRows is what status shows of lost manifests.
func manifestRows(ctx context.Context, db *catalog.DB) ([]missedJSON, error) {
	missed, err := db.MissedManifests(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]missedJSON, 0, len(missed))
	for _, pool := range slices.Sorted(maps.Keys(missed)) {
		rows = append(rows, missedJSON{pool, missed[pool]})
	}
	return rows, nil
}
