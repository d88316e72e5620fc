package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pseudoTerminal gives a pseudo-terminal's slave, and a function that returns what was shown on it once the slave is closed
// everywhere.
func pseudoTerminal(t *testing.T) (slave *os.File, shown func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120}); err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(&text, master) // EIO at the end
	}()
	return slave, func() string {
		slave.Close()
		<-done
		return text.String()
	}
}

// On a terminal a bar for each stage, its rate, and what the robot does; in a pipe one line.
func TestBarsOnATerminal(t *testing.T) {
	ssh := testSSHD(t)
	source := t.TempDir()
	for i := range 4 {
		writeRandom(t, filepath.Join(source, fmt.Sprint("film", i)), 12<<20, byte(i))
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "# ssh: [\"-p\", \"2222\"", "ssh: "+yamlList(ssh)+" # [\"-p\", \"2222\"", 1)
	}, "--tape-size", "256MiB", "--source", "src=127.0.0.1:"+source)
	if err := a.library().Fault("slow-load=1s"); err != nil { // long enough to be shown
		t.Fatal(err)
	}
	slave, shown := pseudoTerminal(t)
	cmd := a.command("archive")
	var stdout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, slave
	err := cmd.Run()
	text := shown()
	if err != nil {
		t.Fatalf("archive: %v\n%s", err, text)
	}
	for _, want := range []string{`list .*4 files`, `fetch .*[0-9.]+ MiB of 48 MiB`, `write .*48 MiB of 48 MiB`, `\[=+>`, `MiB/s`, `loading VT0001L8 into drive 0`} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("nothing like %q in:\n%q", want, text)
		}
	}
	if !strings.HasPrefix(stdout.String(), "archived: 4 files new") {
		t.Errorf("stdout %q", stdout.String())
	}
	cmd = a.command("archive")
	var quiet bytes.Buffer
	cmd.Stderr = &quiet
	if out, err := cmd.Output(); err != nil || quiet.Len() > 0 || strings.Count(string(out), "\n") != 1 {
		t.Errorf("without a terminal: %v, %q, %q", err, out, quiet.String())
	}
}

func yamlList(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = fmt.Sprintf("%q", w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
