package changer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// After each session drive and cartridge are asked what they count, and flags are handed on; a drive that another program holds is
// not asked, and one without sg_logs is asked no more.
func TestWear(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 2, Tapes: 2})
	var told []changer.Wear
	w.l.OnWear(func(wear changer.Wear) { told = append(told, wear) })
	le, uuid := w.formatted("VT0001L8")
	told = nil
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), make([]byte, 3<<20), 0o644))
	w.fault("worn=VT0001L8:40", "tape-alert=VT0001L8:7", "wants-cleaning=0", "drive-alert=1:38")
	if _, err := v.Sync(w.ctx); err != nil {
		t.Fatal(err)
	}
	if len(told) != 0 {
		t.Errorf("the drive was asked while a volume was mounted: %+v", told)
	}
	w.must(v.Unmount(w.ctx))
	if len(told) != 1 {
		t.Fatalf("told %+v", told)
	}
	got := told[0]
	if got.Barcode != "VT0001L8" || got.UUID != uuid || got.Drive != "VTLDRV0001" || got.At.IsZero() || !slices.Equal(got.Alerts, []changer.TapeAlert{7, 20}) {
		t.Errorf("%+v", got)
	}
	if c := got.Tape; c.Loads != 1 || c.MBWritten < 3 || c.WriteRetries != 40 || c.ReadRetries != 20 || c.WriteErrors != 0 || c.MBRead != -1 {
		t.Errorf("of the tape: %+v", c)
	}
	if d := got.Own; d.Loads != 1 || d.PoweredHours != 1000 {
		t.Errorf("of the drive: %+v", d)
	}

	// A volume that does not mount: the drive may know why.
	w.fault("clear", "needs-check=VT0001L8", "tape-alert=VT0001L8:52")
	told = nil
	if _, err := le.Mount(w.ctx, changer.MountRequest{UUID: uuid, ReadOnly: true}); err == nil {
		t.Fatal("it mounted")
	}
	if len(told) != 1 || !slices.Equal(told[0].Alerts, []changer.TapeAlert{52}) {
		t.Errorf("told %+v", told)
	}

	// Without the program nothing is said and nothing fails.
	w.fault("clear")
	w.must(os.Remove(filepath.Join(w.vl.Bin, "sg_logs")))
	told = nil
	for range 2 {
		w.must(w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true}).Unmount(w.ctx))
	}
	if len(told) != 0 {
		t.Errorf("told %+v", told)
	}
}

// sg_logs that fails, or prints something else, fails no job.
func TestWearFails(t *testing.T) {
	for name, script := range map[string]string{"fails": "echo nonsense; exit 99", "prints nonsense": "echo nonsense", "prints nothing": "exit 0"} {
		w := newWorld(t, virtual.Options{Slots: 2, Drives: 1, Tapes: 1})
		w.must(os.WriteFile(filepath.Join(w.vl.Bin, "sg_logs"), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
		w.l.OnWear(func(wear changer.Wear) { t.Errorf("%s: told %+v", name, wear) })
		le, uuid := w.formatted("VT0001L8")
		w.must(w.mount(le, changer.MountRequest{UUID: uuid}).Unmount(w.ctx))
	}
}

// Every flag that is known says what it is, and what to do about it if data or drive are at risk.
func TestTapeAlerts(t *testing.T) {
	for a := changer.TapeAlert(1); a <= 64; a++ {
		known := strings.Contains(a.String(), ":")
		if a.Grave() && (!known || a.Todo() == "" || a.About() == changer.AboutNeither) {
			t.Errorf("%s: %q", a, a.Todo())
		}
	}
	if a := changer.TapeAlert(38); a.About() != changer.AboutDrive || !a.Grave() || changer.TapeAlert(48).String() != "TapeAlert 48" {
		t.Error(a)
	}
}
