package changer_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// moves counts what the robot did.
func (w *world) moves() int {
	w.Helper()
	log, err := w.vl.Log()
	w.must(err)
	n := 0
	for _, e := range log {
		if e.Drive < 0 || e.Kind == "load" || e.Kind == "unload" {
			n++
		}
	}
	return n
}

func TestLoadExchangeUnload(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2})
	le := w.loaded("VT0001L8")
	if b, full, err := le.Loaded(w.ctx); err != nil || !full || b != "VT0001L8" {
		t.Fatalf("loaded %q %v, %v", b, full, err)
	}
	before := w.moves()
	w.must(le.Load(w.ctx, "VT0001L8"))
	if n := w.moves(); n != before {
		t.Errorf("%d moves to load a tape that is there", n-before)
	}
	w.must(le.Load(w.ctx, "VT0002L8"))
	inv := w.inventory()
	if s, ok := inv.FindSlot("VT0001L8"); !ok || s.Number != 1 {
		t.Errorf("the first tape is in slot %+v, %v", s, ok)
	}
	if d, ok := inv.FindDrive("VT0002L8"); !ok || d.Serial != le.Drive().Serial || d.FromSlot != 2 {
		t.Errorf("the second tape is in drive %+v, %v", d, ok)
	}
	w.must(le.Unload(w.ctx))
	w.must(le.Unload(w.ctx)) // an empty drive is fine
	if _, full, err := le.Loaded(w.ctx); err != nil || full {
		t.Errorf("still loaded: %v, %v", full, err)
	}
	w.wants(le.Load(w.ctx, "NOSUCHL8"), changer.ErrNotInLibrary, "tape import")
	w.wants(le.Load(w.ctx, "CLN001L1"), changer.ErrIncompatible, "drive clean")
}

func TestTapeFromAnotherDriveComesHomeFirst(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2})
	first := w.loaded("VT0001L8")
	w.must(first.Release(w.ctx))
	other := w.cfg.Drives[1].Serial
	if first.Drive().Serial == other {
		other = w.cfg.Drives[0].Serial
	}
	le := w.lease(changer.Request{Drive: other})
	w.must(le.Load(w.ctx, "VT0001L8"))
	if d, ok := w.inventory().FindDrive("VT0001L8"); !ok || d.Serial != other {
		t.Errorf("the tape is in %+v", d)
	}
	// held by somebody, it is waited for, not torn out
	second := w.lease(changer.Request{Drive: first.Drive().Serial})
	ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
	defer cancel()
	err := second.Load(ctx, "VT0001L8")
	w.wants(err, context.DeadlineExceeded, "")
	if d, _ := w.inventory().FindDrive("VT0001L8"); d.Serial != other {
		t.Error("the tape was taken out of a leased drive")
	}
}

func TestFullSlotAtHome(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1, Tapes: 2})
	le := w.loaded("VT0001L8")
	w.must(w.vl.Add(1, virtual.Cartridge{Barcode: "XX0001L8"}))
	w.must(le.Unload(w.ctx))
	if s, ok := w.inventory().FindSlot("VT0001L8"); !ok || s.Number != 3 {
		t.Errorf("the tape is in slot %+v, %v; want the free slot 3", s, ok)
	}
	w.must(le.Load(w.ctx, "VT0001L8"))
	w.must(w.vl.Add(3, virtual.Cartridge{Barcode: "XX0003L8"}))
	w.wants(le.Unload(w.ctx), changer.ErrLibraryFull, "export")
	w.wants(le.Load(w.ctx, "VT0002L8"), changer.ErrLibraryFull, "")
	if b, full, err := le.Loaded(w.ctx); err != nil || !full || b != "VT0001L8" {
		t.Errorf("loaded %q %v %v", b, full, err)
	}
}

