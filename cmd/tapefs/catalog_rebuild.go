package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type catalogRebuildCmd struct {
	Catalog        string   `help:"Rebuild this catalog; else that of the first tape whose journal your keys prove." placeholder:"UUID"`
	Tape           []string `help:"Read only these tapes, also when they hold nothing new." placeholder:"BARCODE"`
	NoSnapshot     bool     `name:"no-snapshot" help:"Begin empty, with the tapes' journals alone, and not with the newest catalog snapshot."`
	Headers        bool     `help:"Read the first bytes of each object, too, and compare its salt: finds objects that were exchanged. Slow on real tapes."`
	ListUnproved   bool     `name:"list-unproved" help:"List what the tar headers of objects say that no valid manifest names."`
	AcceptUnproved bool     `name:"accept-unproved" help:"Read such objects whole and take them into the catalog. Nothing proves that they are yours."`
}

func (c *catalogRebuildCmd) args() []string {
	out := []string{}
	for _, t := range c.Tape {
		out = append(out, "--tape", t)
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"--no-snapshot", c.NoSnapshot}, {"--headers", c.Headers}, {"--list-unproved", c.ListUnproved}, {"--accept-unproved", c.AcceptUnproved}} {
		if f.set {
			out = append(out, f.name)
		}
	}
	return out
}

// rebuildJSON is what catalog rebuild did.
type rebuildJSON struct {
	Run      int64                  `json:"run"`
	Catalog  string                 `json:"catalog"`
	Snapshot string                 `json:"snapshot,omitempty"`
	Sources  int64                  `json:"sources"`
	Files    int64                  `json:"files"`
	Bytes    int64                  `json:"bytes"`
	Dirs     int64                  `json:"directories"`
	Symlinks int64                  `json:"symlinks"`
	Past     int64                  `json:"past_versions"`
	Objects  int64                  `json:"objects"`
	Tapes    []archiver.RebuiltTape `json:"tapes"`
	Before   []string               `json:"read_before"`
	Passed   []archiver.Refusal     `json:"passed_over"`
	Refused  []archiver.Refusal     `json:"refused"`
	Remarks  []archiver.Refusal     `json:"remarks,omitempty"`
	Missing  []missingTapeJSON      `json:"missing"`
	Unread   []archiver.Refusal     `json:"unread,omitempty"`
	Skipped  []archiver.Refusal     `json:"skipped,omitempty"`
	Unproved []unprovedJSON         `json:"unproved"`
}

type missingTapeJSON struct {
	Barcode   string `json:"barcode"`
	Pool      string `json:"pool"`
	Number    int    `json:"number"`
	Place     string `json:"place,omitempty"`
	Objects   int    `json:"objects"`
	Bytes     int64  `json:"bytes"`
	Only      int    `json:"only_there"`
	OnlyBytes int64  `json:"only_there_bytes"`
}

type unprovedJSON struct {
	Barcode  string        `json:"barcode"`
	Name     string        `json:"name"`
	Size     int64         `json:"size"`
	Members  []ui.PathText `json:"members,omitempty"`
	More     int           `json:"more,omitempty"`
	Accepted bool          `json:"accepted,omitempty"`
	Why      string        `json:"why,omitempty"`
}

func (c *catalogRebuildCmd) Run(ctx context.Context, a *app) error {
	conf, err := a.configuration()
	if err != nil {
		return err
	}
	ring, err := conf.keyring()
	if err != nil {
		return withHint(err, "the key files belong into %s", conf.Keys.Dir)
	}
	if err := conf.openKeys(); err != nil {
		return err
	}
	lib, err := a.library(conf)
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(conf.CatalogPath()), conf.Spool.Dir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make state folder: %w", err)
		}
	}
	report, err := archiver.Rebuild(ctx, archiver.RebuildConfig{Path: conf.CatalogPath(), Keys: ring, Library: lib, SpoolDir: conf.Spool.Dir,
		RunDir: conf.RunDir(), Log: a.log, Progress: newProgress(a), Args: c.args()},
		archiver.RebuildOptions{Catalog: c.Catalog, Tapes: c.Tape, NoSnapshot: c.NoSnapshot, Headers: c.Headers, ListUnproved: c.ListUnproved, AcceptUnproved: c.AcceptUnproved})
	if report.Run != 0 {
		out := rebuildOf(report)
		if a.JSON {
			if jsonErr := ui.WriteJSON(a.stdout, out); err == nil {
				err = jsonErr
			}
		} else {
			out.print(a)
		}
	}
	switch {
	case errors.Is(err, archiver.ErrRefused):
		return withHint(fmt.Errorf("rebuild: %w", err), "what other tapes hold of it was taken; tapefs verify reads tapes whole")
	case err != nil && len(report.Skipped) > 0 && report.Run != 0:
		return withHint(fmt.Errorf("rebuild: %w", err), "run tapefs catalog rebuild again: it goes on with those tapes")
	case errors.Is(err, archiver.ErrNeedsOperator):
		return withHint(fmt.Errorf("rebuild: %w", err), "put them into the library and run tapefs catalog rebuild again: it adds what is missing")
	case errors.Is(err, catalog.ErrContradiction):
		return withHint(err, "tapefs catalog rebuild --tape BARCODE reads one tape alone")
	}
	return err
}

