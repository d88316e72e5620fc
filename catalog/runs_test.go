package catalog_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

func TestRuns(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	args := []string{"a b", "--limit", "it's\n"}
	run := must(l.db.StartRun(ctx, "verify", args))(t)
	if run.PID != os.Getpid() || run.State != "running" {
		t.Errorf("run: %+v", run)
	}
	check(t, l.db.Count(ctx, run.ID, "src", map[string]int64{"new": 2, "bytes": 1 << 40}))
	check(t, l.db.Count(ctx, run.ID, "src", map[string]int64{"new": 3}))
	check(t, l.db.Count(ctx, run.ID, "", map[string]int64{"loads": 1}))
	check(t, l.db.AddRunError(ctx, run.ID, "src", "bad\xff\n", "permission denied"))
	check(t, l.db.AddRunTape(ctx, run.ID, l.tapes[1].ID, 10, 1))
	check(t, l.db.AddRunTape(ctx, run.ID, l.tapes[1].ID, 5, 2))
	check(t, l.db.FinishRun(ctx, run.ID, "partial", "one file failed"))
	r := must(l.db.RunReport(ctx, run.ID))(t)
	if r.Kind != "verify" || !slices.Equal(r.Args, args) || r.State != "partial" || r.Message != "one file failed" || r.Ended.Before(r.Started) {
		t.Errorf("report: %+v", r.Run)
	}
	if r.Counts["src"]["new"] != 5 || r.Counts["src"]["bytes"] != 1<<40 || r.Counts[""]["loads"] != 1 {
		t.Errorf("counts: %v", r.Counts)
	}
	if len(r.Errors) != 1 || r.Errors[0] != (catalog.RunError{Source: "src", Path: "bad\xff\n", Message: "permission denied"}) {
		t.Errorf("errors: %q", r.Errors)
	}
	if len(r.Tapes) != 1 || r.Tapes[0] != (catalog.RunTape{Barcode: "B00001L8", Bytes: 15, Parts: 3}) {
		t.Errorf("tapes: %+v", r.Tapes)
	}
	if runs := must(l.db.Runs(ctx, 1))(t); len(runs) != 1 || runs[0].ID != run.ID {
		t.Errorf("newest: %+v", runs)
	}
	for what, err := range map[string]error{
		"report": func() error { _, err := l.db.RunReport(ctx, 999); return err }(), "end": l.db.FinishRun(ctx, 999, "done", ""),
	} {
		if !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("%s of an unknown run: %v", what, err)
		}
	}
}

func TestMarkInterrupted(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	check(t, l.db.FinishRun(ctx, must(l.db.StartRun(ctx, "archive", nil))(t).ID, "done", ""))
	var asked []int
	check(t, l.db.MarkInterrupted(ctx, func(r catalog.Run) bool { asked = append(asked, r.PID); return true }))
	if !slices.Equal(asked, []int{os.Getpid()}) {
		t.Errorf("asked after %v", asked)
	}
	if r := must(l.db.RunReport(ctx, l.run.ID))(t); r.State != "running" {
		t.Errorf("a living run: %+v", r.Run)
	}
	check(t, l.db.MarkInterrupted(ctx, func(catalog.Run) bool { return false }))
	for _, r := range must(l.db.Runs(ctx, 0))(t) {
		if want := map[bool]string{true: "interrupted", false: "done"}[r.ID == l.run.ID]; r.State != want || r.Ended.IsZero() != (want == "interrupted") {
			t.Errorf("run %d: %+v, want %s", r.ID, r, want)
		}
	}
}

func TestKeysAndTapes(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	again := must(l.db.EnsureKey(ctx, l.key.Fingerprint, "other", 1))(t)
	if again != l.key {
		t.Errorf("key: %+v, was %+v", again, l.key)
	}
	at := time.Unix(8, 8).UTC()
	check(t, l.db.SetKeyCopySeen(ctx, l.key.Fingerprint, at))
	if k := must(l.db.Keys(ctx))(t); len(k) != 1 || !k[0].CopySeen.Equal(at) {
		t.Errorf("keys: %+v", k)
	}
	if err := l.db.SetKeyCopySeen(ctx, "unknown", at); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a copy of an unknown key: %v", err)
	}
	if p := must(l.db.EnsurePool(ctx, "main"))(t); p.ID != l.pools[0].ID {
		t.Errorf("pool: %+v", p)
	}
	full := catalog.Tape{Barcode: "C00001L9", UUID: "u3", Pool: l.pools[0].ID, Number: 40, Generation: 9, State: catalog.TapeFull, Capacity: 1 << 44,
		Free: 3, Used: 4, Leftover: 5, IndexGeneration: 6, Formatted: at, Seen: at.Add(1), Loads: 7, Place: "safe", Note: "n"}
	got := must(l.db.AddTape(ctx, full))(t)
	full.ID, full.PoolName = got.ID, "main"
	if got != full {
		t.Errorf("tape: %+v\nwant: %+v", got, full)
	}
	changed := must(l.db.UpdateTape(ctx, got.ID, func(t *catalog.Tape) error { t.State, t.Pool, t.Note = catalog.TapeRetired, 0, "old"; return nil }))(t)
	if byCode := must(l.db.TapeByBarcode(ctx, "C00001L9"))(t); byCode != changed || changed.Pool != 0 || changed.PoolName != "" || changed.State != "retired" {
		t.Errorf("tape: %+v, %+v", changed, byCode)
	}
	stop := errors.New("stop")
	if _, err := l.db.UpdateTape(ctx, got.ID, func(t *catalog.Tape) error { t.Note = "x"; return stop }); !errors.Is(err, stop) {
		t.Errorf("a change that failed: %v", err)
	}
	if tape := must(l.db.TapeByUUID(ctx, "u3"))(t); tape.Note != "old" {
		t.Errorf("a change that failed was kept: %+v", tape)
	}
	for what, tape := range map[string]catalog.Tape{"barcode": {Barcode: "C00001L9"}, "volume": {Barcode: "D00001L9", UUID: "u3"}} {
		if _, err := l.db.AddTape(ctx, tape); err == nil {
			t.Errorf("two tapes have one %s", what)
		}
	}
	if next := must(l.db.AddTape(ctx, catalog.Tape{Barcode: "D00001L9"}))(t); next.Number != 41 || next.UUID != "" {
		t.Errorf("next: %+v", next)
	}
	must(l.db.AddTape(ctx, catalog.Tape{Barcode: "D00002L9"}))(t) // another that is not formatted yet
	for what, err := range map[string]error{
		"empty volume": func() error { _, err := l.db.TapeByUUID(ctx, ""); return err }(),
		"barcode":      func() error { _, err := l.db.TapeByBarcode(ctx, "x"); return err }(),
		"id":           func() error { _, err := l.db.UpdateTape(ctx, 99, func(*catalog.Tape) error { return nil }); return err }(),
	} {
		if !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("tape by unknown %s: %v", what, err)
		}
	}
	var codes []string
	for _, tape := range must(l.db.Tapes(ctx))(t) {
		codes = append(codes, tape.Barcode)
	}
	if !slices.IsSorted(codes) || len(codes) != 5 {
		t.Errorf("tapes: %v", codes)
	}
}
