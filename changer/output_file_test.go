package changer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// flood writes lines that say nothing, about n bytes of them, to what a program got as its standard error.
func flood(t *testing.T, f *os.File, n int) {
	t.Helper()
	block := bytes.Repeat([]byte("1b2c a line that says nothing at all, and another one follows it\n"), 1<<14)
	for ; n > 0; n -= len(block) {
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
}

func say(t *testing.T, f *os.File, lines ...string) {
	t.Helper()
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
}

// onEach runs a test in folders of both kinds: whose file system can take out the middle of a file (ext4, XFS), and cannot (tmpfs).
func onEach(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("disk", func(t *testing.T) { test(t, t.TempDir()) })
	t.Run("memory", func(t *testing.T) {
		dir, err := os.MkdirTemp("/dev/shm", "tapefs-")
		if err != nil {
			skipOnLaptop(t, err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		test(t, dir)
	})
}

// Of 300 MB of output what matters stays readable: how it began, how it ends, and each message in between once.
// TestOutputWithoutDisk: where the run folder takes no file, a program's output is read all the same. Nobody may make one in /sys.
func TestOutputWithoutDisk(t *testing.T) {
	l := &Library{cfg: Config{RunDir: "/sys"}}
	p, err := l.start([]string{"sh", "-c", "echo one; echo two >&2; echo three"})
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if p.fail != nil || p.res.stdout != "one\nthree\n" || p.res.stderr != "two\n" {
		t.Errorf("%+v, %v", p.res, p.fail)
	}
	o, err := logOutput("/sys/ltfs.log")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := o.f.WriteString("LTFS14000I LTFS starting\n"); err != nil || o.text() != "LTFS14000I LTFS starting\n" {
		t.Errorf("%q, %v", o.text(), err)
	}
}

func TestOutputIsKeptShort(t *testing.T) { onEach(t, outputIsKeptShort) }

func outputIsKeptShort(t *testing.T, dir string) {
	path := filepath.Join(dir, "ltfs.log")
	if err := os.WriteFile(path, []byte("LTFS14000I another process\nLTFS12012E which failed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := openOutput(path)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	say(t, o.f, "1b2c LTFS14000I LTFS starting", "1b2c LTFS11031I Volume mounted successfully")
	for range 30 {
		flood(t, o.f, 5<<20)
		say(t, o.f, "1b2c LTFS20048W the end of the tape is near", "1b2c LTFS11999E something else is wrong")
		flood(t, o.f, 5<<20)
		o.shorten()
	}
	say(t, o.f, "1b2c LTFS11034I Volume unmounted successfully")
	text := o.text()
	if len(text) > maxOutput {
		t.Errorf("%d bytes are kept", len(text))
	}
	want := []string{"14000I", "11031I", "20048W", "11999E", "11034I"}
	if got := ltfsCodes(text); !slices.Equal(slices.Compact(got), want) {
		t.Errorf("the messages are %v, want %v", got, want)
	}
	if strings.Contains(text, "\x00") || !strings.Contains(text, "bytes of this output are left out") {
		t.Error("what is left out is not said, or is a hole")
	}
	if st, err := os.Stat(path); err != nil || st.Size() > maxOutput+1<<20 {
		t.Errorf("the log has %d bytes, %v", st.Size(), err)
	}
	if whole, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(whole), "LTFS14000I another process\n") {
		t.Errorf("what another process wrote before is gone: %v", err)
	}
}

// A log that nobody looked after still shows where its last process begins, and nothing that an earlier one said counts as said by it.
func TestLogOfLeftoverIsShortened(t *testing.T) { onEach(t, logOfLeftoverIsShortened) }

func logOfLeftoverIsShortened(t *testing.T, dir string) {
	path := filepath.Join(dir, "ltfs.log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flood(t, f, 2<<20)
	say(t, f, "LTFS14000I the first process", "LTFS11083E which wrote no index")
	flood(t, f, 3<<20)
	say(t, f, "LTFS14000I the second process", "LTFS11031I which mounted")
	flood(t, f, 20<<20)
	say(t, f, "LTFS11034I and unmounted")
	shortenLog(path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 4<<20 {
		t.Errorf("%d bytes are left", len(text))
	}
	last := string(text[bytes.LastIndex(text, []byte(ltfsStarts)):])
	if got := ltfsCodes(last); !slices.Equal(got, []string{"14000I", "11031I", "11034I"}) || !wroteIndex(last) {
		t.Errorf("of the last process the log has %v", got)
	}
}

// Nothing but one endless line is cut, too.
func TestOutputWithoutLinesIsKeptShort(t *testing.T) { onEach(t, outputWithoutLinesIsKeptShort) }

func outputWithoutLinesIsKeptShort(t *testing.T, dir string) {
	o, err := scratchOutput(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for range 40 {
		if _, err := o.f.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
			t.Fatal(err)
		}
		o.shorten()
	}
	if st, err := o.f.Stat(); err != nil || st.Size() > maxOutput {
		t.Errorf("%d bytes, %v", st.Size(), err)
	}
	if lines := lastLines(o.text(), stderrLines); len(strings.Join(lines, "")) > 10*maxErrorLine {
		t.Error("an error may hold a line of any length")
	}
}

// An answer of which the middle is missing is no answer.
func TestTooLongAnswerIsNone(t *testing.T) {
	l := &Library{cfg: Config{RunDir: t.TempDir()}}
	_, err := l.query(t.Context(), "sh", "-c", "yes Data Transfer Element | head -c 300000000")
	if err == nil || !strings.Contains(err.Error(), errTooMuch.Error()) {
		t.Errorf("300 MB are an answer: %v", err)
	}
	if _, err := output(t.Context(), "sh", "-c", "yes Data Transfer Element | head -c 300000000"); err == nil || !strings.Contains(err.Error(), errTooMuch.Error()) {
		t.Errorf("300 MB are an answer: %v", err)
	}
	_, err = output(t.Context(), "sh", "-c", "yes 'LTFS11999E bad' | head -c 300000000 >&2; exit 3")
	if err == nil || len(err.Error()) > 10*maxErrorLine {
		t.Errorf("the error is none, or too long: %.300v", err)
	}
}

func TestClip(t *testing.T) {
	var want bytes.Buffer
	var c Clip
	for i := range 3 * clipEnds / 8 { // beyond both ends
		fmt.Fprintf(&c, "%07d\n", i)
		fmt.Fprintf(&want, "%07d\n", i)
	}
	got, all := c.String(), want.String()
	head, tail, ok := strings.Cut(got, fmt.Sprintf("\n… %d bytes are left out here …\n", clipEnds))
	if !ok || head != all[:clipEnds] || tail != all[2*clipEnds:] {
		t.Errorf("%d bytes are kept, not the two ends of %d", len(got), len(all))
	}
	var small Clip
	small.Write([]byte("both"))
	small.Write([]byte(" ends"))
	if text, err := small.whole(); err != nil || text != "both ends" {
		t.Errorf("%q, %v", text, err)
	}
}