func rebuildOf(r archiver.RebuildReport) rebuildJSON {
	n := r.Census
	out := rebuildJSON{Run: r.Run, Catalog: r.Catalog, Snapshot: r.Snapshot, Sources: n.Sources, Files: n.Files, Bytes: n.Bytes, Dirs: n.Directories,
		Symlinks: n.Symlinks, Past: n.Versions, Objects: n.Objects, Tapes: r.Tapes, Before: r.Before,
		Passed: r.Passed, Refused: r.Refused, Remarks: r.Remarks, Unread: r.Unread, Skipped: r.Skipped, Missing: []missingTapeJSON{}, Unproved: []unprovedJSON{}}
	for _, t := range r.Missing {
		out.Missing = append(out.Missing, missingTapeJSON{t.Barcode, t.PoolName, t.Number, t.Place, t.Objects, t.Bytes, t.Only, t.OnlyLen})
	}
	for _, u := range r.Unproved {
		j := unprovedJSON{Barcode: u.Barcode, Name: u.Name, Size: u.Size, More: u.More, Accepted: u.Accepted, Why: u.Why}
		for _, m := range u.Members {
			j.Members = append(j.Members, ui.NewPathText(m))
		}
		out.Unproved = append(out.Unproved, j)
	}
	return out
}

func (r *rebuildJSON) print(a *app) {
	w := a.stdout
	if r.Snapshot != "" {
		fmt.Fprintf(w, "began with the snapshot %s\n", r.Snapshot)
	}
	for _, t := range r.Tapes {
		fmt.Fprintf(w, "tape %s (pool %s, number %d): %s, %s\n", t.Barcode, t.Pool, t.Number,
			ui.Count(int64(t.Manifests), "manifest", "manifests"), ui.Count(int64(t.Files), "object or part", "objects and parts"))
		for _, n := range t.Gaps {
			fmt.Fprintf(w, "tape %s: manifest %d is missing or was refused\n", t.Barcode, n)
		}
	}
	for _, b := range r.Before {
		fmt.Fprintf(w, "tape %s was read before\n", ui.Printable(b))
	}
	for _, p := range r.Passed {
		fmt.Fprintf(w, "tape %s passed over: %s\n", ui.Printable(p.Barcode), ui.PrintableText(p.Why))
	}
	for _, list := range []struct {
		word  string
		files []archiver.Refusal
	}{{"remark", r.Remarks}, {"refused", r.Refused}, {"not read", r.Skipped}} {
		for _, p := range list.files {
			if p.Name == "" {
				fmt.Fprintf(w, "%s: tape %s: %s\n", list.word, ui.Printable(p.Barcode), ui.PrintableText(p.Why))
			} else {
				fmt.Fprintf(w, "%s: tape %s: %s: %s\n", list.word, ui.Printable(p.Barcode), ui.Printable(p.Name), ui.PrintableText(p.Why))
			}
			if p.Hint != "" {
				fmt.Fprintf(w, "    hint: %s\n", ui.PrintableText(p.Hint))
			}
		}
	}
	for _, u := range r.Unproved {
		text := "unproved"
		if u.Accepted {
			text = "accepted"
		}
		fmt.Fprintf(w, "%s: tape %s: %s (%s)\n", text, u.Barcode, ui.Printable(u.Name), ui.Bytes(u.Size))
		for _, m := range u.Members {
			fmt.Fprintf(w, "    %s\n", ui.Printable(m.Path))
		}
		if u.More > 0 {
			fmt.Fprintf(w, "    and %d more\n", u.More)
		}
		if u.Why != "" {
			fmt.Fprintf(w, "    %s\n", ui.PrintableText(u.Why))
		}
	}
	for _, t := range r.Unread {
		fmt.Fprintf(w, "missing: tape %s: %s\n", ui.Printable(t.Barcode), ui.PrintableText(t.Why))
	}
	for _, t := range r.Missing {
		where := ""
		if t.Place != "" {
			where = ", at " + ui.Printable(t.Place)
		}
		fmt.Fprintf(w, "missing: tape %s (pool %s, number %d%s): %s, %s; nothing else that was read has %s, %s of them\n", t.Barcode, t.Pool, t.Number, where,
			ui.Count(int64(t.Objects), "object", "objects"), ui.Bytes(t.Bytes), ui.Count(int64(t.Only), "object", "objects"), ui.Bytes(t.OnlyBytes))
	}
	fmt.Fprintf(w, "catalog %s: %s, %s, %s in %s, %s\n", r.Catalog, ui.Count(r.Sources, "source", "sources"), ui.Count(r.Files, "file", "files"), ui.Bytes(r.Bytes),
		ui.Count(r.Objects, "object", "objects"), ui.Count(r.Past, "past version", "past versions"))
}
