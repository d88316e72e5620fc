package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sealedReads counts, by file on tape, how often the drives read its beginning since event n.
func (a *archive) sealedReads(n int) map[string]int {
	a.t.Helper()
	reads := map[string]int{}
	for _, e := range a.events(n) {
		if e.Kind == "read" && e.Offset == 0 && strings.Contains(e.File, ".tar.enc") && !strings.Contains(e.File, "manifest-") && !strings.Contains(e.File, "catalog-") {
			reads[e.Barcode+" "+e.File]++
		}
	}
	return reads
}

// verify runs verify --json and returns what it says and which sealed files it read.
func (a *archive) verify(code int, args ...string) (v verifyJSON, reads map[string]int) {
	a.t.Helper()
	before := len(a.events(0))
	cmd := a.command(append([]string{"verify", "--json"}, args...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		a.t.Fatalf("verify %v: %v, not exit code %d\n%s%s", args, err, code, out, exit.Stderr)
	}
	decode(a.t, string(out), &v)
	return v, a.sealedReads(before)
}

// What verify chooses is what it reads, and nothing else.
func TestVerifyChooses(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	a := newArchive(t, withPools("VT000[5-8]*"), "--slots", "8", "--drives", "2", "--tape-size", "64MiB", "--source", "one="+one, "--source", "two="+two)
	a.edit("# copies: [main]", "copies: [main, off]")
	a.edit("# bundle_below: 64MiB", "bundle_below: 1")
	a.edit(fmt.Sprintf("url: %q", two), fmt.Sprintf("url: %q\n    copies: [main, off]\n    bundle_below: 1", two))
	a.edit("  # every: 180d", "  every: 1ms")
	const files, size = 10, 3000
	for i := range files {
		writeRandom(t, fmt.Sprintf("%s/%d", one, i), size, byte(i))
		writeRandom(t, fmt.Sprintf("%s/%d", two, i), size, byte(100+i))
	}
	a.run("archive")
	const parts = 2 * 2 * files
	of := func(reads map[string]int, barcode string) (n int) {
		for name, times := range reads {
			if times != 1 {
				t.Errorf("%s was read %d times", name, times)
			}
			if strings.HasPrefix(name, barcode) {
				n++
			}
		}
		return n
	}
	first, reads := a.verify(0, "--source", "one")
	if first.Parts != parts/2 || of(reads, "") != parts/2 {
		t.Fatalf("--source: %d parts, %d read", first.Parts, len(reads))
	}
	each := first.Bytes / int64(first.Parts) // all have the same size
	// What was never proved comes first, and nothing of it twice.
	seen := map[string]int{}
	for range 4 {
		v, reads := a.verify(0, "--oldest", fmt.Sprint(parts/8*each))
		for name := range reads {
			if seen[name]++; seen[name] > 1 {
				t.Errorf("--oldest read %s again before the others", name)
			}
		}
		if v.Parts != parts/8 || len(reads) != parts/8 {
			t.Errorf("--oldest: %d parts, %d bytes", v.Parts, v.Bytes)
		}
	}
	_, oneReads := a.verify(0, "--source", "one")
	for name := range oneReads {
		if seen[name] > 0 {
			t.Errorf("--oldest read %s, which was proved, before all that was not", name)
		}
	}
	if v, reads := a.verify(0, "--tape", "VT0005L8"); v.Parts != parts/2 || of(reads, "VT0005L8") != parts/2 || len(reads) != parts/2 {
		t.Errorf("--tape: %d parts, read %d of that tape, %d in all", v.Parts, of(reads, "VT0005L8"), len(reads))
	}
	if v, reads := a.verify(0, "/one/3", "/two/4"); v.Parts != 4 || of(reads, "") != 4 {
		t.Errorf("paths: %d parts, %d read", v.Parts, len(reads))
	}
	v, reads := a.verify(0, "--sample", "25%") // by bytes
	if v.Parts != len(reads) || v.Parts < parts/4 || v.Parts > parts/4+1 {
		t.Errorf("--sample 25%%: %d parts of %d, %d read", v.Parts, parts, len(reads))
	}
	a.fails(2, "verify", "--sample", "0%")
	a.fails(2, "verify", "--sample", "5%", "--due")
	a.fails(1, "verify", "/one/not there")

	// A tape that is away is wanted, and never verified, however often it is due.
	a.run("tape", "unload", "VT0005L8")
	a.run("virtual", "fault", a.path("library"), "wrong-barcode=5:XX0005L8")
	for range 2 {
		v, reads := a.verify(4, "--due")
		if v.Parts != parts/2 || of(reads, "VT0001L8") != parts/2 || strings.Join(v.Wanted, " ") != "VT0005L8" {
			t.Errorf("--due with a tape away: %d parts, wanted %v", v.Parts, v.Wanted)
		}
	}
	if out := a.run("status"); !strings.Contains(out, "VT0005L8  verify") {
		t.Errorf("status does not want the tape:\n%s", out)
	}
	a.edit("  # budget: 200GB", "  budget: 200GB")
	a.edit("  every: 1ms", "  every: 180d")
	a.run("virtual", "fault", a.path("library"), "clear")
	if v, reads := a.verify(0, "--due"); v.Parts != 0 || len(reads) != 0 {
		t.Errorf("nothing is due: %d parts, %v", v.Parts, reads)
	}
	if v, _ := a.verify(0, "--tape", "VT0005L8"); v.Parts != parts/2 {
		t.Errorf("the tape is back: %d parts", v.Parts)
	}
	if out := a.run("status"); strings.Contains(out, "VT0005L8  verify") {
		t.Errorf("status wants a tape that was verified:\n%s", out)
	}
}

// A pool's verify_after_write reads back what the run wrote, through a fresh mount, and nothing older.
func TestVerifyAfterWrite(t *testing.T) {
	src := t.TempDir()
	a := newArchive(t, nil, "--slots", "2", "--drives", "1", "--tape-size", "64MiB", "--source", "src="+src)
	a.edit("# bundle_below: 64MiB", "bundle_below: 1")
	write := func(first, n int) {
		t.Helper()
		for i := first; i < first+n; i++ {
			writeRandom(t, fmt.Sprintf("%s/%d", src, i), 3000, byte(i))
		}
	}
	run := func() int {
		t.Helper()
		before := len(a.events(0))
		a.run("archive")
		written := false
		for _, e := range a.events(before) {
			switch {
			case e.Kind == "write":
				written = true
			case e.Kind == "read" && strings.Contains(e.File, ".tar.enc") && !written:
				t.Errorf("%s was read before anything was written", e.File)
			}
		}
		return len(a.sealedReads(before))
	}
	write(0, 20)
	if n := run(); n != 0 {
		t.Errorf("none is the default, and %d were read back", n)
	}
	a.edit("# verify_after_write: none", "verify_after_write: all")
	write(20, 20)
	if n := run(); n != 20 {
		t.Errorf("all: %d of 20 were read back", n)
	}
	a.edit("verify_after_write: all", "verify_after_write: 5%")
	write(40, 20)
	if n := run(); n != 1 {
		t.Errorf("5%%: %d of 20 were read back", n)
	}
	// What it finds is said by the run itself.
	a.edit("verify_after_write: 5%", "verify_after_write: all")
	write(60, 1)
	var tapes []tapeJSON
	decode(t, a.run("tape", "list", "--json"), &tapes)
	faults := []string{"virtual", "fault", a.path("library")}
	for block := 61; block < 128; block++ { // behind the 60 files that are there, to the end of the tape
		faults = append(faults, fmt.Sprintf("read-eio=%s:%d", tapes[0].Barcode, block<<19))
	}
	a.run(faults...)
	cmd := a.command("archive")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "read back what was written") {
		t.Errorf("a run that could not read back what it wrote says that all is well:\n%s", out)
	}
}

