package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

type runsCmd struct {
	ID    int64 `arg:"" optional:"" help:"Show one run whole."`
	Limit int   `help:"How many runs to list." default:"20"`
}

type runJSON struct {
	ID      int64                       `json:"id"`
	Kind    string                      `json:"kind"`
	Args    []string                    `json:"args"`
	Started time.Time                   `json:"started"`
	Ended   *time.Time                  `json:"ended,omitempty"`
	State   string                      `json:"state"`
	Message string                      `json:"message,omitempty"`
	Counts  map[string]map[string]int64 `json:"counts"`
	Errors  []runErrorJSON              `json:"errors"`
	Tapes   []catalog.RunTape           `json:"tapes"`
}

type runErrorJSON struct {
	Source string `json:"source"`
	ui.PathText
	Message string `json:"message"`
}

func runOf(r catalog.RunReport) runJSON {
	out := runJSON{ID: r.ID, Kind: r.Kind, Args: r.Args, Started: r.Started, Ended: ui.TimeOrNil(r.Ended),
		State: r.State, Message: r.Message, Counts: r.Counts, Errors: []runErrorJSON{}, Tapes: r.Tapes}
	if r.State == "running" && !job.Alive(r.Run) {
		out.State, out.Message = "interrupted", catalog.Died
	}
	for _, e := range r.Errors {
		out.Errors = append(out.Errors, runErrorJSON{e.Source, ui.NewPathText(e.Path), e.Message})
	}
	return out
}

func (c *runsCmd) Run(ctx context.Context, a *app) error {
	_, db, err := a.readCatalog(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if c.ID != 0 {
		return c.one(ctx, a, db)
	}
	runs, err := db.Runs(ctx, c.Limit)
	if err != nil {
		return err
	}
	rows := []runJSON{}
	for _, r := range runs {
		report, err := db.RunReport(ctx, r.ID)
		if err != nil {
			return err
		}
		rows = append(rows, runOf(report))
	}
	if a.JSON {
		return ui.WriteJSON(a.stdout, rows)
	}
	if len(rows) == 0 {
		fmt.Fprintln(a.stdout, "no runs yet")
		return nil
	}
	t := ui.NewTable(a.stdout, "RUN", "KIND", "STARTED", "TOOK", "STATE", "NEW", "CHANGED", "WRITTEN", "ERRORS", "TAPES")
	for _, r := range rows {
		t.Row(fmt.Sprint(r.ID), r.Kind, ui.DateOr(&r.Started, ""), took(r), r.State,
			humanize.Comma(r.sum("new")), humanize.Comma(r.sum("changed")), ui.Bytes(r.sum("written_bytes")),
			fmt.Sprint(len(r.Errors)), ui.OrDash(strings.Join(r.tapes(), " ")))
	}
	return t.Flush()
}

func (c *runsCmd) one(ctx context.Context, a *app, db *catalog.DB) error {
	report, err := db.RunReport(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("run %d: %w", c.ID, err)
	}
	r := runOf(report)
	if a.JSON {
		return ui.WriteJSON(a.stdout, r)
	}
	fmt.Fprintf(a.stdout, "run %d: %s %s\n", r.ID, r.Kind, strings.Join(r.Args, " "))
	t := ui.NewTable(a.stdout)
	t.Row("  state", r.State+" "+r.Message)
	t.Row("  started", r.Started.Local().Format(time.DateTime))
	t.Row("  took", took(r))
	for _, source := range sortedKeys(r.Counts) {
		for _, name := range sortedKeys(r.Counts[source]) {
			value := r.Counts[source][name]
			text := humanize.Comma(value)
			if strings.HasSuffix(name, "_ms") || value == 0 {
				continue // times are in the rates
			}
			if strings.HasSuffix(name, "_bytes") {
				text = ui.Bytes(value) + rateText(value, r.Counts[source][timedBy[name]])
			}
			t.Row("  "+strings.TrimSpace(source+" "+strings.ReplaceAll(name, "_", " ")), text)
		}
	}
	for _, tape := range r.Tapes {
		t.Row("  tape "+tape.Barcode, fmt.Sprintf("%s in %s", ui.Bytes(tape.Bytes), ui.Count(int64(tape.Parts), "part", "parts")))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, e := range report.Errors {
		fmt.Fprintf(a.stdout, "  %s: %s: %s\n", ui.OrDash(e.Source), ui.OrDash(ui.Printable(e.Path)), e.Message)
	}
	return nil
}

// timedBy names the counter with the milliseconds that bytes took.
var timedBy = map[string]string{"fetched_bytes": "fetch_ms", "written_bytes": "write_ms"}

func rateText(bytes, ms int64) string {
	if ms <= 0 || bytes <= 0 {
		return ""
	}
	return fmt.Sprintf(" at %s/s", ui.Bytes(int64(float64(bytes)/float64(ms)*1000)))
}

func (r *runJSON) sum(name string) (n int64) {
	for _, counts := range r.Counts {
		n += counts[name]
	}
	return n
}

func (r *runJSON) tapes() []string {
	names := make([]string, len(r.Tapes))
	for i, t := range r.Tapes {
		names[i] = t.Barcode
	}
	return names
}

func took(r runJSON) string {
	if r.Ended == nil {
		return "-"
	}
	return r.Ended.Sub(r.Started).Round(time.Second).String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
