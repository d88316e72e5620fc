package changer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

func TestLeasePicks(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 3})
	a := w.loaded("VT0001L8")
	w.must(a.Release(w.ctx))
	// the drive that holds the tape
	holding := w.lease(changer.Request{Barcode: "VT0001L8"})
	if holding.Drive() != a.Drive() {
		t.Errorf("drive %s, the tape is in %s", holding.Drive().Serial, a.Drive().Serial)
	}
	w.must(holding.Release(w.ctx))
	// an empty one before one with an idle tape
	e1 := w.lease(changer.Request{Barcode: "VT0002L8"})
	e2 := w.lease(changer.Request{Barcode: "VT0003L8"})
	idle := w.lease(changer.Request{})
	if e1.Drive() == a.Drive() || e2.Drive() == a.Drive() || idle.Drive() != a.Drive() {
		t.Errorf("drives %s %s %s, idle is %s", e1.Drive().Serial, e2.Drive().Serial, idle.Drive().Serial, a.Drive().Serial)
	}
	_, err := w.l.Lease(w.ctx, changer.Request{Drive: "NOSUCH"})
	w.wants(err, changer.ErrNoDrive, "library.drives")
	_, err = w.l.Lease(w.ctx, changer.Request{Barcode: "NOSUCHL8"})
	w.wants(err, changer.ErrNotInLibrary, "tape import")
	_, err = w.l.Lease(w.ctx, changer.Request{Barcode: "CLN001L1"})
	w.wants(err, changer.ErrIncompatible, "drive clean")
}

func TestLeasesOfOneProcessExcludeEachOther(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le := w.lease(changer.Request{Purpose: "archive"})
	if le.Wanted() {
		t.Error("wanted by nobody")
	}
	asked := make(chan string, 10)
	got := make(chan *changer.Lease, 1)
	failed := make(chan error, 1)
	go func() {
		second, err := w.l.Lease(w.ctx, changer.Request{Purpose: "read", Wait: func(h string) { asked <- h }})
		if err != nil {
			failed <- err
			return
		}
		got <- second
	}()
	if h := <-asked; !strings.HasPrefix(h, fmt.Sprintf("archive (pid %d,", os.Getpid())) {
		t.Errorf("holder %q", h)
	}
	for !le.Wanted() {
		select {
		case err := <-failed:
			t.Fatal(err)
		case <-got:
			t.Fatal("two leases on one drive")
		case <-time.After(5 * time.Millisecond):
		}
	}
	w.must(le.Release(w.ctx))
	select {
	case second := <-got:
		if len(asked) > 0 {
			t.Error("Wait was called twice")
		}
		if second.Wanted() {
			t.Error("still wanted")
		}
		w.must(second.Release(w.ctx))
	case err := <-failed:
		t.Fatal(err)
	}
}

func TestWaitForLeaseEndsWithContext(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	w.lease(changer.Request{})
	ctx, cancel := context.WithCancel(w.ctx)
	_, err := w.l.Lease(ctx, changer.Request{Wait: func(string) { cancel() }})
	w.wants(err, context.Canceled, "")
}

func TestTapeInAnotherProcessesDriveIsWaitedForThere(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 4, Drives: 2})
	le := w.loaded("VT0001L8")
	w.must(le.Release(w.ctx))
	o := w.other("VT0001L8", "lease")
	w.expect(o, "leased")
	var asked atomic.Int32
	waits := make(chan string, 10)
	got := make(chan *changer.Lease, 1)
	failed := make(chan error, 1)
	go func() {
		// the other drive is free, but the tape is in this one
		second, err := w.l.Lease(w.ctx, changer.Request{Barcode: "VT0001L8", Wait: func(h string) { asked.Add(1); waits <- h }})
		if err != nil {
			failed <- err
			return
		}
		got <- second
	}()
	if h, want := <-waits, fmt.Sprintf("other (pid %d,", o.cmd.Process.Pid); !strings.HasPrefix(h, want) {
		t.Errorf("holder %q, want %q", h, want)
	}
	select {
	case <-got:
		t.Fatal("leased while the other process has the tape")
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	fmt.Fprintln(o.stdin)
	select {
	case second := <-got:
		if second.Drive() != le.Drive() || asked.Load() != 1 {
			t.Errorf("drive %s, asked %d times", second.Drive().Serial, asked.Load())
		}
		w.must(second.Release(w.ctx))
	case err := <-failed:
		t.Fatal(err)
	}
}

