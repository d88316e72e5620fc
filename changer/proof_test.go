package changer_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

func (w *world) proved(element int) bool {
	w.Helper()
	_, ok := w.l.Proof(w.l.Configured()[element])
	return ok
}

// The first load of a drive proves it; an element, a serial number or a node that changes needs a new proof.
func TestFirstLoadProves(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2, Tapes: 2})
	if w.proved(0) || w.proved(1) {
		t.Fatal("a drive is proved that nobody ever loaded")
	}
	le := w.lease(changer.Request{Drive: w.vl.Drives[0].Serial})
	w.must(le.Load(w.ctx, "VT0001L8"))
	w.must(le.Release(w.ctx))
	if !w.proved(0) || w.proved(1) {
		t.Fatalf("proved: %v, %v; want the first drive alone", w.proved(0), w.proved(1))
	}
	was := w.cfg.Drives[0]
	for name, change := range map[string]func(*changer.DriveConfig){
		"element": func(d *changer.DriveConfig) { d.Element = 7 },
		"serial":  func(d *changer.DriveConfig) { d.Serial = "OTHER" },
		"node":    func(d *changer.DriveConfig) { d.Tape = w.cfg.Drives[1].Tape },
	} {
		d := was
		change(&d)
		if _, ok := w.l.Proof(d); ok {
			t.Errorf("the proof counts after a change of %s", name)
		}
	}
	w.withoutLinks()
	if _, ok := w.l.Proof(was); !ok {
		t.Error("without links of the serials the same node is not proved any more")
	}
	moved := was
	moved.Tape = w.cfg.Drives[1].Tape
	if _, ok := w.l.Proof(moved); ok {
		t.Error("without links of the serials another node is proved")
	}
}

// What the configuration says counts until the opposite was seen.
func TestConfiguredProof(t *testing.T) {
	w := mixedWorld(t)
	w.withoutLinks()
	w.must(os.Remove(filepath.Join(w.dir, "run", "proved."+w.vl.Drives[0].Serial)))
	d := &w.cfg.Drives[0]
	d.Proved = changer.Proof{Serial: d.Serial, Element: d.Element, Node: d.Tape, At: time.Now().UTC()}
	w.l = w.open()
	if !w.proved(0) {
		t.Fatal("the proof of the configuration does not count")
	}
	w.robot("load", "4", "1")
	w.fault("exchanged-nodes=0:1")
	w.refuses("VT0001L8")
	if w.proved(0) {
		t.Fatal("the drive is proved still, although its node is that of another drive")
	}
	w.fault("clear")
	w.l = w.open()
	le := w.loaded("VT0001L8")
	if _, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"}); err != nil {
		t.Errorf("nothing is exchanged any more: %v", err)
	}
}

// Two leases load at the same time while the elements are exchanged: each node was empty before and holds a tape afterwards,
// the other's. Nothing may be proved by that.
func TestExchangedElementsLoadedAtOnce(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2, Tapes: 2})
	w.fault("exchanged-elements=0:1")
	w.cfg.ReadyTimeout /= 6
	w.l = w.open()
	w.formatBoth()
}

// formatBoth has both drives loaded and formatted at the same time, which must not succeed.
func (w *world) formatBoth() {
	w.Helper()
	tapes := []changer.Barcode{"VT0001L8", "VT0002L8"}
	errs := make([]error, len(tapes))
	var all sync.WaitGroup
	for i, b := range tapes {
		all.Go(func() {
			le, err := w.l.Lease(w.ctx, changer.Request{Drive: w.vl.Drives[i].Serial, Write: true})
			if err != nil {
				errs[i] = err
				return
			}
			defer le.Release(w.ctx)
			if errs[i] = le.Load(w.ctx, b); errs[i] == nil {
				_, errs[i] = le.Format(w.ctx, changer.FormatRequest{Barcode: b})
			}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err == nil {
			w.Errorf("%s was formatted in a drive that does not hold it", tapes[i])
		}
	}
	if n := w.formats(); n != 0 {
		w.Errorf("%d tapes were formatted", n)
	}
}

// The memory of a cartridge names another tape than its label: nothing destroys what is on it, unless somebody insists.
func TestCartridgeMemory(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 1, Tapes: 3})
	w.fault("memory=VT0001L8:OTHER1", "memory=VT0002L8:VT0002L8", "memory=VT0003L8:none")
	le := w.loaded("VT0001L8")
	_, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"})
	w.wants(err, changer.ErrOtherCartridge, "--unproved")
	w.wants(le.Erase(w.ctx, changer.EraseRequest{Barcode: "VT0001L8"}), changer.ErrOtherCartridge, "--unproved")
	if n := w.formats(); n != 0 {
		t.Fatalf("%d tapes were formatted", n)
	}
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8", Unasked: true})
	w.must(err)
	for _, b := range []changer.Barcode{"VT0002L8", "VT0003L8"} { // eight characters, and a drive that does not tell
		w.must(le.Load(w.ctx, b))
		_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: b})
		w.must(err)
	}
	w.fault("clear")
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0003L8", Erase: true}) // six characters, as mkltfs wrote them
	w.must(err)
}

