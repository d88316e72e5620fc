package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/crypto"
)

type doctorCmd struct {
	NotifyTest bool   `help:"Run the command of notify: with a test message, and say whether it went well."`
	FixConfig  bool   `help:"Look for changer and drives and print a library: section for the configuration."`
	Prove      bool   `help:"With --fix-config: have the robot bring a cartridge to each drive that is not proved to be the one it fills, and write proved: into the configuration. Drives that are mixed up there are told apart, and their entries corrected. Nothing is written to a tape."`
	Report     string `help:"Write what a report on a fault needs into a new file: versions, findings, configuration, what the devices say, logs, counts; without names and keys." placeholder:"FILE" type:"path"`
}

// Marks of a finding.
const (
	markOK      = "ok"
	markWarning = "warning" // works, and somebody should know
	markFailed  = "failed"  // archive or mount cannot run
)

// finding is one line of doctor.
type finding struct {
	Check  string `json:"check"`
	Mark   string `json:"mark"`
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`

	code int // exit code that a failure asks for
}

// examination is all that doctor found.
type examination struct {
	OK       bool      `json:"ok"`
	Failures int       `json:"failures"`
	Warnings int       `json:"warnings"`
	Checks   []finding `json:"checks"`
}

// checkup collects findings. conf is nil while there is no configuration, and so on.
type checkup struct {
	*app
	paths    machinePaths
	conf     *settings
	lib      *changer.Library
	inv      *changer.Inventory
	db       *catalog.DB
	ring     *crypto.Keyring
	ltfs     ltfsSeen
	findings []finding
}

// machinePaths are where the machine shows itself; tests give trees of their own.
type machinePaths struct{ dev, proc, etc string }

var realMachine = machinePaths{dev: "/dev", proc: "/proc", etc: "/etc"}

func (u *checkup) ok(check, format string, args ...any) {
	u.findings = append(u.findings, finding{Check: check, Mark: markOK, Detail: fmt.Sprintf(format, args...)})
}

func (u *checkup) warn(check, hint, format string, args ...any) {
	u.findings = append(u.findings, finding{Check: check, Mark: markWarning, Detail: fmt.Sprintf(format, args...), Hint: hint})
}

func (u *checkup) fail(check, hint, format string, args ...any) {
	u.findings = append(u.findings, finding{Check: check, Mark: markFailed, Detail: fmt.Sprintf(format, args...), Hint: hint, code: exitFailed})
}

// failWith reports an error with the hint it carries, else the one given.
func (u *checkup) failWith(check string, err error, hint string) {
	if own := hintFor(err); own != "" {
		hint = own
	}
	u.findings = append(u.findings, finding{Check: check, Mark: markFailed, Detail: err.Error(), Hint: hint, code: exitCode(err)})
}

func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	if c.Prove {
		if !c.FixConfig {
			return usagef("--prove changes the configuration: say tapefs doctor --fix-config --prove")
		}
		return proveDrives(ctx, a)
	}
	if c.FixConfig {
		return proposeLibrary(ctx, a)
	}
	u := &checkup{app: a, paths: realMachine}
	if c.NotifyTest {
		conf, err := a.configuration()
		if err != nil {
			return err
		}
		u.conf = conf
		u.notify(ctx, true)
		return u.report()
	}
	if c.Report != "" {
		return reportFile(ctx, u, c.Report)
	}
	u.all(ctx)
	if u.db != nil {
		defer u.db.Close()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("examine: %w", err)
	}
	return u.report()
}

// all makes every check. What an earlier failure makes impossible is left out.
func (u *checkup) all(ctx context.Context) {
	conf, err := u.configuration()
	if err != nil {
		u.failWith("configuration", err, "")
		u.programs(ctx)
		u.fuse()
		return
	}
	u.conf = conf
	u.ok("configuration", "%s", conf.File())
	u.folders()
	u.catalogFile(ctx)
	u.keys(ctx)
	u.clock(ctx)
	u.programs(ctx)
	u.modules()
	u.flavor()
	u.devices()
	u.changer(ctx)
	u.drives(ctx)
	u.pools(ctx)
	u.fuse()
	u.sources(ctx)
	u.space("spool", conf.Spool.Dir, int64(conf.Spool.Max))
	u.space("cache", conf.Cache.Dir, int64(conf.Cache.Max))
	u.notify(ctx, false)
}

// report prints the findings. The exit code is 0 when nothing failed, else that of the failures
// when they agree, as 4 where only an operator is missing, or 1.
func (u *checkup) report() error {
	warnings, failures, code := 0, 0, 0
	for _, f := range u.findings {
		switch f.Mark {
		case markWarning:
			warnings++
		case markFailed:
			if failures > 0 && f.code != code {
				f.code = exitFailed
			}
			failures++
			code = f.code
		}
	}
	if u.JSON {
		err := ui.WriteJSON(u.stdout, examination{failures == 0, failures, warnings, u.findings})
		if err != nil {
			return err
		}
	} else {
		for _, f := range u.findings {
			fmt.Fprintf(u.stdout, "%-8s %-20s %s\n", f.Mark, f.Check, ui.Printable(f.Detail))
			if f.Hint != "" {
				fmt.Fprintf(u.stdout, "         hint: %s\n", f.Hint)
			}
		}
		fmt.Fprintf(u.stdout, "\n%s, %s, %s\n", ui.Count(int64(len(u.findings)), "check", "checks"),
			ui.Count(int64(failures), "failure", "failures"), ui.Count(int64(warnings), "warning", "warnings"))
	}
	if u.conf == nil {
		code = exitUsage // whatever else there is, this comes first
	}
	if failures > 0 {
		return exitStatus(code)
	}
	return nil
}

// catalogFile opens the catalog and lets SQLite look through it.
func (u *checkup) catalogFile(ctx context.Context) {
	path := u.conf.CatalogPath()
	db, err := catalog.OpenReadOnly(ctx, path)
	if err != nil {
		hint := "restore it from a backup, or make it anew from the tapes: tapefs catalog rebuild; see docs/disaster-recovery.md"
		if errors.Is(err, fs.ErrNotExist) {
			hint = noCatalogHint(u.conf)
		}
		u.failWith("catalog", fmt.Errorf("open %s: %w", path, err), hint)
		return
	}
	u.db = db
	if err := db.QuickCheck(ctx); err != nil {
		u.failWith("catalog", err, "stop all runs, keep a copy of catalog.db*, and restore a backup or the newest catalog from a tape")
		return
	}
	files, bytes, err := db.Totals(ctx)
	if err != nil {
		u.failWith("catalog", err, "")
		return
	}
	u.ok("catalog", "whole; %s, %s", ui.Count(files, "file", "files"), ui.Bytes(bytes))
}

// keys looks at the key files and whether a second copy of the one that seals was seen.
func (u *checkup) keys(ctx context.Context) {
	ring, err := u.conf.keyring()
	if err != nil {
		u.failWith("keys", err, "")
		return
	}
	if id := ring.CurrentID(); id != "" && ring.IsSealed(id) && len(u.conf.KeyCommand) == 0 {
		u.warn("passphrase", "set key_command in the configuration for runs without a terminal",
			"key %s is sealed with a passphrase, and only a terminal is asked for it", id)
	}
	key, err := ring.Current()
	if err != nil {
		hint := "tapefs key new makes one; if there was one, put its file into " + u.conf.Keys.Dir
		if !errors.Is(err, crypto.ErrNoKey) {
			hint = hintFor(err)
		}
		u.failWith("keys", err, hint)
		return
	}
	u.ring = ring
	u.ok("keys", "%s seals; %s in %s", key.Fingerprint(), ui.Count(int64(len(ring.Fingerprints())), "key", "keys"), u.conf.Keys.Dir)
	if u.db == nil {
		return
	}
	known, err := u.db.Keys(ctx)
	if err != nil {
		u.failWith("key copy", err, "")
		return
	}
	var seen time.Time
	for _, k := range known {
		if k.Fingerprint == key.Fingerprint() {
			seen = k.CopySeen
		}
		if err := ring.Has(k.Fingerprint); err != nil {
			u.fail("keys", "put its file back into "+u.conf.Keys.Dir, "the file of key %s is missing: what it sealed cannot be read", k.Fingerprint)
		}
	}
	const hint = "copy the key file to another disk, then: tapefs key check --copy FILE"
	switch {
	case !seen.IsZero():
		u.ok("key copy", "a second copy was seen on %s", ui.DateOr(&seen, ""))
	case u.conf.Keys.AcceptSingleKey:
		u.warn("key copy", hint, "no second copy was ever seen (accept_single_key is set)")
	default:
		u.fail("key copy", hint, "no second copy was ever seen: no tape is written before")
	}
}

// firstYear is before any release of this program: a clock that shows less was never set.
const firstYear = 2026

// clock compares the clock with the catalog: ids of objects begin with the time and have to rise.
func (u *checkup) clock(ctx context.Context) {
	now := time.Now()
	const hint = "set the clock: timedatectl"
	if now.Year() < firstYear {
		u.fail("clock", hint, "it shows %s", now.Format(time.RFC3339))
		return
	}
	if u.db == nil {
		return
	}
	runs, err := u.db.Runs(ctx, 1)
	if err != nil {
		u.failWith("clock", err, "")
		return
	}
	for _, r := range runs {
		last := r.Started
		if r.Ended.After(last) {
			last = r.Ended
		}
		if now.Before(last) {
			u.fail("clock", hint, "it shows %s, before the last run (%s)", now.Format(time.RFC3339), last.Local().Format(time.RFC3339))
			return
		}
	}
	u.ok("clock", "%s", now.Format(time.RFC3339))
}
