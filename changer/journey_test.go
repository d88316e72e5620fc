package changer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

func TestInventory(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, MailSlots: 1, Drives: 2})
	inv := w.inventory()
	if len(inv.Drives) != 2 || len(inv.Slots) != 5 || !inv.Slots[4].ImportExport {
		t.Fatalf("inventory %+v", inv)
	}
	for i, d := range inv.Drives {
		if d.Full || d.Serial != w.vl.Drives[i].Serial {
			t.Errorf("drive %+v", d)
		}
	}
	if got := inv.Barcodes(); len(got) != 3 || got[0] != "VT0001L8" {
		t.Errorf("barcodes %v", got)
	}
}

func TestWrittenAndSyncedIsThereAgain(t *testing.T) {
	w := newWorld(t, virtual.Options{})
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: strings.ToUpper(uuid)})
	if v.ReadOnly || v.UUID != uuid || v.Name != "VT0001L8" || v.Capacity < 1<<29 {
		t.Errorf("volume %+v", v)
	}
	before, err := v.Generation()
	w.must(err)
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	w.must(os.WriteFile(filepath.Join(v.Dir, "empty"), nil, 0o644))
	after, err := v.Sync(w.ctx)
	w.must(err)
	if after <= before {
		t.Errorf("generation %d after %d", after, before)
	}
	if n, err := v.StartBlock("file"); err != nil || n < 0 {
		t.Errorf("start block %d, %v", n, err)
	}
	if n, err := v.StartBlock("empty"); err != nil || n != -1 {
		t.Errorf("start block of an empty file %d, %v", n, err)
	}
	if _, err := v.StartBlock("../x"); err == nil {
		t.Error("a name that leads out of the volume was accepted")
	}
	again, err := v.Sync(w.ctx) // nothing changed in between
	w.must(err)
	if again <= after {
		t.Errorf("a sync of a clean volume proved nothing: generation %d after %d", again, after)
	}
	w.must(v.Unmount(w.ctx))
	if w.anyLtfs() {
		t.Error("unmount returned before the ltfs process ended")
	}
	if le.Volume() != nil {
		t.Error("the lease still has a volume")
	}
	v = w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true})
	if b, err := os.ReadFile(filepath.Join(v.Dir, "file")); err != nil || string(b) != "content" {
		t.Errorf("read %q, %v", b, err)
	}
	if !v.ReadOnly {
		t.Error("the mount is not read-only")
	}
	if _, err := v.Sync(w.ctx); !errors.Is(err, changer.ErrSync) || !errors.Is(err, changer.ErrReadOnly) {
		t.Errorf("sync of a read-only volume: %v", err)
	}
	w.must(le.Release(w.ctx))
	if w.anyLtfs() {
		t.Error("release returned before the ltfs process ended")
	}
}
