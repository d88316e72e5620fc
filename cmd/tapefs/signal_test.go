package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lockedBuffer may be read while a process still writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to this: %s", what)
		}
	}
}

// TestStoppedInTheMiddle: SIGTERM while a part is written. The part is finished, the tape synced, unmounted and
// its ltfs awaited; a second signal says what is being waited for; the next run goes on where this one ended.
func TestStoppedInTheMiddle(t *testing.T) {
	if testing.Short() {
		t.Skip("archives 200 MiB twice over")
	}
	source := t.TempDir()
	for i := range 2 {
		writeRandom(t, filepath.Join(source, fmt.Sprintf("film %d", i)), 100<<20, byte(i))
	}
	gate := filepath.Join(t.TempDir(), "gate")
	a := newArchive(t, func(text string) string {
		// ltfs ends only when it may: its mount stays gone and its process there, as while an index is written.
		wrapped := filepath.Join(filepath.Dir(gate), "ltfs")
		real := regexp.MustCompile(`(?m)^    ltfs: "?([^"\n]*)"?$`).FindStringSubmatch(text)
		if real == nil {
			t.Fatalf("no ltfs in the configuration:\n%s", text)
		}
		script := fmt.Sprintf("#!/bin/sh\n'%s' \"$@\"\nrc=$?\nwhile [ -e '%s' ]; do sleep 0.02; done\nexit $rc\n", real[1], gate)
		if err := os.WriteFile(wrapped, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		return strings.Replace(text, real[0], "    ltfs: "+wrapped, 1)
	}, "--tape-size", "512MiB", "--source", "films="+source)
	t.Cleanup(func() { os.Remove(gate) }) // also when the test fails: the script waits for it

	var stdout, stderr lockedBuffer
	cmd := a.command("archive")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM) })

	part := filepath.Join(a.path("state/run/ltfs"), "*", "tapefs", "*", "*.tar.enc*")
	eventually(t, "a part is being written", func() bool {
		found, _ := filepath.Glob(part)
		return len(found) > 0
	})
	signal := func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	signal()
	eventually(t, "it says that it stops", func() bool { return strings.Contains(stderr.String(), "stopping after the part in hand") })
	eventually(t, "the volume is unmounted", func() bool { return len(mountsBelow(a.path("state/run"))) == 0 })
	eventually(t, "it says what it waits for", func() bool {
		signal()
		time.Sleep(50 * time.Millisecond)
		return strings.Contains(stderr.String(), "still stopping: unmounting VT0001L8")
	})
	select {
	case err := <-exited:
		t.Fatalf("it ended while ltfs was still writing its index: %v\n%s", err, stderr.String())
	default:
	}
	if err := os.Remove(gate); err != nil {
		t.Fatal(err)
	}
	err := <-exited
	var code *exec.ExitError
	if !errors.As(err, &code) || code.ExitCode() != exitFailed {
		t.Errorf("it ended with %v, want exit code %d", err, exitFailed)
	}
	for _, want := range []string{"tapefs: archive: interrupted", "hint: what was written is safe on tape"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("stderr lacks %q:\n%s", want, stderr.String())
		}
	}
	if processesNaming(a.path("state/run/ltfs")) {
		t.Error("an ltfs process was left behind")
	}

	var first, second struct {
		State  string
		Counts map[string]map[string]int64
	}
	decode(t, a.run("runs", "1", "--json"), &first)
	wrote := first.Counts["films"]["written_bytes"]
	if first.State != "interrupted" || wrote == 0 || wrote >= 200<<20 {
		t.Errorf("the interrupted run: %+v", first)
	}
	if out := a.run("status"); !strings.Contains(out, "owed to main") {
		t.Errorf("nothing is owed:\n%s", out)
	}
	a.run("archive")
	decode(t, a.run("runs", "2", "--json"), &second)
	again := second.Counts["films"]["written_bytes"]
	// An object that was cut off in the middle is packed anew: its salt was never recorded.
	if second.State != "done" || wrote+again < 200<<20 || wrote+again > 310<<20 {
		t.Errorf("%d bytes were written, then %d: %+v", wrote, again, second)
	}
	if out := a.run("status"); !strings.Contains(out, "nothing") {
		t.Errorf("still owed:\n%s", out)
	}
	mnt := a.mount()
	compareTrees(t, source, filepath.Join(mnt, "films"))
	a.unmount(mnt)
}

// The units hold what a tape needs from whoever stops processes.
func TestSystemdUnits(t *testing.T) {
	for name, lines := range map[string][]string{
		"tapefs-archive.service": {"KillMode=mixed", "SendSIGKILL=no", "TimeoutStopSec=3h", "ExecStart=/usr/local/bin/tapefs archive"},
		"tapefs-mount.service":   {"KillMode=mixed", "SendSIGKILL=no", "TimeoutStopSec=1h", "Type=notify"},
		"tapefs-verify.service":  {"KillMode=mixed", "SendSIGKILL=no", "TimeoutStopSec=3h", "ExecStart=/usr/local/bin/tapefs verify --due"},
		"tapefs-verify.timer":    {"Persistent=true", "WantedBy=timers.target"},
		"tapefs-archive.timer":   {"Persistent=true", "WantedBy=timers.target"},
	} {
		text, err := os.ReadFile(filepath.Join("systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			have[strings.TrimSpace(line)] = true
		}
		for _, line := range lines {
			if !have[line] {
				t.Errorf("%s lacks %s", name, line)
			}
		}
	}
}

// TestStoppedDuringACheck: who is told to end while ltfsck runs waits for it, and a second signal names the program and says since
// when it runs.
func TestStoppedDuringACheck(t *testing.T) {
	source := t.TempDir()
	writeRandom(t, filepath.Join(source, "file"), 1<<20, 1)
	a := newArchive(t, nil, "--slots", "3", "--drives", "1", "--tape-size", "64MiB", "--source", "src="+source)
	a.run("archive")
	lib := a.library()
	t.Cleanup(func() { lib.Fault("clear") }) // also when the test fails: ltfsck waits for it
	if err := lib.Fault("needs-check=VT0001L8", "stuck-check=VT0001L8"); err != nil {
		t.Fatal(err)
	}
	var said lockedBuffer
	cmd := a.command("tape", "check", "VT0001L8")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	eventually(t, "ltfsck runs", func() bool {
		return anyProcess(func(args []string) bool {
			return slices.Contains(args, "ltfsck") && strings.Contains(strings.Join(args, " "), a.dir)
		})
	})
	wanted := regexp.MustCompile(`terminated: ltfsck .*/library/dev/sg1 \(pid \d+\) runs since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \(\d+s\) and must not be interrupted`)
	eventually(t, "it says which program runs and since when", func() bool {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatalf("%v\n%s", err, said.String())
		}
		time.Sleep(50 * time.Millisecond)
		return wanted.MatchString(said.String())
	})
	select {
	case err := <-exited:
		t.Fatalf("it ended while ltfsck was still running: %v\n%s", err, said.String())
	default:
	}
	if err := lib.Fault("clear"); err != nil {
		t.Fatal(err)
	}
	if err := <-exited; err == nil {
		t.Errorf("it was interrupted, and ended well:\n%s", said.String())
	}
	a.run("tape", "check", "VT0001L8")
	a.run("verify")
}
