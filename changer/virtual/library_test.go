package virtual

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

func TestCreateRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(full, Options{}); err == nil {
		t.Error("a library was made in a directory that holds a file")
	}
	for _, o := range []Options{{Slots: -1}, {Drives: 100}, {MailSlots: -1}, {Generation: 4}, {TapeSize: 1}, {Slots: 2, Tapes: 3},
		{Prefix: "a"}, {Prefix: "TOOLONG"}} {
		dir := filepath.Join(t.TempDir(), "l")
		if _, err := Create(dir, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%+v left a directory behind", o)
		}
	}
	if _, err := Open(full); err == nil {
		t.Error("a directory that is no library was opened")
	}
}

func TestDefaults(t *testing.T) {
	l, err := Create(filepath.Join(t.TempDir(), "l"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Drives) != 2 || l.Drives[1].Element != 1 {
		t.Errorf("drives %+v", l.Drives)
	}
	out := must(t, l, "mtx -f "+l.Changer+" status")
	for _, want := range []string{"2 Drives, 8 Slots ( 0 Import/Export )", "Element 7:Full :VolumeTag=VT0007L8 ", "Element 8:Empty"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestCreateCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "l")
	var stdout, stderr bytes.Buffer
	code := Main([]string{"create", dir, "--slots", "4", "--drives", "1", "--mail-slots", "1", "--tape-size", "64MiB", "--prefix", "XY",
		"--tape", "2=CLN001L8", "--tape", "3=,raw", "--tape=5=ABC123L7,wp,size=32MiB"}, nil, &stdout, &stderr)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	st, err := l.view()
	if err != nil {
		t.Fatal(err)
	}
	want := []meta{{Barcode: "XY0001L8", Generation: 8, Capacity: 64 << 20}, {Barcode: "CLN001L8", Generation: 8, Capacity: 64 << 20, Cleaning: true},
		{Generation: 8, Capacity: 64 << 20, RawBlocks: 1000}, {}, {Barcode: "ABC123L7", Generation: 7, Capacity: 32 << 20, WriteProtected: true}}
	for i, w := range want {
		if st.Slots[i] == "" {
			if i != 3 {
				t.Errorf("slot %d is empty", i+1)
			}
			continue
		}
		m, err := l.loadMeta(st.Slots[i])
		if err != nil || !reflect.DeepEqual(*m, w) {
			t.Errorf("slot %d: %+v (%v), want %+v", i+1, m, err, w)
		}
	}
	for _, args := range [][]string{{"create"}, {"create", dir, "--tape-size", "much"}, {"create", dir + "2", "--tape", "x"}, {"fault", dir},
		{"fault", dir, "no-such-fault"}, {"fault", dir, "slow-load=soon"}, {"fault", dir, "read-eio=12"}, {"fault", dir, "slow-write=1s"}, {"log", dir + "3"},
		{"mtx", "status"}, {"sing"}, nil} {
		stderr.Reset()
		if code := Main(args, nil, &stdout, &stderr); code == 0 || stderr.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr.String())
		}
	}
}

