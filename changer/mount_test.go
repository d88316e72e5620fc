package changer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

func (w *world) mounted(dir string) bool {
	w.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	w.must(err)
	return strings.Contains(string(b), " "+dir+" ")
}

func TestWrongVolume(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, first := w.formatted("VT0001L8")
	w.must(le.Load(w.ctx, "VT0002L8"))
	second, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0002L8"})
	w.must(err)
	_, err = le.Mount(w.ctx, changer.MountRequest{UUID: first})
	w.wants(err, changer.ErrWrongVolume, "tape info")
	if !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), second) {
		t.Errorf("the error does not name both volumes: %v", err)
	}
	if w.anyLtfs() || le.Volume() != nil {
		t.Error("the wrong volume is still mounted")
	}
	w.mount(le, changer.MountRequest{UUID: second})
}

func TestUnformatted(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le := w.loaded("VT0001L8")
	_, err := le.Mount(w.ctx, changer.MountRequest{})
	w.wants(err, changer.ErrNotFormatted, "tape format")
	w.must(le.Unload(w.ctx))
	_, err = le.Mount(w.ctx, changer.MountRequest{})
	w.wants(err, changer.ErrNoMedium, "drive status")
}

func TestWriteProtectedMountsReadOnly(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	w.fault("write-protect=VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	if !v.ReadOnly {
		t.Error("not read-only")
	}
	w.must(v.Unmount(w.ctx))
	_, err := le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8", Erase: true})
	w.wants(err, changer.ErrWriteProtected, "tab")
	w.fault("clear")
	w.mount(le, changer.MountRequest{UUID: uuid})
}

func TestBusyDrive(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, _ := w.formatted("VT0001L8")
	dir := t.TempDir()
	if code := virtual.Main([]string{"ltfs", "--library", w.vl.Dir, "-o", "devname=" + le.Drive().Device, dir}, nil, w.Output(), w.Output()); code != 0 {
		t.Fatalf("ltfs: exit code %d", code)
	}
	w.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	before := w.moves()
	_, err := le.Mount(w.ctx, changer.MountRequest{})
	w.wants(err, changer.ErrBusy, "umount "+dir)
	w.wants(le.Unload(w.ctx), changer.ErrBusy, "umount "+dir)
	w.wants(le.Load(w.ctx, "VT0002L8"), changer.ErrBusy, "")
	_, err = le.Format(w.ctx, changer.FormatRequest{Barcode: "VT0001L8", Erase: true})
	w.wants(err, changer.ErrBusy, "")
	if w.moves() != before {
		t.Error("a tape moved while it was mounted")
	}
	w.must(syscall.Unmount(dir, 0))
	for w.anyLtfs() {
		time.Sleep(5 * time.Millisecond)
	}
	w.mount(le, changer.MountRequest{})
}

func TestMountPointNotEmpty(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, _ := w.formatted("VT0001L8")
	dir := filepath.Join(w.cfg.RunDir, "ltfs", le.Drive().Serial)
	w.must(os.WriteFile(filepath.Join(dir, "in-the-way"), nil, 0o600))
	if _, err := le.Mount(w.ctx, changer.MountRequest{}); err == nil || !strings.Contains(err.Error(), "in-the-way") {
		t.Errorf("mounted over a file: %v", err)
	}
	w.must(os.Remove(filepath.Join(dir, "in-the-way")))
	v := w.mount(le, changer.MountRequest{})
	w.must(v.Unmount(w.ctx))
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mount point %v, %v", st, err)
	}
}

func TestKilledLtfs(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "synced"), []byte("safe"), 0o644))
	_, err := v.Sync(w.ctx)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(v.Dir, "lost"), []byte("not safe"), 0o644))
	w.fault("kill-ltfs")
	_, err = v.Sync(w.ctx)
	w.wants(err, changer.ErrSync, "counts as lost")
	if err := v.Unmount(w.ctx); err == nil {
		t.Error("unmounting a dead volume reported no error")
	}
	if w.mounted(v.Dir) {
		t.Error("the dead mount is still there")
	}
	v = w.mount(le, changer.MountRequest{UUID: uuid})
	if b, err := os.ReadFile(filepath.Join(v.Dir, "synced")); err != nil || string(b) != "safe" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(v.Dir, "lost")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file that was not synced: %v", err)
	}
}

func TestSyncFailures(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	w.fault("index-write")
	_, err := v.Sync(w.ctx)
	w.wants(err, changer.ErrSync, "counts as lost")
	w.fault("clear")
	_, err = v.Sync(w.ctx)
	w.must(err)
}

