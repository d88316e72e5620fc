package changer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// checkWorld counts the ltfsck programs that are run, and has volumes need a check once their ltfs was killed.
func checkWorld(t *testing.T, o virtual.Options, change ...func(*changer.Config)) *world {
	w := newWorld(t, o, append(change, func(cfg *changer.Config) {
		real := cfg.Programs.Ltfsck
		cfg.Programs.Ltfsck = filepath.Join(filepath.Dir(cfg.RunDir), "counted", "ltfsck")
		if err := os.MkdirAll(filepath.Dir(cfg.Programs.Ltfsck), 0o700); err != nil {
			t.Fatal(err)
		}
		script := "#!/bin/sh\necho \"$*\" >>'" + cfg.Programs.Ltfsck + ".log'\nexec '" + real + "' \"$@\"\n"
		if err := os.WriteFile(cfg.Programs.Ltfsck, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	})...)
	w.fault("kill-needs-check")
	return w
}

// checks are the runs of ltfsck so far: "list" for those that only read, "check" for those that may write.
func (w *world) checks() string {
	w.Helper()
	text, err := os.ReadFile(w.cfg.Programs.Ltfsck + ".log")
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	w.must(err)
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "-l ") {
			out = append(out, "list")
		} else {
			out = append(out, "check")
		}
	}
	return strings.Join(out, " ")
}

// died has a session on a new volume whose ltfs was killed: what was written before the last sync is on tape.
func (w *world) died(b changer.Barcode) (uuid string) {
	w.Helper()
	le, uuid := w.formatted(b)
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "synced"), []byte("safe"), 0o644))
	_, err := v.Sync(w.ctx)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(v.Dir, "lost"), []byte("not safe"), 0o644))
	w.fault("kill-ltfs")
	if err := le.Release(w.ctx); err == nil {
		w.Error("a killed ltfs is no error")
	}
	w.l = w.open()
	return uuid
}

func TestDiedSessionIsChecked(t *testing.T) {
	for _, readOnly := range []bool{true, false} {
		w := checkWorld(t, virtual.Options{Slots: 3, Drives: 1})
		uuid := w.died("VT0001L8")
		if died := w.l.Died(); len(died) != 1 || died[0].Barcode != "VT0001L8" || died[0].UUID != uuid || died[0].Drive == "" {
			t.Fatalf("died: %+v", died)
		}
		var told []changer.Checked
		w.l.OnCheck(func(_ context.Context, c changer.Checked) error {
			told = append(told, c)
			return nil
		})
		v := w.mount(w.loaded("VT0001L8"), changer.MountRequest{UUID: uuid, ReadOnly: readOnly})
		if b, err := os.ReadFile(filepath.Join(v.Dir, "synced")); err != nil || string(b) != "safe" {
			t.Errorf("read %q, %v", b, err)
		}
		if got := w.checks(); got != "list check" {
			t.Errorf("ltfsck was run as %q", got)
		}
		generation, err := v.Generation()
		w.must(err)
		if len(told) != 1 || told[0].Barcode != "VT0001L8" || told[0].UUID != uuid || told[0].Generation != generation {
			t.Errorf("told %+v, generation %d", told, generation)
		}
		if readOnly {
			if died := w.l.Died(); len(died) != 0 {
				t.Errorf("still noted: %+v", died)
			}
		}
		w.must(v.Unmount(w.ctx))
		if notes, _ := filepath.Glob(filepath.Join(w.cfg.RunDir, "session.*")); len(notes) != 0 {
			t.Errorf("notes are left: %v", notes)
		}
	}
}

// What did not have a session of ours that died is never checked, nor asked.
func TestNothingElseIsChecked(t *testing.T) {
	w := checkWorld(t, virtual.Options{Slots: 4, Drives: 1})
	refused := func(le *changer.Lease, uuid string) {
		t.Helper()
		_, err := le.Mount(w.ctx, changer.MountRequest{UUID: uuid, ReadOnly: true})
		w.wants(err, changer.ErrNeedsCheck, "tapefs tape check VT0001L8")
	}
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	w.must(v.Unmount(w.ctx))
	w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true})
	w.fault("kill-ltfs")
	w.must(w.l.Recover(w.ctx))
	if err := le.Volume().Unmount(w.ctx); err == nil {
		t.Error("a killed ltfs is no error")
	}
	w.fault("needs-check=VT0001L8") // after a session that ended in order, and one that only read
	refused(le, uuid)
	w.must(le.Release(w.ctx))
	if got := w.checks(); got != "" {
		t.Errorf("ltfsck was run as %q", got)
	}
	w.fault("clear")
	w.fault("kill-needs-check")

	byHand := w.cfg
	byHand.CheckByHand = true
	le = w.loaded("VT0001L8")
	v = w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "more"), []byte("content"), 0o644))
	w.fault("kill-ltfs")
	if err := le.Release(w.ctx); err == nil {
		t.Error("a killed ltfs is no error")
	}
	auto := w.l
	w.cfg = byHand
	w.l = w.open()
	le = w.loaded("VT0001L8")
	refused(le, uuid)
	if died := w.l.Died(); len(died) != 1 {
		t.Errorf("died: %+v", died)
	}
	if got := w.checks(); got != "" {
		t.Errorf("ltfsck was run as %q", got)
	}
	_, err := le.Check(w.ctx, false)
	w.must(err)
	w.must(le.Release(w.ctx))
	if died := auto.Died(); len(died) != 0 {
		t.Errorf("died: %+v", died)
	}
}