// A move of a stuck robot does not end, others wait, and it goes on when the robot is freed.
func TestStuckRobot(t *testing.T) {
	l := recorded(t)
	if err := l.Fault("stuck-robot"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(l.Bin, "mtx"), "-f", l.Changer, "load", "1", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	want := "Loading media from Storage Element 1 into drive 0..."
	got := make([]byte, len(want))
	if _, err := out.Read(got); err != nil || string(got) != want {
		t.Fatalf("%q (%v)", got, err)
	}
	if s := must(t, l, "mtx -f '"+strings.ReplaceAll(l.Changer, "'", `'\''`)+"' status"); !strings.Contains(s, "Element 0:Empty") {
		t.Errorf("the tape is in the drive:\n%s", s)
	}
	free, err := flock.New(filepath.Join(l.Dir, "robot.lock")).TryLock()
	if err != nil || free {
		t.Errorf("another move could begin (%v)", err)
	}
	if err := l.Fault("clear=stuck-robot"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	st, err := l.view()
	if err != nil || st.Drives[0].Tape != "ABC001L8" {
		t.Errorf("drive 0 holds %q (%v)", st.Drives[0].Tape, err)
	}
}

func TestWrongBarcodeAndWriteProtectFaults(t *testing.T) {
	l, err := Create(filepath.Join(t.TempDir(), "l"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Fault("wrong-barcode=2:XX9999L8", "write-protect=VT0001L8", "wrong-barcode=3:XX9998L8"); err != nil {
		t.Fatal(err)
	}
	out := must(t, l, fmt.Sprintf("mtx -f %s load 2 1 && mtx -f %[1]s load 1 0 && mtx -f %[1]s status && mt -f %s status", l.Changer, l.Drives[0].Tape))
	for _, want := range []string{"Element 1:Full (Storage Element 2 Loaded):VolumeTag = XX9999L8 ", "Element 3:Full :VolumeTag=XX9998L8 ", "WR_PROT"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// Blank, LTFS and foreign data differ in what mt says at the end of data, and erase makes a tape blank.
func TestEndOfDataTellsContent(t *testing.T) {
	l, err := Create(filepath.Join(t.TempDir(), "l"), Options{Tapes: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add(3, Cartridge{Barcode: "RAW001L8", Content: Raw}); err != nil {
		t.Fatal(err)
	}
	tell := fmt.Sprintf("mt -f %s eod; mt -f %[1]s tell; ", l.Drives[0].Tape)
	swap := func(slot int) string {
		return fmt.Sprintf("mtx -f %s unload >/dev/null; mtx -f %[1]s load %d 0 >/dev/null; ", l.Changer, slot)
	}
	out := must(t, l, fmt.Sprintf("mtx -f %s load 1 0 >/dev/null; ", l.Changer)+tell+swap(2)+
		fmt.Sprintf("mkltfs -q -d %s 2>/dev/null; ", l.Drives[0].Device)+tell+swap(3)+tell+"mt -f "+l.Drives[0].Tape+" erase;"+tell)
	if want := "At block 0.\nAt block 7.\nAt block 1001.\nAt block 0.\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestSlowLoadIsWaitedFor(t *testing.T) {
	l, err := Create(filepath.Join(t.TempDir(), "l"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Fault("slow-load=1h"); err != nil {
		t.Fatal(err)
	}
	status := fmt.Sprintf("mt -f %s status", l.Drives[0].Tape)
	if out := must(t, l, fmt.Sprintf("mtx -f %s load 1 0; ", l.Changer)+status); !strings.HasSuffix(out, "(10000):\n IM_REP_EN\n") {
		t.Errorf("a drive that is becoming ready:\n%s", out)
	}
	cmd := exec.Command(filepath.Join(l.Bin, "mkltfs"), "-d", l.Drives[0].Device, "-s", "VT0001")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	said := bufio.NewScanner(stderr)
	for said.Scan() && !strings.HasPrefix(said.Text(), "LTFS11331E") {
	}
	if m, err := l.loadMeta("VT0001L8"); err != nil || m.Formatted {
		t.Errorf("the tape is formatted before the drive is ready (%v)", err)
	}
	err = l.change(func(st *state) error {
		st.Drives[0].ReadyAt = time.Now()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for said.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if out := must(t, l, status); !strings.Contains(out, " ONLINE IM_REP_EN") {
		t.Errorf("a drive that is ready:\n%s", out)
	}
}

func TestLsscsiInTheRecordedForm(t *testing.T) {
	l := recorded(t)
	form := func(s string) (lines []string) {
		for line := range strings.Lines(s) {
			if f := strings.Fields(line); !strings.Contains(line, "cd/dvd") {
				lines = append(lines, strings.Join(f[:5], " ")+fmt.Sprint(" ", len(f)))
			}
		}
		return lines
	}
	for _, name := range []string{"lsscsi-g", "lsscsi-gi"} {
		want := readTranscript(t, name)
		// A library in a path without blanks keeps the number of words.
		got := strings.ReplaceAll(shell(t, l, want.command).stdout, l.Dir, "")
		if a, b := fmt.Sprint(form(want.stdout)), fmt.Sprint(form(got)); a != b {
			t.Errorf("%s: %s, recorded %s", want.command, b, a)
		}
	}
}

// Seeks follow the serpentine: near in length is near in time, far in bytes or not.
func TestSeekTime(t *testing.T) {
	if s := SeekSeconds(0, 2.0/float64(roundLTO8.Wraps)); s > 6 {
		t.Errorf("two wraps further at the same end: %.0f s", s)
	}
	if a, b := SeekSeconds(0, 1.0/float64(roundLTO8.Wraps)-1e-9), SeekSeconds(0, 0.5/float64(roundLTO8.Wraps)); a < 80 || b < 40 || b > 60 {
		t.Errorf("to the end of the first wrap %.0f s, to its middle %.0f s", a, b)
	}
}
