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
	"time"

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

func TestPace(t *testing.T) {
	var p pace
	at := time.Unix(1e9, 0)
	if p.add(at, 0); p.rate() != 0 {
		t.Errorf("one sample gives %v", p.rate())
	}
	for i := range 100 {
		p.add(at.Add(time.Duration(i)*100*time.Millisecond), int64(i)*1000)
	}
	if r := p.rate(); r < 9500 || r > 10500 {
		t.Errorf("rate %v", r)
	}
	for i := range 600 { // a minute at another rate: the one before is forgotten
		p.add(at.Add(10*time.Second+time.Duration(i)*100*time.Millisecond), 100_000+int64(i)*100)
	}
	if r := p.rate(); r < 950 || r > 1050 || len(p.samples) > 40 {
		t.Errorf("rate %v of %d samples", r, len(p.samples))
	}
	if p.add(at.Add(71*time.Second), 5); p.rate() != 0 {
		t.Errorf("begun anew: %v", p.rate())
	}
	for _, c := range []struct {
		stage       string
		done, total int64
		rate        float64
		want        string
	}{
		{"list", 12345, 0, 1000, "12,345 files, 1,000/s"},
		{"fetch", 1 << 30, 3 << 30, 1 << 20, "1.0 GiB of 3.0 GiB, 1.0 MiB/s, ETA 34m8s"},
		{"write", 3 << 30, 3 << 30, 1 << 20, "3.0 GiB of 3.0 GiB"},
		{"tapes", 1, 4, 0.5, "1 of 4, 0/s, ETA 6s"},
	} {
		if got := stageText(c.stage, c.done, c.total, c.rate); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
