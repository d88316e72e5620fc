package changer_test

import (
	"context"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// again leases the drive of a tape through a Library of its own, as another process would, until that works.
func (w *world) again(b changer.Barcode) *changer.Lease {
	w.Helper()
	l := w.open()
	for {
		le, err := l.Lease(w.ctx, changer.Request{Barcode: b})
		if err == nil {
			return le
		}
		if w.ctx.Err() != nil {
			w.Fatalf("the drive was never free again: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// stuckWorld has two formatted tapes, and from then on these limits.
func stuckWorld(t *testing.T, mount, unmount time.Duration) *world {
	w := newWorld(t, virtual.Options{Slots: 6, Drives: 2, Tapes: 3})
	for _, b := range []changer.Barcode{"VT0001L8", "VT0002L8"} {
		le, _ := w.formatted(b)
		w.must(le.Unload(w.ctx))
		w.must(le.Release(w.ctx))
	}
	w.cfg.MountTimeout, w.cfg.UnmountTimeout = mount, unmount
	w.l = w.open()
	return w
}

// An ltfs that never mounts costs its drive, and nothing else waits for it: not the lease, not other processes, not other tapes.
func TestStuckMount(t *testing.T) {
	w := stuckWorld(t, time.Second, time.Minute)
	w.fault("stuck-mount=VT0001L8")
	le := w.loaded("VT0001L8")
	_, err := le.Mount(w.ctx, changer.MountRequest{})
	w.wants(err, changer.ErrStuck, "the drive is used again")
	w.must(le.Release(w.ctx))

	_, err = w.open().Lease(w.ctx, changer.Request{Barcode: "VT0001L8"})
	w.wants(err, changer.ErrStuck, "the drive is used again")
	other := w.loaded("VT0002L8")
	if other.Drive().Serial == le.Drive().Serial {
		t.Fatal("the drive of the stuck ltfs was leased")
	}
	w.must(other.Release(w.ctx))
	w.fault("clear")
	w.must(w.again("VT0001L8").Release(w.ctx))
}

// The process that began the mount is gone; whoever comes next waits for its ltfs as long as a mount may take.
func TestStuckMountLeftBehind(t *testing.T) {
	w := stuckWorld(t, time.Second, time.Minute)
	w.fault("stuck-mount=VT0001L8")
	o := w.other("VT0001L8", "mount")
	for !w.anyLtfs() {
		time.Sleep(10 * time.Millisecond)
	}
	w.must(o.cmd.Process.Kill())
	_, err := w.l.Lease(w.ctx, changer.Request{Barcode: "VT0001L8"})
	w.wants(err, changer.ErrStuck, "")
	w.fault("clear")
	w.must(w.again("VT0001L8").Release(w.ctx))
}

// Who only read does not wait for an ltfs that does not end after umount; what it would write is nothing.
func TestStuckUnmountOfAReader(t *testing.T) {
	w := stuckWorld(t, time.Minute, time.Second)
	le := w.loaded("VT0001L8")
	v := w.mount(le, changer.MountRequest{ReadOnly: true})
	w.fault("slow-umount=1h")
	if err := v.Unmount(w.ctx); err == nil {
		t.Fatal("the volume was unmounted")
	}
	w.must(le.Release(w.ctx))
	_, err := w.open().Lease(w.ctx, changer.Request{Barcode: "VT0001L8"})
	w.wants(err, changer.ErrStuck, "")
	w.fault("kill-ltfs")
	w.must(w.again("VT0001L8").Release(w.ctx))
}

// Being told to end is heard while ltfs mounts.
func TestInterruptedMount(t *testing.T) {
	w := stuckWorld(t, time.Hour, time.Minute)
	w.fault("stuck-mount=VT0001L8")
	ctx, cancel := context.WithCancel(w.ctx)
	le, err := w.l.Lease(ctx, changer.Request{Barcode: "VT0001L8"})
	w.must(err)
	w.must(le.Load(ctx, "VT0001L8"))
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err = le.Mount(ctx, changer.MountRequest{})
	w.wants(err, context.Canceled, "")
	w.must(le.Release(context.WithoutCancel(ctx)))
	w.fault("clear")
	w.must(w.again("VT0001L8").Release(w.ctx))
}
