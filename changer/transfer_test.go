package changer_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

func TestTransfer(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 1, MailSlots: 1, Tapes: 2})
	w.must(w.l.Transfer(w.ctx, 1, 5, "VT0001L8"))
	if s, ok := w.inventory().FindSlot("VT0001L8"); !ok || s.Number != 5 || !s.ImportExport {
		t.Errorf("the tape is in %+v, %v", s, ok)
	}
	before := w.moves()
	w.must(w.l.Transfer(w.ctx, 5, 5, "VT0001L8"))
	w.wants(w.l.Transfer(w.ctx, 1, 3, "VT0001L8"), changer.ErrNotInLibrary, "library status")
	w.wants(w.l.Transfer(w.ctx, 2, 3, "VT0001L8"), changer.ErrUnknown, "library status") // another tape by now
	w.wants(w.l.Transfer(w.ctx, 2, 5, "VT0002L8"), changer.ErrLibraryFull, "empty slot")
	if err := w.l.Transfer(w.ctx, 2, 9, "VT0002L8"); err == nil || !strings.Contains(err.Error(), "no such slot") {
		t.Errorf("to a slot that is not there: %v", err)
	}
	w.fault("door-open")
	w.wants(w.l.Transfer(w.ctx, 5, 1, "VT0001L8"), changer.ErrDoorOpen, "close the mail slot")
	if n := w.moves(); n != before {
		t.Errorf("%d moves by what was refused", n-before)
	}
}

// A person who presses Ctrl-C during a move is told, and gets to know how the move ended.
func TestPatientMove(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 1, Tapes: 2})
	w.fault("stuck-robot")
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	told := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- w.l.Transfer(changer.Patient(ctx, func(doing string) { told <- doing }), 1, 4, "VT0001L8")
	}()
	for !w.running("--library " + w.vl.Dir + " -f " + w.vl.Changer + " transfer 1 4") {
		select {
		case err := <-ended:
			t.Fatalf("ended: %v", err)
		case <-w.ctx.Done():
			t.Fatal("nothing moves")
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	select {
	case doing := <-told:
		if !strings.Contains(doing, "slot 1 to slot 4") {
			t.Errorf("told %q", doing)
		}
	case err := <-ended:
		t.Fatalf("the move was left to itself: %v", err)
	}
	w.fault("clear")
	w.must(<-ended)
	if s, ok := w.inventory().FindSlot("VT0001L8"); !ok || s.Number != 4 {
		t.Errorf("the tape is in %+v, %v", s, ok)
	}

	// Waiting for the robot ends at once: nothing has begun.
	w.fault("stuck-robot")
	go func() { ended <- w.l.Transfer(w.ctx, 2, 3, "VT0002L8") }()
	for !w.running("--library " + w.vl.Dir + " -f " + w.vl.Changer + " transfer 2 3") {
		time.Sleep(5 * time.Millisecond)
	}
	w.wants(w.l.Transfer(changer.Patient(ctx, func(string) { t.Error("told to wait") }), 4, 1, "VT0001L8"), context.Canceled, "")
	w.fault("clear")
	w.must(<-ended)
}

func TestLoadSlotAndUnloadTo(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 5, Drives: 1, Tapes: 2})
	w.must(w.vl.Add(3, virtual.Cartridge{}))
	le := w.lease(changer.Request{})
	w.must(le.LoadSlot(w.ctx, 3, ""))
	w.must(le.Ready(w.ctx))
	w.wants(le.LoadSlot(w.ctx, 1, "VT0001L8"), changer.ErrBusy, "tape unload 0")
	w.wants(le.UnloadTo(w.ctx, 2), changer.ErrLibraryFull, "empty slot")
	w.must(le.UnloadTo(w.ctx, 5))
	if s, _ := w.inventory().SlotNumber(5); !s.Full || s.Barcode != "" {
		t.Errorf("slot 5: %+v", s)
	}
	w.wants(le.UnloadTo(w.ctx, 4), changer.ErrNoMedium, "")
	w.wants(le.LoadSlot(w.ctx, 4, ""), changer.ErrNotInLibrary, "library status")
	w.wants(le.LoadSlot(w.ctx, 1, "VT0002L8"), changer.ErrUnknown, "library status")
	w.must(le.Release(w.ctx))

	// Nothing is torn out from under a mount.
	le, uuid := w.formatted("VT0002L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	before := w.moves()
	w.wants(le.UnloadTo(w.ctx, 4), changer.ErrBusy, "")
	w.wants(le.Eject(w.ctx), changer.ErrBusy, "")
	if _, err := le.Check(w.ctx, false); err == nil {
		t.Error("a mounted volume was checked")
	}
	if w.moves() != before {
		t.Error("something moved")
	}
	w.must(v.Unmount(w.ctx))
	codes, err := le.Check(w.ctx, false)
	w.must(err)
	if !slices.Contains(codes, "16022I") {
		t.Errorf("codes of a consistent volume: %v", codes)
	}
	w.must(le.Eject(w.ctx))
	w.wants(le.Eject(w.ctx), changer.ErrNoMedium, "drive status")
	w.must(le.UnloadTo(w.ctx, 4))
}

func TestFreeSlot(t *testing.T) {
	inv := &changer.Inventory{
		Drives: []changer.DriveElement{{Number: 0, Full: true, FromSlot: 1}},
		Slots: []changer.Slot{{Number: 1}, {Number: 2, Full: true}, {Number: 3}, {Number: 4, ImportExport: true, Full: true},
			{Number: 5, ImportExport: true}},
	}
	if n := inv.FreeSlot(false); n != 3 {
		t.Errorf("free slot %d: slot 1 is the home of a loaded tape", n)
	}
	if n := inv.FreeSlot(true); n != 5 {
		t.Errorf("free mail slot %d", n)
	}
	inv.Slots[2].Full, inv.Slots[4].Full = true, true
	if n := inv.FreeSlot(false); n != 1 {
		t.Errorf("free slot %d, want the only one", n)
	}
	if n := inv.FreeSlot(true); n != 0 {
		t.Errorf("free mail slot %d of none", n)
	}
}
