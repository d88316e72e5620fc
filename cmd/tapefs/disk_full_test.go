package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStateDiskFull: without room beside the catalog not even status can read it. It says why, changes nothing, and
// all is as before when there is room again.
func TestStateDiskFull(t *testing.T) {
	source := t.TempDir()
	writeRandom(t, filepath.Join(source, "a"), 5000, 1)
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=32m,mode=0700"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	// The last --state counts.
	a := newArchive(t, nil, "--state", filepath.Join(small, "state"), "--tape-size", "64MiB", "--drives", "1", "--source", "src="+source)
	a.run("archive")
	before := a.run("ls", "-lR", "/")
	ballast := filepath.Join(small, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 1<<20); err == nil; {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status"}, {"ls", "/src"}, {"runs"}, {"archive"}, {"tape", "list"}, {"mount", t.TempDir()}, {"mount", "--daemon", t.TempDir()}} {
		cmd := a.command(args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
			t.Errorf("%s: %v", args, err)
		}
		wanted := []string{"the disk of the catalog is full", "hint: make room on the file system of the state folder"}
		if len(args) == 3 {
			wanted = []string{"left nothing in its log", "hint: is the disk of "}
		}
		for _, want := range wanted {
			if !strings.Contains(stderr.String(), want) {
				t.Errorf("%s lacks %q:\n%s", args, want, stderr.String())
			}
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if out := a.run("ls", "-lR", "/"); out != before {
		t.Errorf("the catalog changed:\n%s\n%s", before, out)
	}
	a.run("catalog", "check")
	if out := a.run("archive"); !strings.Contains(out, "archived: 0 files new, 0 changed, 0 vanished") {
		t.Error(out)
	}
}
