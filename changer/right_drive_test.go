package changer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// mixedWorld is a library of two drives, with a tape of somebody else in slot 5, formatted.
func mixedWorld(t *testing.T) *world {
	w := newWorld(t, virtual.Options{Slots: 6, Drives: 2, Tapes: 4})
	le, _ := w.formatted("VT0004L8")
	w.must(le.Unload(w.ctx))
	w.must(le.Release(w.ctx))
	return w
}

// robot moves a tape past the library, as a person at its panel does.
func (w *world) robot(args ...string) {
	w.Helper()
	if out, err := exec.Command(filepath.Join(w.vl.Bin, "mtx"), append([]string{"-f", w.vl.Changer}, args...)...).CombinedOutput(); err != nil {
		w.Fatalf("mtx %s: %v: %s", args, err, out)
	}
}

// refuses wants a load, and a format if the load did well, to end with ErrMixedDrives that names both drives, and no tape formatted.
func (w *world) refuses(b changer.Barcode) {
	w.Helper()
	before := w.formats()
	w.l = w.open()
	le := w.lease(changer.Request{Barcode: b, Write: true})
	err := le.Load(w.ctx, b)
	if err == nil {
		_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: b, Erase: true})
	}
	w.wants(err, changer.ErrMixedDrives, "doctor")
	for _, d := range w.vl.Drives {
		if !strings.Contains(err.Error(), d.Serial) {
			w.Errorf("the error does not name drive %s: %v", d.Serial, err)
		}
	}
	if n := w.formats(); n != before {
		w.Fatalf("%d tapes were formatted", n-before)
	}
	w.must(le.Release(w.ctx))
}

func (w *world) withoutLinks() {
	w.Helper()
	w.must(os.RemoveAll(filepath.Join(w.vl.Dir, "dev", "tape", "by-id")))
}

func TestExchangedNodes(t *testing.T) {
	for name, links := range map[string]bool{"with links of the serials": true, "without links": false} {
		t.Run(name, func(t *testing.T) {
			w := mixedWorld(t)
			if !links {
				w.withoutLinks()
			}
			w.robot("load", "4", "1") // the other drive holds another tape
			w.fault("exchanged-nodes=0:1")
			w.refuses("VT0001L8")
		})
	}
}

func TestExchangedElements(t *testing.T) {
	t.Run("both drives empty", func(t *testing.T) {
		w := mixedWorld(t)
		w.fault("exchanged-elements=0:1")
		w.refuses("VT0001L8")
	})
	t.Run("both drives loaded", func(t *testing.T) {
		w := mixedWorld(t)
		w.fault("exchanged-elements=0:1")
		w.robot("load", "1", "0")
		w.robot("load", "4", "1")
		w.refuses("VT0001L8")
	})
	t.Run("the volume that is found is another drive's", func(t *testing.T) {
		w := mixedWorld(t)
		le, uuid := w.formatted("VT0001L8")
		w.must(le.Unload(w.ctx))
		w.must(le.Release(w.ctx))
		w.fault("exchanged-elements=0:1")
		w.robot("load", "1", "0")
		w.robot("load", "4", "1")
		le = w.lease(changer.Request{Barcode: "VT0001L8"})
		w.must(le.Load(w.ctx, "VT0001L8"))
		_, err := le.Mount(w.ctx, changer.MountRequest{UUID: uuid, ReadOnly: true})
		w.wants(err, changer.ErrMixedDrives, "doctor")
	})
}

// Only the sg nodes are exchanged: mt asks the right drive, and mkltfs formats in the other.
func TestExchangedDeviceAlone(t *testing.T) {
	w := mixedWorld(t)
	w.withoutLinks()
	w.cfg.Drives[0].Device, w.cfg.Drives[1].Device = w.cfg.Drives[1].Device, w.cfg.Drives[0].Device
	w.refuses("VT0001L8")
}

// A tape that is in its drive already when we come is formatted after the drive was proved by a move, also beside another one.
func TestLoadedTapeIsProvedByAMove(t *testing.T) {
	w := mixedWorld(t)
	w.robot("load", "1", "0")
	w.robot("load", "4", "1")
	le := w.loaded("VT0001L8")
	_, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"})
	w.must(err)
	moves := 0
	log, err := w.vl.Log()
	w.must(err)
	for _, e := range log {
		if e.Kind == "unload" && e.Barcode == "VT0001L8" {
			moves++
		}
	}
	if moves != 1 {
		t.Errorf("the tape was unloaded %d times, want once to prove its drive", moves)
	}
	if e, ok := w.inventory().FindDrive("VT0001L8"); !ok || e.Number != 0 {
		t.Errorf("the tape is not back in its drive: %+v", w.inventory())
	}
}
