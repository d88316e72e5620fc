package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMountKilled: the process behind a mount is killed while ltfs, its child, has a tape mounted. Who looks at the mount point gets an
// error at once, another mount takes the place of the dead one, also when somebody stands in it, and nothing is left in the end.
func TestMountKilled(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts without fusermount")
	}
	source := t.TempDir()
	want := bytes.Repeat([]byte("picture"), 1000)
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(filepath.Join(source, name), want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := newArchive(t, nil, "--tape-size", "64MiB", "--source", "src="+source)
	a.run("archive")
	for _, name := range []string{"one", "two"} { // else they are read where they are
		if err := os.Remove(filepath.Join(source, name)); err != nil {
			t.Fatal(err)
		}
	}
	mnt := a.path("mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := a.command("mount", mnt)
	if err := mount.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the mount answers", func() bool { return exists(filepath.Join(mnt, "src/one")) })
	if got, err := os.ReadFile(filepath.Join(mnt, "src/one")); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read: %v", err)
	}
	if len(mountsBelow(a.path("state"))) == 0 {
		t.Fatal("no tape is mounted: the test shows nothing")
	}
	standing, err := os.Open(mnt)
	if err != nil {
		t.Fatal(err)
	}
	if err := mount.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	mount.Wait()
	looked := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		looked <- unix.Statfs(mnt, &st)
	}()
	select {
	case err := <-looked:
		if !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("the dead mount says %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("who looks at the dead mount hangs")
	}
	a.run("mount", "--daemon", mnt)
	standing.Close()
	if n := len(mountsBelow(mnt)); n != 1 {
		t.Errorf("%d mounts on one place", n)
	}
	if got, err := os.ReadFile(filepath.Join(mnt, "src/two")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read through the new mount: %v", err)
	}
	if out, err := exec.Command("umount", mnt).CombinedOutput(); err != nil {
		t.Errorf("umount: %v: %s", err, out)
	}
	waitUntil(t, "nothing is left mounted", func() bool { return len(mountsBelow(a.dir)) == 0 })
}