func TestDeadOwnersLeaseIsFree(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	o := w.other("VT0001L8", "lease")
	w.expect(o, "leased")
	w.must(o.cmd.Process.Signal(syscall.SIGKILL))
	for range o.lines { // closed when it is gone
	}
	asked := false
	le := w.lease(changer.Request{Wait: func(string) { asked = true }})
	if asked {
		t.Error("had to wait for a dead process")
	}
	w.must(le.Release(w.ctx))
}

func TestHolderThatGivesWayDoesNotTakeTheDriveBackFirst(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le := w.lease(changer.Request{Purpose: "archive"})
	o := w.other("VT0001L8", "lease")
	w.expect(o, "open")
	for !le.Wanted() {
		select {
		case <-w.ctx.Done():
			t.Fatal("nobody wants the drive")
		case <-time.After(5 * time.Millisecond):
		}
	}
	w.must(le.Release(w.ctx))
	waited := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		again, err := w.l.Lease(w.ctx, changer.Request{Purpose: "archive", Wait: func(h string) { waited <- h }})
		if err == nil {
			err = again.Release(w.ctx)
		}
		done <- err
	}()
	w.expect(o, "leased") // in every interleaving the other one had it first
	<-waited
	fmt.Fprintln(o.stdin)
	w.must(<-done)
}

func TestLeftoverOfDeadProcessIsRecovered(t *testing.T) {
	for _, how := range []string{"recover", "lease"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
			le, uuid := w.formatted("VT0001L8")
			w.must(le.Release(w.ctx))
			o := w.other("VT0001L8", "mount")
			w.expect(o, "leased")
			// as long as its owner lives nothing happens to it
			w.must(w.l.Recover(w.ctx))
			if !w.anyLtfs() {
				t.Fatal("a living owner's ltfs was ended")
			}
			w.must(o.cmd.Process.Signal(syscall.SIGKILL))
			for range o.lines {
			}
			if !w.anyLtfs() {
				t.Fatal("ltfs did not survive its parent")
			}
			if how == "recover" {
				w.must(w.l.Recover(w.ctx))
				if w.anyLtfs() {
					t.Fatal("the leftover still runs")
				}
			}
			le = w.lease(changer.Request{Barcode: "VT0001L8"})
			if w.anyLtfs() {
				t.Fatal("leased while a leftover runs")
			}
			v := w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true})
			if b, err := os.ReadFile(filepath.Join(v.Dir, "left-behind")); err != nil || string(b) != "written by the other process" {
				t.Errorf("read %q, %v", b, err)
			}
		})
	}
}

func TestSomebodysOwnMountIsLeftAlone(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, _ := w.formatted("VT0001L8")
	d := le.Drive()
	w.must(le.Release(w.ctx))
	dir := t.TempDir()
	if code := virtual.Main([]string{"ltfs", "--library", w.vl.Dir, "-o", "devname=" + d.Device, dir}, nil, w.Output(), w.Output()); code != 0 {
		t.Fatalf("ltfs: exit code %d", code)
	}
	w.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	w.must(w.l.Recover(w.ctx))
	if !w.anyLtfs() {
		t.Fatal("somebody's ltfs was ended")
	}
	_, err := w.l.Lease(w.ctx, changer.Request{})
	w.wants(err, changer.ErrBusy, "umount "+dir)
	w.must(syscall.Unmount(dir, 0))
	for w.anyLtfs() {
		time.Sleep(5 * time.Millisecond)
	}
	w.must(w.lease(changer.Request{}).Release(w.ctx))
}