// Another tape that carries the barcode of one whose session died is asked who it is, and not touched.
func TestExchangedTapeIsNotChecked(t *testing.T) {
	w := checkWorld(t, virtual.Options{Slots: 4, Drives: 1})
	uuid := w.died("VT0001L8")
	le := w.loaded("VT0001L8")
	w.must(le.Unload(w.ctx))
	w.must(le.Release(w.ctx))
	w.must(w.vl.Remove(1))
	w.must(w.vl.Add(1, virtual.Cartridge{Barcode: "VT0001L8"}))
	w.l = w.open()
	notes, _ := filepath.Glob(filepath.Join(w.cfg.RunDir, "session.*"))
	if len(notes) != 1 {
		t.Fatalf("notes: %v", notes)
	}
	note, err := os.ReadFile(notes[0])
	w.must(err)
	le, other := w.formatted("VT0001L8")
	w.must(os.WriteFile(notes[0], note, 0o600)) // formatted by somebody else, that is
	w.fault("needs-check=VT0001L8")
	_, err = le.Mount(w.ctx, changer.MountRequest{UUID: uuid})
	w.wants(err, changer.ErrWrongVolume, "labels may have been swapped")
	if !strings.Contains(err.Error(), other) {
		t.Errorf("the error does not name the volume: %v", err)
	}
	if got := w.checks(); got != "list" {
		t.Errorf("ltfsck was run as %q", got)
	}
}

func TestFailedCheckIsRemembered(t *testing.T) {
	w := checkWorld(t, virtual.Options{Slots: 3, Drives: 1})
	uuid := w.died("VT0001L8")
	w.fault("check-fails=VT0001L8")
	for range 2 { // the second one does not try
		le := w.loaded("VT0001L8")
		_, err := le.Mount(w.ctx, changer.MountRequest{UUID: uuid, ReadOnly: true})
		w.wants(err, changer.ErrNeedsCheck, "tapefs tape check VT0001L8")
		w.must(le.Release(w.ctx))
		w.l = w.open()
	}
	if got := w.checks(); got != "list check" {
		t.Errorf("ltfsck was run as %q", got)
	}
	if died := w.l.Died(); len(died) != 1 || !strings.Contains(died[0].String(), "could not mend it") {
		t.Errorf("died: %+v", died)
	}
	w.fault("clear=check-fails")
	le := w.loaded("VT0001L8")
	_, err := le.Check(w.ctx, false)
	w.must(err)
	w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true})
	if died := w.l.Died(); len(died) != 0 {
		t.Errorf("died: %+v", died)
	}
}

// An ltfsck that does not end is given up on at its limit, and never killed: its drive is its own until it ends, and nobody waits.
func TestStuckCheck(t *testing.T) {
	w := checkWorld(t, virtual.Options{Slots: 6, Drives: 2, Tapes: 3}, func(cfg *changer.Config) { cfg.CheckTimeout = 2 * time.Second })
	uuid := w.died("VT0001L8")
	w.fault("stuck-check=VT0001L8")
	le := w.loaded("VT0001L8")
	_, err := le.Mount(w.ctx, changer.MountRequest{UUID: uuid, ReadOnly: true})
	w.wants(err, changer.ErrNeedsCheck, "tapefs tape check VT0001L8")
	began := time.Now()
	w.must(le.Release(w.ctx))
	if d := time.Since(began); d > w.cfg.UnmountTimeout/2 {
		t.Errorf("the drive was given up after %s", d)
	}
	_, err = w.open().Lease(w.ctx, changer.Request{Barcode: "VT0001L8"})
	w.wants(err, changer.ErrStuck, "the drive is used again")
	if !strings.Contains(err.Error(), "ltfsck (pid ") {
		t.Errorf("it does not say what is stuck: %v", err)
	}
	w.must(w.loaded("VT0002L8").Release(w.ctx))
	w.fault("clear=stuck-check")
	le = w.again("VT0001L8")
	defer func() { w.must(le.Release(w.ctx)) }()
	w.must(le.Load(w.ctx, "VT0001L8"))
	w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true}) // it came to its end, and the volume is consistent
	if died := w.l.Died(); len(died) != 0 {
		t.Errorf("died: %+v", died)
	}
}

func TestDiedSessionWithoutChanger(t *testing.T) {
	w := checkWorld(t, virtual.Options{Slots: 2, Drives: 1})
	le := w.loaded("VT0001L8")
	w.must(le.Release(w.ctx))
	w.cfg.Changer = changer.None
	w.l = w.open()
	uuid := w.died("VT0001L8")
	le = w.lease(changer.Request{})
	b, err := le.Identify(w.ctx)
	w.must(err)
	if b != "VT0001L8" {
		t.Errorf("identified as %q", b)
	}
	w.must(le.Load(w.ctx, "VT0001L8"))
	if got := strings.ReplaceAll(w.checks(), "list ", ""); got != "list" {
		t.Errorf("ltfsck was run as %q", w.checks())
	}
	w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true})
	if !strings.HasSuffix(w.checks(), "list check") {
		t.Errorf("ltfsck was run as %q", w.checks())
	}
}
