package changer_test

import (
	"testing"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// formats counts what mkltfs did.
func (w *world) formats() int {
	w.Helper()
	log, err := w.vl.Log()
	w.must(err)
	n := 0
	for _, e := range log {
		if e.Kind == "format" {
			n++
		}
	}
	return n
}

func (w *world) looks(le *changer.Lease, want changer.Content) {
	w.Helper()
	if c, err := le.Look(w.ctx); err != nil || c != want {
		w.Errorf("look: %v, %v; want %v", c, err, want)
	}
}

func TestLookAndFormat(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 5, Drives: 1, Tapes: 1})
	w.must(w.vl.Add(2, virtual.Cartridge{Barcode: "RAW001L8", Content: virtual.Raw}))
	w.must(w.vl.Add(3, virtual.Cartridge{Barcode: "SHORTL8"}))
	le := w.loaded("VT0001L8")
	w.looks(le, changer.ContentBlank)
	uuid, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"})
	w.must(err)
	w.looks(le, changer.ContentLTFS)
	n := w.formats()
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"})
	w.wants(err, changer.ErrNotBlank, "--erase VT0001L8")
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0002L8", Erase: true})
	w.wants(err, changer.ErrWrongVolume, "")
	if w.formats() != n {
		t.Fatal("a refused tape was formatted")
	}
	w.mount(le, changer.MountRequest{UUID: uuid})
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8", Erase: true})
	w.wants(err, changer.ErrBusy, "")
	w.must(le.Volume().Unmount(w.ctx))
	second, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8", Erase: true})
	w.must(err)
	if second == uuid {
		t.Error("the new volume has the old UUID")
	}

	w.must(le.Load(w.ctx, "RAW001L8"))
	w.looks(le, changer.ContentForeign)
	n = w.formats()
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "RAW001L8"})
	w.wants(err, changer.ErrNotBlank, "--erase RAW001L8")
	if w.formats() != n {
		t.Fatal("foreign data was formatted over")
	}
	w.looks(le, changer.ContentForeign)
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "RAW001L8", Erase: true})
	w.must(err)
	w.must(le.Unload(w.ctx))
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "RAW001L8", Erase: true})
	w.wants(err, changer.ErrNoMedium, "load")
	if c, err := le.Look(w.ctx); c != changer.ContentUnknown {
		t.Errorf("look into an empty drive: %v, %v", c, err)
	}
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "CLN001L1", Erase: true})
	w.wants(err, changer.ErrIncompatible, "")
}

func TestNone(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	setup := w.loaded("VT0001L8")
	w.must(setup.Release(w.ctx))
	w.cfg.Changer = changer.None
	w.l = w.open()
	le := w.lease(changer.Request{Barcode: "VT0001L8"})
	w.must(le.Load(w.ctx, "VT0001L8")) // blank: nothing says that it is another one
	uuid, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8"})
	w.must(err)
	w.must(le.Load(w.ctx, "VT0001L8"))
	w.wants(le.Load(w.ctx, "VT0002L8"), changer.ErrWrongVolume, "insert tape VT0002L8")
	w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(le.Volume().Unmount(w.ctx))
	if b, full, err := le.Loaded(w.ctx); err != nil || !full || b != "VT0001L8" {
		t.Errorf("loaded %q %v %v", b, full, err)
	}
	w.must(le.Unload(w.ctx))
	w.wants(le.Load(w.ctx, "VT0001L8"), changer.ErrNoMedium, "insert tape VT0001L8")
	if inv := w.inventory(); len(inv.Drives) != 1 || inv.Drives[0].Full || len(inv.Slots) != 0 {
		t.Errorf("inventory %+v", inv)
	}
}
