package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/changer/virtual"
)

// TestRestoreKilled: a restore from several tapes of two pools works with both drives; after
// kill -9 the next one reads only what is not there, and leaves no half file. A tape outside the library keeps nothing else back.
func TestRestoreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("archives 150 MiB and restores them three times")
	}
	sources := t.TempDir()
	const each = 75
	for i, name := range []string{"one", "two"} {
		if err := os.MkdirAll(filepath.Join(sources, name, "dir"), 0o755); err != nil {
			t.Fatal(err)
		}
		for n := range each {
			writeRandom(t, filepath.Join(sources, name, "dir", fmt.Sprintf("file %02d", n)), 1<<20-int64(n)*1000, byte(i*each+n))
		}
	}
	a := newArchive(t, func(text string) string {
		text = strings.Replace(text, `# include: ["*"]`, `include: ["VT000[1-4]*"]`, 1)
		text = strings.Replace(text, "\n# Sources:", "  offsite:\n    include: [\"VT000[5-9]*\"]\n    format_blank: true\n\n# Sources:", 1)
		last := strings.LastIndex(text, "# copies: [main]")
		return text[:last] + "copies: [offsite]" + text[last+len("# copies: [main]"):]
	}, "--tape-size", "64MiB", "--slots", "10", "--drives", "2", "--source", "one="+filepath.Join(sources, "one"), "--source", "two="+filepath.Join(sources, "two"))
	a.run("archive")
	kept := sources + " kept"
	if err := os.Rename(sources, kept); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(kept) })
	perTape := map[string]int{}
	for line := range strings.Lines(output(t, "sqlite3", "-separator", " ", a.path("state/catalog.db"), `SELECT t.barcode, count(DISTINCT v.id) FROM tape t
		JOIN copy_part p ON p.tape = t.id AND p.state = 2 JOIN copy c ON c.id = p.copy JOIN member m ON m.object = c.object
		JOIN version v ON v.id = m.version AND v.kind = 1 GROUP BY t.id`)) {
		barcode, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		perTape[barcode], _ = strconv.Atoi(n)
	}
	const slow = "VT0001L8"
	if len(perTape) != 4 || perTape[slow] == 0 || perTape["VT0005L8"] == 0 {
		t.Fatalf("this test wants two tapes of each pool: %v", perTape)
	}
	compare := func(back string) {
		t.Helper()
		if out := output(t, "rsync", "-aHnc", "--delete", "--itemize-changes", kept+"/one", kept+"/two", a.path(back)); out != "" {
			t.Errorf("%s differs:\n%s", back, out)
		}
	}

	// Killed while one tape is read for ever.
	a.run("virtual", "fault", "library", "stuck-read="+slow)
	t.Cleanup(func() { a.run("virtual", "fault", "library", "clear") })
	before := len(a.events(0))
	killed := a.command("restore", "/one", "/two", "--to", "back")
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { killed.Process.Kill() })
	var whole, half int
	waitUntil(t, "the restore is half-way", func() bool {
		whole, half = restoredFiles(t, a.path("back"))
		return whole > 0 && half > 0 && slices.ContainsFunc(a.events(before), func(e virtual.Event) bool { return e.Kind == "mount" && e.Barcode == slow })
	})
	killed.Process.Kill()
	a.run("virtual", "fault", "library", "clear") // a read that the drive has begun is not given up, by no signal
	if err := killed.Wait(); err == nil {
		t.Error("a restore whose tape cannot be read ended well")
	}
	whole, half = restoredFiles(t, a.path("back"))
	if whole == 2*each || half == 0 {
		t.Errorf("the kill left %d whole files and %d half ones: nothing is tested", whole, half)
	}
	if out := a.run("restore", "/one", "/two", "--to", "back"); !strings.HasPrefix(out, fmt.Sprintf("restored: %d files, ", 2*each-whole)) ||
		!strings.Contains(out, fmt.Sprintf("; %d there already", whole)) {
		t.Errorf("after %d files the second run says %s", whole, out)
	}
	compare("back")

	// In one go: each tape once, and both drives at the same time.
	before = len(a.events(0))
	a.run("restore", "/one", "/two", "--to", "whole")
	compare("whole")
	loads, back, _ := tapeOrder(a.events(before))
	for barcode, n := range loads {
		if n > 1 {
			t.Errorf("%s was loaded %d times", barcode, n)
		}
	}
	if len(back) > 0 {
		t.Errorf("the restore went back on a tape: %v", back)
	}
	overlap := 0
	for barcode := range perTape {
		overlap += len(besides(a.events(before), barcode))
	}
	if overlap == 0 {
		t.Error("no two tapes were mounted at the same time")
	}

	// A tape is outside the library.
	loaded := a.run("tape", "unload", slow)
	var slot int
	if _, err := fmt.Sscanf(loaded, slow+" is in slot %d", &slot); err != nil {
		t.Fatalf("%v: %s", err, loaded)
	}
	a.run("virtual", "fault", "library", fmt.Sprintf("wrong-barcode=%d:XX0001L8", slot))
	out, err := a.command("restore", "/one", "/two", "--to", "later").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitOperator || !strings.Contains(string(out), "wait for tape "+slow) {
		t.Errorf("without %s: %v\n%s", slow, err, out)
	}
	if whole, half := restoredFiles(t, a.path("later")); whole != 2*each-perTape[slow] || half != 0 {
		t.Errorf("without %s: %d whole and %d half files", slow, whole, half)
	}
	a.run("virtual", "fault", "library", "clear")
	a.run("restore", "/one", "/two", "--to", "later")
	compare("later")
}

// restoredFiles counts the files of a restore that have their names, and those that are not whole yet.
func restoredFiles(t *testing.T, dir string) (whole, half int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // it got its name just now
			return nil
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), ".tapefs-"):
			half++
		case d.Type().IsRegular():
			whole++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return whole, half
}

// besides lists the tapes that gave bytes of objects while barcode was mounted in another drive.
func besides(events []virtual.Event, barcode string) (others []string) {
	mounted := false
	seen := map[string]bool{}
	for _, e := range events {
		switch {
		case e.Barcode == barcode && e.Kind == "mount":
			mounted = true
		case e.Barcode == barcode && e.Kind == "unmount":
			mounted = false
		case e.Kind == "read" && mounted && e.Barcode != barcode && strings.HasSuffix(e.File, ".tar.enc") && !seen[e.Barcode]:
			seen[e.Barcode] = true
			others = append(others, e.Barcode)
		}
	}
	return others
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
