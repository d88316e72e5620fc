package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/changer/virtual"
)

// TestRestoreAfterAnInterruptedSpan: an object's first parts were on a full tape when the run died. The next one
// seals it anew, and pieces of two sealings bear the same names: restore.sh takes those that fit together.
func TestRestoreAfterAnInterruptedSpan(t *testing.T) {
	source := t.TempDir()
	a := newArchive(t, nil, "--tape-size", "64MiB", "--slots", "3", "--drives", "1", "--source", "src="+source)
	writeRandom(t, filepath.Join(source, "first"), 40<<20, 1)
	a.edit("# bundle_below: 64MiB", "bundle_below: 64KiB")
	a.run("archive")

	writeRandom(t, filepath.Join(source, "film"), 30<<20, 2)
	cmd := a.command("archive")
	cmd.Env = append(os.Environ(), "TAPEFS_FAILPOINT=format")
	var exit *exec.ExitError
	if out, err := cmd.CombinedOutput(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the run did not die when it wanted the second tape: %v\n%s", err, out)
	}
	a.run("archive")

	var tapes []tapeJSON
	decode(t, a.run("tape", "list", "--json"), &tapes)
	if len(tapes) != 2 {
		t.Fatalf("%d tapes, not 2", len(tapes))
	}
	pieces := 0
	for _, tape := range tapes {
		found, err := filepath.Glob(a.path("library/tapes/" + tape.Barcode + "/files/tapefs/*/*.tar.enc.0001"))
		if err != nil {
			t.Fatal(err)
		}
		pieces += len(found)
	}
	if pieces != 3 { // first's, and film's of both runs
		t.Fatalf("%d first pieces of objects lie on the tapes, not 3", pieces)
	}
	compareTrees(t, source, filepath.Join(restoreTapeByTape(t, a, tapes), "src"))

	dirs := []string{"/bin/sh", "", a.path("state/keys"), a.path("back")}
	for _, tape := range tapes {
		dirs = append(dirs, copyByHand(t, a.library(), tape.Barcode))
	}
	dirs[1] = filepath.Join(dirs[4], "restore.sh")
	cmd = exec.Command(dirs[0], dirs[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restore.sh: %v\n%s", err, out)
	}
	compareTrees(t, source, a.path("back/src"))
}

// copyByHand gives a copy of what a tape holds.
func copyByHand(t *testing.T, lib *virtual.Library, barcode string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tape")
	loadByHand(t, lib, barcode)
	copied := dir + "-copy"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountBelow(dir) })
	byHand(t, lib, "ltfs", "-o", "devname="+lib.Drives[0].Device, dir)
	if out, err := exec.Command("cp", "-r", dir, copied).CombinedOutput(); err != nil {
		t.Fatalf("copy a tape: %v\n%s", err, strings.TrimSpace(string(out)))
	}
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		t.Fatalf("umount: %v\n%s", err, out)
	}
	unmountBelow(dir)
	return copied
}