func TestTwoCartridgesWithOneBarcode(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	w.must(w.vl.Fault("wrong-barcode=2:VT0001L8"))
	le := w.lease(changer.Request{})
	before := w.moves()
	w.wants(le.Load(w.ctx, "VT0001L8"), changer.ErrUnknown, "take one of them out")
	if w.moves() != before {
		t.Error("something moved")
	}
}

func TestLibraryOfflineAndDoorOpen(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1, MailSlots: 1})
	le := w.lease(changer.Request{})
	w.fault("offline")
	w.wants(le.Load(w.ctx, "VT0001L8"), changer.ErrLibraryOffline, "panel")
	_, err := w.l.Inventory(w.ctx)
	w.wants(err, changer.ErrLibraryOffline, "panel")
	var pe *changer.ProgramError
	if !errors.As(err, &pe) || pe.Code != 1 || len(pe.Stderr) == 0 || !strings.Contains(pe.Error(), "04/12") {
		t.Errorf("program error %+v", pe)
	}
	w.fault("clear")
	w.must(le.Load(w.ctx, "VT0001L8"))
}

func TestIncompatibleCartridge(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1, Tapes: 1})
	w.must(w.vl.Add(2, virtual.Cartridge{Barcode: "OLD001L6"}))
	_, err := w.l.Lease(w.ctx, changer.Request{Barcode: "OLD001L6"})
	w.wants(err, changer.ErrNoDrive, "")
	if !strings.Contains(err.Error(), "LTO-6 media, which is read by drives of LTO-6 or LTO-7; those configured are LTO-8") {
		t.Error(err)
	}
	le := w.lease(changer.Request{})
	w.wants(le.Load(w.ctx, "OLD001L6"), changer.ErrIncompatible, "drives of LTO-6 or LTO-7")
	// a library without media suffix: only the drive knows
	w.must(w.vl.Add(3, virtual.Cartridge{Barcode: "OLD002L6"}))
	w.fault("wrong-barcode=3:OLD002")
	w.wants(le.Load(w.ctx, "OLD002"), changer.ErrIncompatible, "generation")
	if _, full, err := le.Loaded(w.ctx); full || err != nil {
		t.Errorf("drive full %v, %v", full, err)
	}
}

func TestSlowDriveIsAwaited(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	w.fault("slow-load=700ms")
	le := w.lease(changer.Request{})
	w.must(le.Load(w.ctx, "VT0001L8"))
	states, err := w.l.Drives(w.ctx)
	w.must(err)
	if s := states[0]; !s.Status.Online || s.Status.Density != "LTO-8" || s.Barcode != "VT0001L8" || s.Mounted || !strings.HasPrefix(s.Holder, "use (pid ") {
		t.Errorf("drive state %+v", s)
	}
}

func TestEjectedTapeIsLoadedAgain(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1}, func(c *changer.Config) { c.EjectBeforeUnload = true })
	le := w.loaded("VT0001L8")
	if code := virtual.Main([]string{"mt", "--library", w.vl.Dir, "-f", le.Drive().Tape, "offline"}, nil, w.Output(), w.Output()); code != 0 {
		t.Fatalf("mt offline: exit code %d", code)
	}
	w.must(le.Load(w.ctx, "VT0001L8"))
	states, err := w.l.Drives(w.ctx)
	w.must(err)
	if !states[0].Status.Online {
		t.Errorf("drive state %+v", states[0])
	}
	w.must(le.Load(w.ctx, "VT0002L8"))
}

