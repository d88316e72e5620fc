package changer_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// hpeWorld is a library with HPE's LTFS, which is found out by asking.
func hpeWorld(t *testing.T, o virtual.Options) *world {
	t.Helper()
	o.Flavor = virtual.HPE
	w := newWorld(t, o)
	if f, err := w.l.Flavor(w.ctx); f != changer.HPE || err != nil {
		t.Fatalf("the flavor is %s (%v)", f, err)
	}
	return w
}

// HPE's ltfs may agree to write an index and do it later: it is waited for. OpenLTFS writes it before it returns, so that there an
// index that has not come is none.
func TestSyncWaitsForALateIndex(t *testing.T) {
	w := hpeWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	w.fault("late-index=700ms")
	before, err := v.Generation()
	w.must(err)
	if after, err := v.Sync(w.ctx); err != nil || after <= before {
		t.Errorf("generation %d after %d, %v", after, before, err)
	}

	open := newWorld(t, virtual.Options{Flavor: virtual.OpenLTFS, Slots: 3, Drives: 1})
	le, uuid = open.formatted("VT0001L8")
	v = open.mount(le, changer.MountRequest{UUID: uuid})
	open.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	open.fault("late-index=1h")
	_, err = v.Sync(open.ctx)
	open.wants(err, changer.ErrSync, "counts as lost")
	open.fault("kill-ltfs") // it sleeps for an hour
}

// HPE's programs say the same of an empty drive, a cleaning cartridge and a drive that is not ready, and ltfsck even exits with 0: the
// drive is asked which it is, and nothing counts as checked, mounted or formatted.
func TestNotThreadedIsAskedFor(t *testing.T) {
	w := hpeWorld(t, virtual.Options{Slots: 4, Drives: 1, Tapes: 2})
	w.must(w.vl.Add(3, virtual.Cartridge{Barcode: "CLN001L8"}))
	le, uuid := w.formatted("VT0001L8")
	w.must(le.Load(w.ctx, "VT0001L8"))
	w.robot("unload", "1", "0")
	_, err := le.Check(w.ctx, false)
	w.wants(err, changer.ErrNoMedium, "")
	_, err = le.Mount(w.ctx, changer.MountRequest{UUID: uuid})
	if !errors.Is(err, changer.ErrNoMedium) && !errors.Is(err, changer.ErrUnknown) {
		t.Errorf("mount of nothing: %v", err)
	}
	w.robot("load", "3", "0")
	if _, err := le.Check(w.ctx, false); err == nil {
		t.Error("a cleaning cartridge is a consistent volume")
	}
	w.robot("unload", "3", "0")
	w.robot("load", "1", "0")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(v.Unmount(w.ctx))
}

// The end of the tape is an error of the medium to HPE's ltfs. It is told as what it is, and the next mount, which ltfs refuses, has the
// tape checked, because the session that met the end was ours: what was synced is there.
func TestFullTapeOfHPE(t *testing.T) {
	w := checkWorld(t, virtual.Options{Flavor: virtual.HPE, Slots: 3, Drives: 1, TapeSize: 32 << 20})
	w.fault("clear")
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "kept"), make([]byte, 4<<20), 0o644))
	_, err := v.Sync(w.ctx)
	w.must(err)
	f, err := os.Create(filepath.Join(v.Dir, "late"))
	w.must(err)
	if n, err := f.Write(make([]byte, 30<<20)); n != 30<<20 || err != nil {
		t.Fatalf("write accepted %d bytes: %v", n, err)
	}
	for what, err := range map[string]error{"fsync": f.Sync(), "close": f.Close(), "create": os.WriteFile(filepath.Join(v.Dir, "next"), nil, 0o644)} {
		if told := v.WriteFault(err); errors.Is(err, unix.ENOSPC) || !errors.Is(told, unix.ENOSPC) || changer.WriteFaultOf(told) != changer.Full {
			t.Errorf("%s: %v, told as %v", what, err, told)
		}
	}
	_, err = v.Sync(w.ctx)
	w.wants(err, changer.ErrSync, "")
	w.must(v.Unmount(w.ctx))

	v = w.mount(le, changer.MountRequest{UUID: uuid})
	if got := w.checks(); got != "list check" {
		t.Errorf("ltfsck was run to %q, want to list and to check", got)
	}
	if st, err := os.Stat(filepath.Join(v.Dir, "kept")); err != nil || st.Size() != 4<<20 {
		t.Errorf("what was synced: %v %v", st, err)
	}
	if _, err := os.Stat(filepath.Join(v.Dir, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what no index tells of: %v", err)
	}
	w.must(v.Unmount(w.ctx))
}