// queued waits until n wait for a drive and have their places.
func (w *world) queued(serial string, n int) {
	w.Helper()
	for {
		all, _ := filepath.Glob(filepath.Join(w.cfg.RunDir, "queue."+serial, "[0-9]*"))
		if len(all) == n {
			return
		}
		select {
		case <-w.ctx.Done():
			w.Fatalf("%d wait, not %d", len(all), n)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestWaitersGetADriveInTheOrderInWhichTheyCame: of three processes none is passed over, and the one that gave way comes last.
func TestWaitersGetADriveInTheOrderInWhichTheyCame(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le := w.lease(changer.Request{Purpose: "first"})
	serial := le.Drive().Serial
	waiting := func(n int) { w.queued(serial, n) }
	got := make(chan string, 10)
	next := make(chan struct{})
	begin := func(l *changer.Library, name string) {
		go func() {
			le, err := l.Lease(w.ctx, changer.Request{Purpose: name})
			if err != nil {
				got <- err.Error()
				return
			}
			got <- name
			<-next
			if err := le.Release(w.ctx); err != nil {
				got <- err.Error()
			}
		}()
	}
	names := []string{"second", "third", "fourth"}
	for i, name := range names {
		begin(w.open(), name)
		waiting(i + 1)
	}
	w.must(le.Release(w.ctx))
	begin(w.l, "first again")
	for _, name := range append(names, "first again") {
		if g := <-got; g != name {
			t.Fatalf("%s has the drive, not %s", g, name)
		}
		next <- struct{}{}
	}
	waiting(0)
}

func TestPlaceOfADeadWaiterIsNobodys(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le := w.lease(changer.Request{Purpose: "archive"})
	o := w.other("VT0001L8", "lease")
	w.expect(o, "open")
	w.queued(le.Drive().Serial, 1) // killed earlier it would have no place yet
	if !le.Wanted() {
		t.Error("nobody wants the drive")
	}
	w.must(o.cmd.Process.Signal(syscall.SIGKILL))
	for range o.lines {
	}
	w.must(le.Release(w.ctx))
	asked := false
	again := w.lease(changer.Request{Wait: func(string) { asked = true }})
	if asked {
		t.Error("had to wait for a dead process")
	}
	w.must(again.Release(w.ctx))
	if left, _ := filepath.Glob(filepath.Join(w.cfg.RunDir, "queue.*", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestWhoWaitedForADriveKeepsItForATurn: and who found it free hands it over when it is asked to.
func TestWhoWaitedForADriveKeepsItForATurn(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	first := w.lease(changer.Request{Purpose: "archive"})
	due := func(le *changer.Lease, slice time.Duration) bool {
		for !le.Wanted() {
			select {
			case <-w.ctx.Done():
				t.Fatal("nobody wants the drive")
			case <-time.After(5 * time.Millisecond):
			}
		}
		return le.Due(slice)
	}
	if first.Due(0) {
		t.Error("handed over to nobody")
	}
	leases := make(chan *changer.Lease)
	for range 2 {
		go func() {
			le, err := w.open().Lease(w.ctx, changer.Request{Purpose: "read"})
			if err != nil {
				t.Error(err)
			}
			leases <- le
		}()
	}
	w.queued(first.Drive().Serial, 2)
	if !due(first, time.Hour) {
		t.Error("who found the drive free keeps it from others")
	}
	w.must(first.Release(w.ctx))
	second := <-leases
	if due(second, time.Hour) {
		t.Error("who waited for the drive hands it over at once")
	}
	if !due(second, 0) {
		t.Error("who waited for the drive keeps it for ever")
	}
	w.must(second.Release(w.ctx))
	w.must((<-leases).Release(w.ctx))
}

// TestLastingWaitsAreTold: first a moment after it began, then again when it has become long.
func TestLastingWaitsAreTold(t *testing.T) {
	told := make(chan changer.Waiting, 10)
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1}, func(c *changer.Config) {
		c.Waits = func(w changer.Waiting) { told <- w }
	})
	le := w.loaded("VT0001L8")
	began := time.Now()
	done := make(chan error, 1)
	go func() {
		second, err := w.l.Lease(w.ctx, changer.Request{Barcode: "VT0001L8", Purpose: "verify"})
		if err == nil {
			err = second.Release(w.ctx)
		}
		done <- err
	}()
	select {
	case got := <-told:
		want := fmt.Sprintf("waiting for a drive for tape VT0001L8; it is used by test (pid %d, since ", os.Getpid())
		if !strings.HasPrefix(got.String(), want) || got.Since.Before(began) {
			t.Errorf("%q, since %s", got, got.Since)
		}
		got.Since = time.Now().Add(-5 * time.Minute)
		if text := got.String(); !strings.HasPrefix(text, "still waiting for a drive for tape VT0001L8, since 20") || !strings.Contains(text, "(5m0s)") {
			t.Errorf("%q", text)
		}
	case err := <-done:
		t.Fatal("the drive was had by two: ", err)
	case <-w.ctx.Done():
		t.Fatal("nobody was told")
	}
	w.must(le.Release(w.ctx))
	w.must(<-done)
}