// Without the program nothing is refused.
func TestCartridgeMemoryNotTold(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 2, Drives: 1, Tapes: 1})
	w.fault("memory=VT0001L8:OTHER1")
	w.cfg.Programs.SgReadAttr = filepath.Join(w.dir, "nowhere")
	w.l = w.open()
	le := w.loaded("VT0001L8")
	_, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"})
	w.must(err)
}

// Drives that were proved, and exchanged since: their old proofs stand, and they are loaded at the same time, so that each node was
// empty before and holds a tape afterwards. Nothing is formatted, and the proof is gone.
func TestStaleProofsLoadedAtOnce(t *testing.T) {
	for _, kind := range []string{"exchanged-elements=0:1", "exchanged-nodes=0:1"} {
		w := newWorld(t, virtual.Options{Slots: 4, Drives: 2, Tapes: 2})
		for i, d := range w.vl.Drives {
			le := w.lease(changer.Request{Drive: d.Serial})
			w.must(le.Load(w.ctx, changer.Barcode([]string{"VT0001L8", "VT0002L8"}[i])))
			w.must(le.Unload(w.ctx))
			w.must(le.Release(w.ctx))
		}
		w.withoutLinks()
		w.l = w.open()
		if !w.proved(0) || !w.proved(1) {
			t.Fatal("the drives are not proved")
		}
		w.fault(kind)
		w.cfg.ReadyTimeout /= 6
		w.l = w.open()
		w.formatBoth()
		if w.proved(0) && w.proved(1) {
			t.Errorf("%s: both drives are proved still", kind)
		}
	}
}

// Which drive is at which element is found out by the robot, whatever the configuration says and whatever lies in the drives.
func TestPair(t *testing.T) {
	for _, c := range []struct {
		fault string
		links bool
		swap  string // what of the two drives is to change places
	}{
		{"", true, ""}, {"", false, ""},
		{"exchanged-elements=0:1", true, "element"}, {"exchanged-nodes=0:1", true, "nodes"},
		{"exchanged-elements=0:1", false, "nodes"}, {"exchanged-nodes=0:1", false, "nodes"},
	} {
		w := mixedWorld(t)
		if !c.links {
			w.withoutLinks()
		}
		w.robot("load", "1", "0")
		w.robot("load", "4", "1")
		if c.fault != "" {
			w.fault(c.fault)
		}
		w.l = w.open()
		pairs, err := w.l.Pair(w.ctx)
		if err != nil || len(pairs) != 2 {
			t.Fatalf("%+v: %+v, %v", c, pairs, err)
		}
		was := slices.Clone(w.cfg.Drives)
		for i, p := range pairs {
			want, other := was[i], was[1-i]
			switch c.swap {
			case "element":
				want.Element = other.Element
			case "nodes":
				want.Device, want.Tape = other.Device, other.Tape
			}
			if p.Element != want.Element || p.Device != want.Device || p.Tape != want.Tape || p.Changed() != (c.swap != "") {
				t.Errorf("%+v: drive %s is at element %d with %s and %s, want %d, %s, %s", c, p.Drive.Serial, p.Element, p.Device, p.Tape, want.Element, want.Device, want.Tape)
			}
			w.cfg.Drives[i].Element, w.cfg.Drives[i].Device, w.cfg.Drives[i].Tape = p.Element, p.Device, p.Tape
		}
		w.l = w.open()
		if !w.proved(0) || !w.proved(1) {
			t.Errorf("%+v: the drives are not proved afterwards", c)
		}
		if inv := w.inventory(); len(inv.Barcodes()) != 4 || inv.Drives[0].Full || inv.Drives[1].Full {
			t.Errorf("%+v: the tapes are not back in their slots: %+v", c, inv)
		}
		le := w.loaded("VT0001L8")
		_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"})
		w.must(err)
	}
}
