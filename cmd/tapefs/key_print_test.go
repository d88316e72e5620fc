package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The QR code that key print shows is read back from its characters by a program that is not ours, on
// paper and on a terminal, and gives the key.
func TestKeyPrint(t *testing.T) {
	zbarimg, err := exec.LookPath("zbarimg")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("zbarimg is missing")
		}
		t.Skip("zbarimg is missing: make deps")
	}
	a := newArchive(t, nil)
	keyFiles, err := filepath.Glob(a.path("state/keys/*.key"))
	if err != nil || len(keyFiles) != 1 {
		t.Fatal(keyFiles, err)
	}
	key, err := os.ReadFile(keyFiles[0])
	if err != nil {
		t.Fatal(err)
	}
	paper := a.run("key", "print")
	if got := copiedKey([]byte(paper)); !bytes.Equal(got, key) {
		t.Errorf("the text on the page gives %d bytes", len(got))
	}
	cmd := a.command("key", "print")
	terminal := onOutput(t, cmd)
	if strings.Count(terminal, "\x1b[30;107m") < 20 {
		t.Error("on a terminal the QR code has no colours of its own")
	}
	terminal = strings.NewReplacer("\x1b[30;107m", "", "\x1b[0m", "", "\r", "").Replace(terminal)
	for name, text := range map[string]string{"paper": paper, "terminal": terminal} {
		image := filepath.Join(t.TempDir(), "page.pbm")
		if err := os.WriteFile(image, bitmap(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(zbarimg, "--raw", "-q", image).Output()
		if err != nil || string(out) != string(key) {
			t.Errorf("%s: zbarimg: %v, %d bytes", name, err, len(out))
		}
	}
}

// bitmap draws the lines of a text that are made of block characters, as a portable bitmap.
func bitmap(text string) []byte {
	const scale = 4
	var rows [][]bool
	width := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if strings.Trim(line, " █▀▄") != "" || line == "" && len(rows) == 0 {
			continue
		}
		if line == "" && len(rows) > 60 {
			break
		}
		var above, below []bool
		for _, r := range line {
			above, below = append(above, r == '█' || r == '▀'), append(below, r == '█' || r == '▄')
		}
		rows, width = append(rows, above, below), max(width, len(above))
	}
	const margin = 6
	width += 2 * margin
	var b bytes.Buffer
	fmt.Fprintf(&b, "P1\n%d %d\n", width*scale, (len(rows)+2*margin)*scale)
	for y := range (len(rows) + 2*margin) * scale {
		for x := range width * scale {
			row, column := y/scale-margin, x/scale-margin
			if row >= 0 && row < len(rows) && column >= 0 && column < len(rows[row]) && rows[row][column] {
				b.WriteString("1 ")
			} else {
				b.WriteString("0 ")
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// onOutput runs a command whose standard output is a terminal, and returns what that showed.
func onOutput(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	shown, err := onTerminal(t, exec.Command("sh", append([]string{"-c", `exec "$@" >&0 2>&0`, "sh"}, cmd.Args...)...), "\x00")
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, shown)
	}
	return shown
}
