package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// unkind is an archive of one source whose tapes are about to fail.
type unkind struct {
	*archive
	source string
}

// newUnkind archives two files in order: what comes after it goes wrong.
func newUnkind(t *testing.T, initArgs ...string) *unkind {
	source := filepath.Join(t.TempDir(), "src")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	u := &unkind{newArchive(t, nil, append([]string{"--slots", "7", "--drives", "1", "--tape-size", "64MiB", "--source", "src=" + source}, initArgs...)...), source}
	u.fault("slow-umount=20ms")
	u.add(1)
	u.run("archive")
	return u
}

// add makes two files at the source: one part of 5 MiB, which takes 11 blocks.
func (u *unkind) add(seed byte) {
	u.t.Helper()
	writeRandom(u.t, filepath.Join(u.source, fmt.Sprintf("film %d", seed)), 5<<20, seed)
	writeRandom(u.t, filepath.Join(u.source, fmt.Sprintf("picture %d", seed)), 30_000, seed+100)
}

func (u *unkind) fault(kinds ...string) {
	u.t.Helper()
	if err := u.library().Fault(kinds...); err != nil {
		u.t.Fatal(err)
	}
}

// next is a fault that lies so many blocks behind where the next file on a tape will begin.
func (u *unkind) next(kind, barcode string, blocks int64) string {
	u.t.Helper()
	text, err := os.ReadFile(u.path("library/tapes/" + barcode + "/index.json"))
	if err != nil {
		u.t.Fatal(err)
	}
	var x struct {
		LastOnB int64 `json:"last_on_b"`
	}
	if err := json.Unmarshal(text, &x); err != nil {
		u.t.Fatal(err)
	}
	return fmt.Sprintf("%s=%s:%d", kind, barcode, (x.LastOnB+2+blocks)*blockSize)
}

// says runs tapefs, wants an exit code and each of the patterns in what it printed.
func (u *unkind) says(code int, patterns []string, args ...string) {
	u.t.Helper()
	cmd := u.command(args...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		u.t.Fatalf("tapefs %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(p).Match(out) {
			u.t.Errorf("tapefs %s does not say %q:\n%s", strings.Join(args, " "), p, out)
		}
	}
}

// safe wants so many files named, and that a rebuild from the tapes and keys brings them back, with and without the
// catalog's snapshots.
func (u *unkind) safe(want int, args ...string) {
	u.t.Helper()
	p, code := u.promised("src", u.source, args...)
	if wantCode := map[bool]int{true: exitDone, false: exitPartial}[want == u.files()]; len(p) != want || code != wantCode {
		u.t.Errorf("safe %v names %d files and exits %d; want %d and %d", args, len(p), code, want, wantCode)
	}
	for _, how := range []rebuilt{{name: "a rebuild", tapes: u.tapesOf("")}, {name: "a rebuild without snapshots", tapes: u.tapesOf(""), rebuild: []string{"--no-snapshot"}}} {
		for _, loss := range u.broken(p, how) {
			u.t.Error(loss)
		}
	}
}

func (u *unkind) files() int {
	u.t.Helper()
	entries, err := os.ReadDir(u.source)
	if err != nil {
		u.t.Fatal(err)
	}
	return len(entries)
}

// recovers ends the faults. Suspect tapes prove themselves by check and verify; then a run says that all is done, everything
// is safe and stays so.
func (u *unkind) recovers() {
	u.t.Helper()
	u.fault("clear", "slow-umount=20ms")
	var tapes []tapeJSON
	decode(u.t, u.run("tape", "list", "--json"), &tapes)
	for _, tape := range tapes {
		if tape.State == "suspect" {
			u.run("tape", "check", tape.Barcode)
		}
	}
	u.run("verify")
	u.add(9)
	if out, err := u.command("archive").CombinedOutput(); err != nil && !strings.Contains(string(out), "mounted read-only") {
		u.t.Fatalf("archive: %v\n%s", err, out)
	} // a volume that a write error made read-only is full from then on, and that is said once
	u.run("archive")
	u.run("verify")
	u.run("catalog", "check")
	u.safe(u.files(), "--verified")
}

// An error of a write that only close tells of, one that sticks, one after which the volume is read-only: the part is
// written whole to another tape, what is on the first stays as it is.
func TestUnkindWrites(t *testing.T) {
	for _, kind := range []string{"close-eio", "sticky-eio", "write-perm"} {
		for where, blocks := range map[string]int64{"first block": 0, "last block": 10} {
			if kind != "close-eio" && blocks == 0 {
				continue
			}
			t.Run(kind+" in the "+where, func(t *testing.T) {
				u := newUnkind(t)
				u.add(2)
				u.fault(u.next(kind, "VT0001L8", blocks))
				u.says(exitPartial, []string{`(?m)^tapefs: .*trouble with tapes`, `write part 1 of .* to tape VT0001L8: .*(input/output error|read-only file system)`,
					`written to VT0002L8`}, "archive")
				u.says(0, []string{`VT0001L8 .* suspect`}, "tape", "list")
				u.safe(2) // those of the tape that is not suspect
				u.recovers()
			})
		}
	}
}

// An error that strikes the journal behind the part: the part becomes safe by another tape's journal, or is written there.
func TestUnkindJournal(t *testing.T) {
	for _, kind := range []string{"close-eio", "sticky-eio", "write-perm"} {
		t.Run(kind, func(t *testing.T) {
			u := newUnkind(t)
			u.add(2)
			u.fault(u.next(kind, "VT0001L8", 12))
			u.says(exitPartial, []string{`(?m)^tapefs: .*trouble with tapes`}, "archive")
			u.recovers()
		})
	}
}

