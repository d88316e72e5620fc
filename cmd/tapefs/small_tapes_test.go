package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer/virtual"
)

// TestSmallTapesOneDrive: 300 MiB in one file and 10,000 small files onto 64 MiB tapes with one drive. All
// comes back through the mount, and through restore.sh tape by tape.
func TestSmallTapesOneDrive(t *testing.T) {
	if testing.Short() {
		t.Skip("archives 360 MiB onto eight tapes and reads it back twice")
	}
	source := filepath.Join(t.TempDir(), "source")
	for d := range 100 {
		dir := filepath.Join(source, fmt.Sprintf("album %02d", d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			writeRandom(t, filepath.Join(dir, fmt.Sprintf("picture %03d.jpeg", i)), int64(d*100+i), byte(d))
		}
	}
	writeRandom(t, filepath.Join(source, "film.mkv"), 300<<20, 200)

	a := newArchive(t, nil, "--tape-size", "64MiB", "--slots", "12", "--drives", "1", "--source", "src="+source)
	began := time.Now()
	a.run("archive")
	t.Logf("archived in %v", time.Since(began))
	if out := a.run("status"); !strings.Contains(out, "nothing") {
		t.Errorf("copies are owed:\n%s", out)
	}
	if out := a.run("archive"); !strings.Contains(out, "archived: 0 files new, 0 changed, 0 vanished") {
		t.Errorf("the second run is not quiet: %s", out)
	}
	var tapes []tapeJSON
	decode(t, a.run("tape", "list", "--json"), &tapes)
	full := 0
	for _, tape := range tapes {
		if tape.State == "full" {
			full++
		}
		if tape.Used > tape.Capacity || tape.Unsafe > 0 {
			t.Errorf("tape %+v", tape)
		}
	}
	if len(tapes) < 6 || full < len(tapes)-1 {
		t.Errorf("%d tapes, %d of them full", len(tapes), full)
	}
	mnt, began := a.mount(), time.Now()
	compareTrees(t, source, filepath.Join(mnt, "src"))
	t.Logf("read through the mount in %v", time.Since(began))
	a.unmount(mnt)
	began = time.Now()
	compareTrees(t, source, filepath.Join(restoreTapeByTape(t, a, tapes), "src"))
	t.Logf("restored tape by tape in %v", time.Since(began))
}

// restoreTapeByTape loads each tape by hand into the one drive and runs its restore.sh without tapefs.
func restoreTapeByTape(t *testing.T, a *archive, tapes []tapeJSON) string {
	t.Helper()
	lib := a.library()
	keys, err := filepath.Glob(a.path("state/keys/*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("one key file expected, found %v, %v", keys, err)
	}
	work := t.TempDir()
	target, parts, dir := filepath.Join(work, "restored"), filepath.Join(work, "parts"), filepath.Join(work, "tape")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountBelow(dir) })
	for i, tape := range tapes { // by barcode, which is by number
		if tape.Number != i+1 {
			t.Fatalf("tape %s has number %d", tape.Barcode, tape.Number)
		}
		loadByHand(t, lib, tape.Barcode)
		byHand(t, lib, "ltfs", "-o", "devname="+lib.Drives[0].Device, dir)
		cmd := exec.Command("/bin/sh", filepath.Join(dir, "restore.sh"), "--parts", parts, keys[0], target, dir)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 0 && (code != 3 || i == len(tapes)-1) { // 3: parts on other tapes are missing
			t.Fatalf("restore.sh of %s: %v\n%s", tape.Barcode, err, out)
		}
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Fatalf("umount: %v\n%s", err, out)
		}
		unmountBelow(dir)
	}
	return target
}

func byHand(t *testing.T, lib *virtual.Library, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(lib.Bin, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// loadByHand brings a tape into drive 0 with mtx, whatever is there now.
func loadByHand(t *testing.T, lib *virtual.Library, barcode string) {
	t.Helper()
	status := byHand(t, lib, "mtx", "-f", lib.Changer, "status")
	if m := regexp.MustCompile(`Data Transfer Element 0:Full \(Storage Element (\d+) Loaded\):VolumeTag = (\S+)`).FindStringSubmatch(status); m != nil {
		if m[2] == barcode {
			return
		}
		byHand(t, lib, "mtx", "-f", lib.Changer, "unload", m[1], "0")
	}
	m := regexp.MustCompile(`Storage Element (\d+):Full :VolumeTag=` + barcode).FindStringSubmatch(status)
	if m == nil {
		t.Fatalf("no slot holds %s:\n%s", barcode, status)
	}
	byHand(t, lib, "mtx", "-f", lib.Changer, "load", m[1], "0")
}
