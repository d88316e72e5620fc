package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type safeCmd struct {
	Source   string `arg:"" help:"A source by name. It is listed now."`
	Copies   int    `help:"How many durable copies a file must have, each in another pool; else as many as the source asks for." placeholder:"N"`
	Verified bool   `help:"Count only copies that were read back since they were written."`
	Checksum bool   `help:"Compare the content of each file with what is archived: reads every file at the source."`
	Delete   bool   `help:"Remove what is safe: each file is read again as it goes, and only goes if its bytes were read back from enough copies. A receipt is written of each. Only for sources on this machine."`
	DryRun   bool   `help:"With --delete: only list what would be removed, and say how much."`
	Null     bool   `short:"0" help:"End each name with a NUL instead of a newline, for xargs -0."`
}

type safeFileJSON struct {
	ui.PathText
	Size     int64  `json:"size"`
	Safe     bool   `json:"safe"`
	Why      string `json:"why,omitempty"`
	Version  int64  `json:"version,omitempty"`
	Copies   int    `json:"copies"`
	Verified int    `json:"verified"`
}

type safeSummaryJSON struct {
	Summary struct {
		Source   string           `json:"source"`
		Copies   int              `json:"copies"`
		Files    int64            `json:"files"`
		Safe     int64            `json:"safe"`
		Bytes    int64            `json:"safe_bytes"`
		NotSafe  map[string]int64 `json:"not_safe"`
		Filtered bool             `json:"filtered"`

		Run          int64  `json:"run,omitempty"`           // of --delete
		Removed      *int64 `json:"removed,omitempty"`       // files
		RemovedBytes *int64 `json:"removed_bytes,omitempty"` // of them
		Receipts     string `json:"receipts,omitempty"`      // the file with their receipts
	} `json:"summary"`
}

func (c *safeCmd) Run(ctx context.Context, a *app) error {
	if c.Copies < 0 {
		return usagef("--copies takes a number of copies, 1 or more")
	}
	if c.DryRun && !c.Delete {
		return usagef("--dry-run goes with --delete: without it safe only lists files anyway")
	}
	open := a.readCatalog
	if c.Delete && !c.DryRun {
		open = a.writeCatalog
	}
	conf, db, err := open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, ok := conf.Sources[c.Source]; !ok {
		return usagef("no source %q in %s%s", c.Source, conf.File(), ui.DidYouMean(c.Source, slices.Sorted(maps.Keys(conf.Sources))))
	}
	arch, err := a.newReader(conf, db)
	if err != nil {
		return err
	}
	to := a.stdout
	if c.Null {
		to = ui.RawOutput(to)
	}
	out := bufio.NewWriter(to)
	sum, err := c.judge(ctx, arch, func(f archiver.SafeFile) error { return c.print(a, out, f) })
	if flushErr := out.Flush(); flushErr != nil {
		return errors.Join(fmt.Errorf("print names: %w", flushErr), err)
	}
	if err != nil && !errors.Is(err, archiver.ErrNotSafe) {
		return err
	}
	if a.JSON {
		var j safeSummaryJSON
		j.Summary.Source, j.Summary.Copies, j.Summary.Files, j.Summary.Safe = c.Source, sum.Copies, sum.Files, sum.Safe
		j.Summary.Bytes, j.Summary.NotSafe, j.Summary.Filtered = sum.SafeBytes, sum.NotSafe, sum.Filtered
		j.Summary.Run, j.Summary.Receipts = sum.Run, sum.Receipts
		if c.Delete && !c.DryRun {
			j.Summary.Removed, j.Summary.RemovedBytes = &sum.Removed, &sum.RemovedBytes
		}
		return errors.Join(err, ui.WriteJSONLine(a.stdout, j))
	}
	fmt.Fprintln(a.stderr, c.line(sum))
	if err != nil {
		suspects, serr := suspectRows(ctx, db)
		for _, hint := range suspectHints(suspects) {
			fmt.Fprintln(a.stderr, "hint: what lies on "+hint)
		}
		err = errors.Join(err, serr)
	}
	if sum.NotSafe[archiver.NotNamed] > 0 {
		err = withHint(err, "tapefs archive %s --now writes the manifest that names what has its bytes from another path", c.Source)
	}
	if sum.NotSafe[archiver.TimeUnsure]+sum.NotSafe[archiver.TakenTooSoon] > 0 && !c.Checksum {
		err = withHint(err, "tapefs safe %s --checksum reads the files whose times leave it open, and compares their bytes", c.Source)
	}
	return err
}

// judge lists the source and, with --delete, removes what is safe there.
func (c *safeCmd) judge(ctx context.Context, arch *archiver.Archiver, fn func(archiver.SafeFile) error) (archiver.DeleteSummary, error) {
	o := archiver.SafeOptions{Copies: c.Copies, Verified: c.Verified || c.Delete, Checksum: c.Checksum}
	if c.Delete && !c.DryRun {
		sum, err := arch.SafeDelete(ctx, c.Source, o, fn)
		if errors.Is(err, archiver.ErrNotHere) {
			err = withHint(err, "tapefs safe %s --verified -0 lists what may be removed there, for a program that does so", c.Source)
		}
		return sum, err
	}
	sum, err := arch.Safe(ctx, c.Source, o, fn)
	return archiver.DeleteSummary{SafeSummary: sum}, err
}

// line sums up what was found, or done.
func (c *safeCmd) line(s archiver.DeleteSummary) string {
	line := safeLine(c.Source, s.SafeSummary)
	switch {
	case c.DryRun:
		return line + "; nothing was removed"
	case c.Delete:
		line = strings.Replace(line, ", safe with ", ", removed with ", 1)
		line = strings.Replace(line, "; not safe:", "; left there:", 1)
		if s.Receipts != "" {
			line += "; receipts: " + s.Receipts
		}
	}
	return line
}

// print writes a safe file's name; programs get them all.
func (c *safeCmd) print(a *app, out *bufio.Writer, f archiver.SafeFile) error {
	if a.JSON {
		return ui.WriteJSONLine(out, safeFileJSON{PathText: ui.NewPathText(f.Path), Size: f.Size, Safe: f.Why == "", Why: f.Why,
			Version: int64(f.Version), Copies: f.Copies, Verified: f.Verified})
	}
	if f.Why != "" {
		a.log.Info("not safe", "path", f.Path, "why", f.Why)
		return nil
	}
	name := f.Path
	if strings.HasPrefix(name, "-") {
		name = "./" + name // no option of the program that gets it
	}
	if c.Null {
		_, err := out.WriteString(name + "\x00")
		return err
	}
	// A newline in a name would make two names of it, of which one may be that of a file that is not safe.
	_, err := fmt.Fprintln(out, ui.Printable(name))
	return err
}

// safeLine is what people read.
func safeLine(source string, s archiver.SafeSummary) string {
	line := fmt.Sprintf("%s: %s, %s, safe with %s", source, ui.Count(s.Safe, "file", "files"), ui.Bytes(s.SafeBytes), ui.Count(int64(s.Copies), "copy", "copies"))
	if len(s.NotSafe) > 0 {
		line += "; not safe:"
		for i, why := range slices.Sorted(maps.Keys(s.NotSafe)) {
			if i > 0 {
				line += ","
			}
			line += fmt.Sprintf(" %d %s", s.NotSafe[why], why)
		}
	}
	if s.Filtered {
		line += "; what the source's filters leave out is not archived and was not looked at"
	}
	return line
}