func TestDriveIsNotTouchedBeforeLtfsEnds(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	w.fault("slow-umount=1500ms")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	ctx, cancel := context.WithTimeout(w.ctx, 200*time.Millisecond)
	defer cancel()
	err := v.Unmount(ctx)
	w.wants(err, changer.ErrUnknown, "stays in use")
	if w.mounted(v.Dir) || !w.anyLtfs() {
		t.Fatal("ltfs should be writing the index now")
	}
	w.wants(le.Unload(ctx), changer.ErrUnknown, "")
	w.must(le.Unload(w.ctx)) // waits
	w.must(le.Load(w.ctx, "VT0001L8"))
	v = w.mount(le, changer.MountRequest{UUID: uuid, ReadOnly: true})
	if b, err := os.ReadFile(filepath.Join(v.Dir, "file")); err != nil || string(b) != "content" {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestReleaseWithoutTimeLeavesTheDriveLeased(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	w.fault("slow-umount=1s")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := le.Release(ctx); err == nil {
		t.Error("release said nothing")
	}
	states, err := w.l.Drives(w.ctx)
	w.must(err)
	if states[0].Holder == "" {
		t.Error("the drive was given away while ltfs writes")
	}
	again := w.lease(changer.Request{Barcode: "VT0001L8"})
	if w.anyLtfs() {
		t.Error("leased while ltfs writes")
	}
	v = w.mount(again, changer.MountRequest{UUID: uuid, ReadOnly: true})
	if b, err := os.ReadFile(filepath.Join(v.Dir, "file")); err != nil || string(b) != "content" {
		t.Errorf("read %q, %v", b, err)
	}
}

func TestFileInUseKeepsTheVolume(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	f, err := os.Create(filepath.Join(v.Dir, "open"))
	w.must(err)
	ctx, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
	defer cancel()
	w.wants(v.Unmount(ctx), syscall.EBUSY, "fuser -vm")
	if le.Volume() != v {
		t.Error("the volume is gone")
	}
	w.must(f.Close())
	_, err = v.Sync(w.ctx)
	w.must(err)
	w.must(v.Unmount(w.ctx))
}

func TestMountTakesTooLong(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err := le.Mount(ctx, changer.MountRequest{UUID: uuid})
	if err == nil {
		t.Fatal("mounted though nobody wants it any more")
	}
	v := w.mount(le, changer.MountRequest{UUID: uuid}) // after the first one was seen through
	w.must(v.Unmount(w.ctx))
}

// A cartridge that is taken away while LTFS has it gives EAGAIN: nobody may wait until it is ready.
func TestYankedCartridgeFailsAtOnce(t *testing.T) {
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1})
	le, uuid := w.formatted("VT0001L8")
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	root, err := os.OpenRoot(v.Dir)
	w.must(err)
	defer root.Close()
	f, err := changer.OpenFile(root, "file", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	w.must(err)
	defer f.Close()
	_, err = f.Write(make([]byte, 1<<20))
	w.must(err)
	if code := virtual.Main([]string{"mtx", "--library", w.vl.Dir, "-f", w.vl.Changer, "unload", "1", "0"}, nil, w.Output(), w.Output()); code != 0 {
		t.Fatalf("mtx unload: exit code %d", code)
	}
	failed := make(chan error, 1)
	go func() {
		for {
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				failed <- err
				return
			}
		}
	}()
	select {
	case err := <-failed:
		if !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("write: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a write to a cartridge that is gone does not end")
	}
}

// An ltfs that prints without end costs neither disk nor memory, mounts, writes and unmounts as ever, and what it said stays readable.
func TestLtfsThatFloodsItsLog(t *testing.T) {
	dir := t.TempDir()
	flood, gate, done := filepath.Join(dir, "flood"), filepath.Join(dir, "gate"), filepath.Join(dir, "done")
	w := newWorld(t, virtual.Options{Slots: 3, Drives: 1}, func(cfg *changer.Config) {
		real := cfg.Programs.Ltfs
		cfg.Programs.Ltfs = filepath.Join(dir, "ltfs")
		for name, script := range map[string]string{
			cfg.Programs.Ltfs: "[ ! -e '" + gate + "' ] || '" + flood + "' >&2 &\nexec '" + real + "' \"$@\"\n",
			flood:             "while [ -e '" + gate + "' ]; do sleep 0.02; done\nnoise() { yes 'a line that says nothing at all' | head -c 150000000; }\nnoise\necho 'LTFS11999E in the middle'\nnoise\ntouch '" + done + "'\n",
		} {
			if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	})
	le, uuid := w.formatted("VT0001L8")
	w.must(os.WriteFile(gate, nil, 0o600))
	v := w.mount(le, changer.MountRequest{UUID: uuid})
	w.must(os.Remove(gate))
	w.must(os.WriteFile(filepath.Join(v.Dir, "file"), []byte("content"), 0o644))
	for {
		if _, err := os.Stat(done); err == nil {
			break
		}
		if w.ctx.Err() != nil {
			t.Fatal("the flood never ended")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, err := v.Sync(w.ctx)
	w.must(err)
	w.must(v.Unmount(w.ctx))
	if died := w.l.Died(); len(died) > 0 {
		t.Errorf("the end of the session was not seen: %v", died)
	}
	log, err := os.ReadFile(filepath.Join(w.cfg.RunDir, "ltfs-"+le.Drive().Serial+".log"))
	w.must(err)
	if len(log) > 8<<20 {
		t.Errorf("%d bytes of the log are kept", len(log))
	}
	for _, code := range []string{"LTFS14000I", "LTFS11031I", "LTFS11999E in the middle", "LTFS11034I"} {
		if !strings.Contains(string(log), code) {
			t.Errorf("the log lacks %s", code)
		}
	}
}