// A sync that says that it worked and wrote no index: nothing counts that was not read back.
func TestUnkindSync(t *testing.T) {
	u := newUnkind(t)
	u.add(2)
	u.fault("sync-lies")
	u.says(exitPartial, []string{`the index generation went from \d+ to \d+`}, "archive")
	u.says(0, []string{`VT0001L8 .* suspect`}, "tape", "list")
	u.recovers()
}

// Neither sync nor unmount writes an index, and both say that all is well: what was written since is lost, and written anew.
func TestUnkindUnmount(t *testing.T) {
	u := newUnkind(t)
	u.add(2)
	u.fault("sync-lies", "umount-lies")
	u.fails(exitOperator, "archive")
	u.fault("clear")
	u.safe(2)
	u.run("drive", "trust", "0")
	u.recovers()
}

// An unmount alone that writes no index: what was synced before it is safe all the same.
func TestUnkindUnmountAfterSync(t *testing.T) {
	u := newUnkind(t)
	u.add(2)
	u.fault("umount-lies")
	u.run("archive")
	u.safe(4)
	u.recovers()
}

// A full tape that takes no index any more before it is unmounted: what it shows then is read back.
func TestUnkindFullTape(t *testing.T) {
	u := newUnkind(t)
	u.add(2)
	u.add(3)
	u.fault("full-no-sync", "enospc-after=16MB")
	u.says(exitDone, nil, "archive")
	u.says(0, []string{`VT0001L8 .* full`}, "tape", "list")
	u.safe(6)
	u.recovers()
}

// A new tape on which no index can be written is passed over, though its unmount fails as well. After the second one in a row the run
// ends, before the drive would be set aside: once the fault is over the next run needs nobody.
func TestUnkindLabel(t *testing.T) {
	u := newUnkind(t)
	u.add(2)
	u.fault("index-write", "write-protect=VT0001L8")
	u.says(exitFailed, []string{`tape VT0002L8 is passed over: label tape VT0002L8: its label could not be written`, `not given up in order" tape=VT0002L8`,
		`label tape VT0003L8: its label could not be written`, "2 tapes in a row failed in drive VTLDRV0001, no other is tried in this run"}, "archive")
	u.fault("clear")
	u.safe(2)
	u.recovers()
}

// A tape whose label cannot be read any more is suspect and passed over: it does not end this run, and each one after it.
func TestUnkindUnreadableLabel(t *testing.T) {
	u := newUnkind(t)
	u.run("tape", "format", "VT0002L8")
	text, err := os.ReadFile(u.path("library/tapes/VT0002L8/index.json"))
	if err != nil {
		t.Fatal(err)
	}
	label := regexp.MustCompile(`"README.txt".*?"extents":\[\{"off":0,"block":(\d+)`).FindSubmatch(text)
	if label == nil {
		t.Fatalf("%s", text)
	}
	block, err := strconv.ParseInt(string(label[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	u.fault("write-protect=VT0001L8", fmt.Sprintf("read-eio=VT0002L8:%d", block*blockSize))
	u.add(2)
	u.says(exitPartial, []string{`tape VT0002L8 is passed over: read the label of tape VT0002L8: .*input/output error`}, "archive")
	u.says(0, []string{`VT0002L8 .* suspect`, `VT0003L8 .* open`}, "tape", "list")
	u.fault("clear")
	u.safe(4)
}

// Bytes that never reached the tape, or others than were written: no program tells, so safe --verified does not name the
// files before they were read back, and nothing does after.
func TestUnkindBytes(t *testing.T) {
	for _, kind := range []string{"lost-write", "wrong-write"} {
		t.Run(kind, func(t *testing.T) {
			u := newUnkind(t)
			u.run("verify")
			u.add(2)
			u.fault(u.next(kind, "VT0001L8", 8))
			u.run("archive")
			u.fault("clear")
			u.safe(2, "--verified")
			u.says(exitFailed, []string{`VT0001L8`, `extent 1: `}, "verify")
			u.says(exitFailed, nil, "verify")
			u.safe(0) // the tape is suspect
			u.says(0, []string{`DAMAGED in main`}, "status")
			u.says(exitPartial, []string{`1 file taken again`}, "archive", "--heal")
			u.run("tape", "trust", "VT0001L8", "--yes") // what is left on it reads well
			u.recovers()
		})
	}
}

// The ltfs of a run that was killed is killed, too: the volume wants ltfsck. The next run does that in the open, and goes on; who does
// not want that reads how to do it.
func TestUnkindKill(t *testing.T) {
	u := newUnkind(t)
	u.add(2)
	u.fault("kill-needs-check")
	cmd := u.command("archive")
	cmd.Env = append(os.Environ(), "TAPEFS_FAILPOINT=sync")
	if err := cmd.Run(); err == nil {
		t.Fatal("the run was not killed")
	}
	u.fault("kill-ltfs")
	u.says(exitDone, []string{`a tape is checked with ltfsck.* tape=VT0001L8 .*its session of `, `ltfsck made the tape consistent`}, "archive")
	u.recovers()
}

// A tape on which mt eod fails is never taken for a blank one.
func TestUnkindEOD(t *testing.T) {
	u := newUnkind(t)
	if err := u.library().Fault("eod-eio"); err != nil {
		t.Fatal(err)
	}
	u.says(exitFailed, []string{`format tape VT0002L8: .*nput/output error`}, "tape", "format", "VT0002L8")
	u.fault("write-protect=VT0001L8")
	u.add(2)
	u.says(exitOperator, []string{`VT0002L8 is passed over: .*nput/output error`}, "archive")
	u.safe(2)
	u.fault("clear", "slow-umount=20ms")
	u.recovers()
}
