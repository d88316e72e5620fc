package changer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// still looks at the mount itself: one that became read-only proves nothing any more, nor does a directory on which
// nothing is mounted, whatever process lives on.
func TestStillLooksAtTheMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts")
	}
	dir := filepath.Join(t.TempDir(), "volume")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := DriveConfig{Serial: "S1", Device: filepath.Join(t.TempDir(), "sg1")}
	if err := os.WriteFile(d.Device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	v := &Volume{Dir: dir, UUID: "u", le: &Lease{d: d}, child: &child{cmd: exec.Command("true"), exited: make(chan struct{})}}
	if err := v.still(); err == nil {
		t.Error("nothing is mounted, and the volume counts as mounted")
	}
	mount := func(source string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(source, dir, "tmpfs", flags, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	mount("ltfs:"+d.Device, 0)
	if err := unix.Setxattr(dir, "user.ltfs.volumeUUID", []byte("u"), 0); err != nil {
		t.Skipf("tmpfs has no such attributes here: %v", err)
	}
	if err := v.still(); err != nil {
		t.Fatalf("a mount that is as it was: %v", err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := v.still(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a mount that became read-only: %v", err)
	}
}