func TestStuckRobotThenRecovery(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2})
	le := w.lease(changer.Request{Barcode: "VT0001L8"})
	second := w.lease(changer.Request{Barcode: "VT0002L8"})
	w.fault("stuck-robot")
	ctx, cancel := context.WithTimeout(w.ctx, 500*time.Millisecond)
	defer cancel()
	err := le.Load(ctx, "VT0001L8")
	w.wants(err, changer.ErrUnknown, "library status")
	w.wants(err, context.DeadlineExceeded, "")
	// the robot stays locked for everybody, and the lease is busy
	short, cancel2 := context.WithTimeout(w.ctx, 300*time.Millisecond)
	defer cancel2()
	w.wants(second.Load(short, "VT0002L8"), context.DeadlineExceeded, "")
	w.wants(le.Unload(short), changer.ErrUnknown, "")
	if err := le.Release(short); !errors.Is(err, changer.ErrUnknown) {
		t.Errorf("release while the robot moves: %v", err)
	}
	states, err := w.l.Drives(w.ctx)
	w.must(err)
	for _, s := range states {
		if s.Serial == le.Drive().Serial && s.Holder == "" {
			t.Error("the drive was given away while the robot moves a tape into it")
		}
	}
	w.fault("clear")
	w.must(second.Load(w.ctx, "VT0002L8"))
	again := w.lease(changer.Request{Barcode: "VT0001L8"})
	w.must(again.Load(w.ctx, "VT0001L8"))
}

func TestMoveTimeLimit(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1}, func(c *changer.Config) { c.MoveTimeout = 300 * time.Millisecond })
	le := w.lease(changer.Request{})
	w.fault("stuck-robot")
	w.wants(le.Load(w.ctx, "VT0001L8"), changer.ErrUnknown, "library status")
	w.fault("clear")
	w.must(le.Load(w.ctx, "VT0001L8"))
}

func TestMoveOutlivesItsProcess(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2})
	w.fault("stuck-robot")
	o := w.other("VT0001L8", "load")
	w.expect(o, "loading")
	move := "mtx --library " + w.vl.Dir + " -f " + w.vl.Changer + " load"
	for !w.running(move) {
		select {
		case <-w.ctx.Done():
			t.Fatal("the other process moves nothing")
		case <-time.After(5 * time.Millisecond):
		}
	}
	w.must(o.cmd.Process.Signal(syscall.SIGKILL))
	for range o.lines {
	}
	if !w.running(move) {
		t.Fatal("the move died with its process")
	}
	// its drive and the robot stay locked until the move ends
	var mine *changer.Lease
	for _, d := range w.cfg.Drives {
		ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
		le, err := w.l.Lease(ctx, changer.Request{Drive: d.Serial})
		if err == nil && mine == nil {
			mine = le
			w.wants(le.Load(ctx, "VT0002L8"), context.DeadlineExceeded, "")
		} else if err == nil {
			t.Fatal("both drives are free while the robot loads one")
		}
		cancel()
	}
	w.fault("clear")
	w.must(mine.Load(w.ctx, "VT0002L8"))
	w.must(mine.Release(w.ctx))
	le := w.lease(changer.Request{Barcode: "VT0001L8"})
	w.must(le.Load(w.ctx, "VT0001L8"))
}

// Somebody takes the tape out of the drive while that still threads it: there is nothing to wait for.
func TestTapeTakenOutWhileItIsLoaded(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le := w.lease(changer.Request{Barcode: "VT0001L8"})
	w.fault("slow-load=5s")
	loaded := make(chan error, 1)
	go func() { loaded <- le.Load(w.ctx, "VT0001L8") }()
	for {
		d, full := w.inventory().FindDrive("VT0001L8")
		robot := flock.New(filepath.Join(w.cfg.RunDir, "robot.lock")) // free again when the move was judged
		free, err := robot.TryLock()
		w.must(err)
		w.must(robot.Close())
		if full && free {
			if code := virtual.Main([]string{"mtx", "--library", w.vl.Dir, "-f", w.vl.Changer, "unload", "1", "0"}, nil, w.Output(), w.Output()); code != 0 {
				t.Fatalf("mtx unload from drive %d: exit code %d", d.Number, code)
			}
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.wants(<-loaded, changer.ErrNoMedium, "somebody took the tape out of the drive")
	w.fault("clear")
	w.must(le.Load(w.ctx, "VT0001L8"))
}