// A verify that is killed goes on where it was, and one that another process waits for gives its drive between two files.
func TestVerifyStopsAndYields(t *testing.T) {
	src := t.TempDir()
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "# include: [\"*\"]", `include: ["VT000[1-2]*"]`, 1)
	}, "--slots", "4", "--drives", "1", "--tape-size", "96MiB", "--source", "src="+src)
	a.edit("# bundle_below: 64MiB", "bundle_below: 1")
	const files = 60
	for i := range files {
		writeRandom(t, fmt.Sprintf("%s/%02d", src, i), 500_000, byte(i))
	}
	a.run("archive")

	// begin starts a verify and returns when it has read some files, stopped where it is.
	begin := func() *exec.Cmd {
		t.Helper()
		before := len(a.events(0))
		cmd := a.command("verify")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		for deadline := time.Now().Add(time.Minute); len(a.sealedReads(before)) < 5; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("verify reads nothing")
			}
		}
		if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if n := len(a.sealedReads(before)); n >= files {
			t.Fatalf("verify was through before it could be stopped: %d files", n)
		}
		return cmd
	}
	cmd := begin()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	v, reads := a.verify(0)
	if v.Skipped == 0 || v.Skipped+v.Parts != files || len(reads) != v.Parts {
		t.Errorf("after the kill: %d skipped, %d verified, %d read", v.Skipped, v.Parts, len(reads))
	}
	if v, _ := a.verify(0); v.Skipped != 0 || v.Parts != files {
		t.Errorf("a new one: %d skipped, %d verified", v.Skipped, v.Parts)
	}

	// Somebody loads another tape: verify lets the drive go, and takes it back.
	before := len(a.events(0))
	cmd = begin()
	other := a.command("tape", "load", "VT0003L8")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill() })
	awaitWanted(t, a.path("state/run/want."+a.library().Drives[0].Serial))
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Wait(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	var loads []string
	for _, e := range a.events(before) {
		if e.Kind == "load" {
			loads = append(loads, e.Barcode)
		}
	}
	if got := strings.Join(loads, " "); !strings.HasSuffix(got, "VT0003L8 VT0001L8") {
		t.Errorf("tapes were loaded in the order %s", got)
	}
	if n := len(a.sealedReads(before)); n != files {
		t.Errorf("%d of %d files were read", n, files)
	}
}

// awaitWanted waits until a process waits for a drive: it holds the file's lock with others of its kind.
func awaitWanted(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("nobody waits for %s", filepath.Base(path))
}
