package changer_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// Only a generation that rose proves a sync: ltfs may say that all is well and write nothing.
func TestSyncWantsTheGenerationToRise(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	w.fault("sync-lies")
	_, err := v.Sync(w.ctx)
	w.wants(err, changer.ErrSync, "counts as lost")
	w.fault("clear")
	before, err := v.Generation()
	w.must(err)
	if after, err := v.Sync(w.ctx); err != nil || after <= before {
		t.Errorf("generation %d after %d, %v", after, before, err)
	}
}

// A sync is proved by the volume that was meant: another one at the same place proves nothing.
func TestSyncWantsItsOwnVolume(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2})
	le, uuid := w.formatted("VT0001L8")
	second := w.lease(changer.Request{Barcode: "VT0002L8", Purpose: "test"})
	w.must(second.Load(w.ctx, "VT0002L8"))
	other, err := second.Format(w.ctx, changer.FormatRequest{Barcode: "VT0002L8"})
	w.must(err)
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	there := w.mount(second, changer.MountRequest{UUID: other})

	// Its UUID.
	v.UUID = other
	_, err = v.Sync(w.ctx)
	w.wants(err, changer.ErrWrongVolume, "")
	w.wants(err, changer.ErrSync, "")
	v.UUID = uuid
	_, err = v.Sync(w.ctx)
	w.must(err)

	// Its mount: the second drive's volume lies over it, under the first one's UUID.
	w.must(unix.Mount(there.Dir, v.Dir, "", unix.MS_BIND, ""))
	v.UUID = other
	_, err = v.Sync(w.ctx)
	v.UUID = uuid
	w.must(unix.Unmount(v.Dir, 0))
	w.wants(err, changer.ErrSync, "")
	_, err = v.Sync(w.ctx)
	w.must(err)
}

// A tape is blank only when its end of data was found at the first record, not when that could not be looked for.
func TestFailingEndOfDataIsNotBlank(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 1, Tapes: -1})
	w.must(w.vl.Add(1, virtual.Cartridge{Barcode: "VT0001L8", Content: virtual.Raw}))
	w.must(w.vl.Add(2, virtual.Cartridge{Barcode: "VT0002L8"}))
	w.fault("eod-eio")
	for _, barcode := range []changer.Barcode{"VT0001L8", "VT0002L8"} {
		le := w.loaded(barcode)
		if content, err := le.Look(w.ctx); content != changer.ContentUnknown || err == nil {
			t.Errorf("%s: %v, %v", barcode, content, err)
		}
		if _, err := le.Format(w.ctx, changer.FormatRequest{Barcode: barcode}); err == nil {
			t.Errorf("%s was formatted", barcode)
		}
		w.must(le.Unload(w.ctx))
		w.must(le.Release(w.ctx))
	}
}
