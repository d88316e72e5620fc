package changer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// transcript is one recorded run.
type transcript struct {
	command, stdout, stderr string
	code                    int
}

const transcripts = "../testdata/transcripts"

func recorded(t testing.TB, name string) transcript {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(transcripts, name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	command, rest, ok1 := strings.Cut(string(b), "--- stdout ---\n")
	stdout, rest, ok2 := strings.Cut(rest, "--- stderr ---\n")
	i := strings.LastIndex(rest, "exit code: ")
	if !ok1 || !ok2 || i < 0 {
		t.Fatalf("%s is not a transcript", name)
	}
	code, err := strconv.Atoi(strings.TrimSpace(rest[i+len("exit code: "):]))
	if err != nil {
		t.Fatal(err)
	}
	return transcript{command, stdout, rest[:i], code}
}

// slots makes the slots of the recorded library from its labels: "" empty, "?" full without a label.
// The last three are mail slots.
func slots(labels ...string) []Slot {
	var out []Slot
	for i, b := range labels {
		s := Slot{Number: i + 1, ImportExport: i >= 16, Full: b != ""}
		if b != "?" {
			s.Barcode = Barcode(b)
		}
		out = append(out, s)
	}
	return out
}

// lab is the recorded library, with some slots changed.
func lab(changed map[int]string) []Slot {
	labels := []string{"ABC001L8", "ABC002L8", "ABC003L8", "ABC004L8", "ABC005L8", "ABC006L8", "ABC007L8", "ABC008L8",
		"SML001L8", "SML002L8", "WRP001L8", "CLN001L8", "", "", "OLD001L6", "?", "", "", ""}
	for n, b := range changed {
		labels[n-1] = b
	}
	return slots(labels...)
}

func TestParseStatus(t *testing.T) {
	empty := []DriveElement{{Number: 0}, {Number: 1}}
	first := []DriveElement{{Number: 0, Full: true, Barcode: "ABC001L8", FromSlot: 1}, {Number: 1}}
	for name, want := range map[string]Inventory{
		"mtx-status-initial":     {Drives: empty, Slots: lab(nil)},
		"mtx-status-sch":         {Drives: empty, Slots: lab(nil)},
		"mtx-eepos":              {Drives: empty, Slots: lab(nil)},
		"mtx-status-loaded":      {Drives: first, Slots: lab(map[int]string{1: ""})},
		"mtx-status-after-first": {Drives: first, Slots: lab(map[int]string{1: ""})},
		"mtx-status-cleaning": {Drives: []DriveElement{{Number: 0}, {Number: 1, Full: true, Barcode: "CLN001L8", FromSlot: 12}},
			Slots: lab(map[int]string{12: ""})},
		"mtx-status-moved":              {Drives: empty, Slots: lab(map[int]string{3: "", 14: "ABC003L8"})},
		"mtx-status-ie":                 {Drives: empty, Slots: lab(map[int]string{8: "", 17: "ABC008L8"})},
		"mtx-final-status":              {Drives: empty, Slots: lab(map[int]string{11: "PRT001L8"})},
		"mtx-status-after-offline":      {Drives: first, Slots: nil},
		"mtx-status-incompatible-media": {Drives: empty, Slots: nil},
		"mtx-noattach-nobarcode":        {Drives: empty, Slots: slots("?", "?", "?", "?", "?", "?", "?", "?", "?", "?", "?", "?", "", "", "?", "?", "", "", "")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStatus(recorded(t, name).stdout)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(&want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseStatusOfSmallLibrary(t *testing.T) {
	r := recorded(t, "hp-mtx-status")
	got, err := parseStatus(r.stdout)
	if err != nil {
		t.Fatal(err)
	}
	want := &Inventory{
		Drives: []DriveElement{{Number: 0}},
		Slots:  slots("000711L4", "A00008L5", "A00034L5", "A00014L5", "A00036L5", "A00025L5", "000218L5"),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if g := got.Slots[0].Barcode.Generation(); g != 4 {
		t.Errorf("generation %d", g)
	}
	// the noise on stderr is a unit attention: a medium may have changed. Nothing is wrong
	if d := cmp.Diff([]sense{{"Unit Attention", 0x28, 0}}, parseSense(r.stderr)); d != "" {
		t.Error(d)
	}
	if _, err := mtxCause(r.stderr); err != nil || r.code != 0 {
		t.Errorf("noise was taken for %v", err)
	}
}

func TestParseStatusVariants(t *testing.T) {
	const text = "  Storage Changer /dev/sg3:4 Drives, 4 Slots ( 1 Import/Export )\n" +
		"Data Transfer Element 0:Full (Unknown Storage Element Loaded):VolumeTag = A00001L5                        \n" +
		"Data Transfer Element 1:Full (Storage Element 3 Loaded)\n" +
		"Data Transfer Element 2:Full (Storage Element 2 Loaded):VolumeTag=A00002L5:AlternateVolumeTag = X\n" +
		"Data Transfer Element 3:Empty\r\n" +
		"A line nobody knows: Full :VolumeTag=NOTHING\n" +
		"      Storage Element 1:Empty:VolumeTag=GHOST1L5\n" +
		"      Storage Element 2:Full :VolumeTag=\n" +
		"      Storage Element 3:Full :VolumeTag=A 0003\n" +
		"      Storage Element 4 IMPORT/EXPORT:Full :VolumeTag=A00004L5                            \n"
	got, err := parseStatus(text)
	if err != nil {
		t.Fatal(err)
	}
	want := &Inventory{
		Drives: []DriveElement{{Number: 0, Full: true, Barcode: "A00001L5"}, {Number: 1, Full: true, FromSlot: 3},
			{Number: 2, Full: true, Barcode: "A00002L5", FromSlot: 2}, {Number: 3}},
		Slots: []Slot{{Number: 1}, {Number: 2, Full: true}, {Number: 3, Full: true, Barcode: "A 0003"},
			{Number: 4, ImportExport: true, Full: true, Barcode: "A00004L5"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, text := range []string{"", "Data Transfer Element 0:Empty\n", "  Storage Changer /dev/sg3:4 Drives, 4 Slots ( 1 Import/Export )\n",
		recorded(t, "mt-status-notape").stdout,
		"  Storage Changer /dev/sg3:1 Drives, 1 Slots ( 0 Import/Export )\nData Transfer Element 99999999999999999999:Empty\n"} {
		if inv, err := parseStatus(text); err == nil {
			t.Errorf("%q gave %+v", text, inv)
		}
	}
}

func TestInventoryFinds(t *testing.T) {
	inv, err := parseStatus(recorded(t, "mtx-status-loaded").stdout)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := inv.FindSlot("ABC002L8"); !ok || s.Number != 2 {
		t.Errorf("%+v %v", s, ok)
	}
	if _, ok := inv.FindSlot(""); ok {
		t.Error("no barcode was found")
	}
	if d, ok := inv.FindDrive("ABC001L8"); !ok || d.Number != 0 {
		t.Errorf("%+v %v", d, ok)
	}
	want := []Barcode{"ABC001L8", "ABC002L8", "ABC003L8", "ABC004L8", "ABC005L8", "ABC006L8", "ABC007L8", "ABC008L8",
		"OLD001L6", "SML001L8", "SML002L8", "WRP001L8"}
	if d := cmp.Diff(want, inv.Barcodes()); d != "" {
		t.Error(d)
	}
	for _, c := range []struct {
		e    DriveElement
		slot int
	}{
		{DriveElement{Number: 0, Full: true, FromSlot: 1}, 1},
		{DriveElement{Number: 1, Full: true, FromSlot: 2}, 13}, // taken: a free one, not the other drive's
		{DriveElement{Number: 1, Full: true}, 13},
	} {
		if slot, ok := inv.home(c.e); !ok || slot != c.slot {
			t.Errorf("home of %+v: %d, want %d", c.e, slot, c.slot)
		}
	}
	full := &Inventory{Slots: []Slot{{Number: 1, Full: true}, {Number: 2, ImportExport: true}}}
	if slot, ok := full.home(DriveElement{FromSlot: 1}); ok {
		t.Errorf("a full library has a place: %d", slot)
	}
}

func TestParseInquiry(t *testing.T) {
	for name, want := range map[string]struct {
		q Inquiry
		g int
	}{
		"mtx-inquiry-changer":  {Inquiry{"Medium Changer", "IBM", "03584L32", "0108"}, 0},
		"mtx-inquiry-drive":    {Inquiry{"Tape Drive", "IBM", "ULT3580-TD8", "2160"}, 8},
		"hp-mtx-inquiry-drive": {Inquiry{"Tape Drive", "HP", "Ultrium 5-SCSI", "Z51U"}, 5},
	} {
		q, err := parseInquiry(recorded(t, name).stdout)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.q, q); d != "" || q.Generation() != want.g {
			t.Errorf("%s: generation %d, %s", name, q.Generation(), d)
		}
	}
	if _, err := parseInquiry(""); err == nil {
		t.Error("nothing is no inquiry")
	}
	for product, g := range map[string]int{"ULT3580-HH9": 9, "ULTRIUM-HH7": 7, "Ultrium 8-SCSI": 8, "LTO-6": 6, "SDLT320": 0, "": 0} {
		if got := (Inquiry{Product: product}).Generation(); got != g {
			t.Errorf("%q: generation %d, want %d", product, got, g)
		}
	}
}

func TestParseMT(t *testing.T) {
	nothing := MTStatus{DoorOpen: true, File: -1, Block: -1}
	becoming := MTStatus{File: -1, Block: -1}
	begin := MTStatus{Online: true, BOT: true, Density: "LTO-8"}
	somewhere := MTStatus{Online: true, Density: "LTO-8", File: -1, Block: -1}
	protected := MTStatus{Online: true, BOT: true, WriteProtected: true, Density: "LTO-8"}
	for name, want := range map[string]MTStatus{
		"mt-f-env":                          nothing,
		"mt-status-after-offline":           nothing,
		"mt-status-notape":                  nothing,
		"mt-status-incompatible-L6-in-LTO8": nothing,
		"hp-mt-status-notape":               nothing,
		"mt-status-cleaning":                becoming,
		"mt-status-cleaning2":               becoming,
		"slow-mt-status-immediately":        becoming,
		"mt-status-blank-after-rewind":      begin,
		"mt-status-while-ltfs-mounted":      begin,
		"mt-status-wp-after-rewind":         begin,
		"mt-status-blank-tape":              somewhere,
		"mt-status-st0":                     somewhere,
		"mt-status-writeprotected":          protected,
		"mt-status-writeprotected-ltfs":     protected,
	} {
		r := recorded(t, name)
		got, err := parseMT(r.stdout)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" || r.code != 0 {
			t.Errorf("%s: %s", name, d)
		}
	}
	for _, name := range []string{"mt-status-nodev", "mt-status-sg-device", "mtx-status-initial"} {
		if st, err := parseMT(recorded(t, name).stdout); err == nil {
			t.Errorf("%s gave %+v", name, st)
		}
	}
	st, err := parseMT("File number=0, block number=0, partition=0.\nTape block size 0 bytes. Density code 0x44 (no translation).\nGeneral status bits on (9018000):\n EOD ONLINE IM_REP_EN CLN\n")
	if want := (MTStatus{Online: true, EOD: true, Cleaning: true, Density: "LTO-3"}); err != nil || st != want {
		t.Errorf("%+v, %v", st, err)
	}
	if n, err := parseTell(recorded(t, "mt-tell").stdout); err != nil || n != 0 {
		t.Errorf("tell: %d, %v", n, err)
	}
	if n, err := parseTell("At block 3102.\n"); err != nil || n != 3102 {
		t.Errorf("tell: %d, %v", n, err)
	}
	for _, s := range []string{"", "At block", "At block -1.", "At block 99999999999999999999."} {
		if n, err := parseTell(s); err == nil {
			t.Errorf("tell %q gave %d", s, n)
		}
	}
}

// TestLtfsMessages is what TestFacts does not show of the messages of LTFS programs.
func TestLtfsMessages(t *testing.T) {
	for tape, want := range map[Barcode]string{"A00001L8": "tapefs tape check A00001L8", "": "tapefs tape check " + unlabelled} {
		if hint, _ := dialects[OpenLTFS].cause("LTFS11021E", tape); !strings.HasSuffix(hint, want) {
			t.Errorf("tape %q: hint %q", tape, hint)
		}
	}
	if n := openErrno(recorded(t, "nonroot-ltfs").stderr); n != 13 {
		t.Errorf("errno %d", n)
	}
	want := []string{"15026E", "15002E"}
	var errs []string
	for _, c := range ltfsCodes(recorded(t, "mkltfs-noargs").stderr) {
		if strings.HasSuffix(c, "E") {
			errs = append(errs, c)
		}
	}
	if d := cmp.Diff(want, errs); d != "" {
		t.Error(d)
	}
	pe := &ProgramError{Args: []string{"ltfs", "-o", "a b"}, Code: 1, Stderr: lastLines(recorded(t, "ltfs-unformatted").stderr, stderrLines)}
	if s := pe.Error(); !strings.HasPrefix(s, `ltfs -o "a b": exit code 1: `) || !strings.Contains(s, "LTFS17168E") {
		t.Errorf("%q", s)
	}
}

func TestLastLines(t *testing.T) {
	if d := cmp.Diff([]string{"c", "d"}, lastLines("a\n\nb\nc  \n\nd\n", 2)); d != "" {
		t.Error(d)
	}
	r := recorded(t, "mkltfs-cleaning-tape")
	pe := &ProgramError{Args: []string{"mkltfs"}, Code: 8, Stderr: lastLines(r.stdout+r.stderr, stderrLines)}
	if len(pe.Stderr) != stderrLines || !strings.Contains(pe.Error(), "LTFS12017E Cannot load the medium") {
		t.Errorf("%d lines: %v", len(pe.Stderr), pe)
	}
}

func TestBarcode(t *testing.T) {
	for b, want := range map[Barcode]struct {
		generation int
		cleaning   bool
		serial     string
	}{
		"ABC001L8": {8, false, "ABC001"},
		"ABC001M8": {8, false, "ABC001"},
		"OLD001L6": {6, false, "OLD001"},
		"ABC001":   {0, false, "ABC001"},
		"CLN001L8": {0, true, "CLN001"},
		"CLNU01L1": {0, true, "CLNU01"},
		"ABC001LX": {7, false, "ABC001"},
		"ABC001LA": {10, false, "ABC001"},
		"ABC001PA": {10, false, "ABC001"},
		"HPE001CU": {0, true, "HPE001"},
		"A1":       {0, false, "A1"},
		"":         {0, false, ""},
	} {
		if b.Generation() != want.generation || b.Cleaning() != want.cleaning || b.Serial() != want.serial {
			t.Errorf("%q: %d %v %q", b, b.Generation(), b.Cleaning(), b.Serial())
		}
	}
	for _, c := range []struct {
		drive       int
		tape        Barcode
		read, write bool
	}{
		{8, "VT0001L8", true, true}, {8, "VT0001L7", true, true}, {8, "VT0001L6", false, false}, {7, "VT0001L5", true, false},
		{7, "VT0001L4", false, false}, {6, "VT0001L8", false, false}, {9, "VT0001L8", true, true}, {9, "VT0001L7", false, false},
		{0, "VT0001L5", true, true}, {8, "VT0001", true, true}, {8, "VT0001M8", true, true}, {9, "VT0001M8", false, false}, {7, "VT0001M8", false, false},
		{10, "VT0001LA", true, true}, {10, "VT0001PA", true, true}, {10, "VT0001L9", false, false}, {9, "VT0001LA", false, false},
	} {
		if readable(c.drive, c.tape) != c.read || writable(c.drive, c.tape) != c.write {
			t.Errorf("LTO-%d drive, tape %s: reads %v, writes %v", c.drive, c.tape, readable(c.drive, c.tape), writable(c.drive, c.tape))
		}
	}
}

// What LTFS cannot use is known by its label: write-once media, and nothing else.
func TestWriteOnce(t *testing.T) {
	for b, worm := range map[Barcode]bool{"ABC001LT": true, "ABC001LZ": true, "ABC001LA": false, "ABC001PA": false, "ABC001M8": false, "ABC001L9": false, "ABC001": false} {
		if b.WriteOnce() != worm || b.formattable() == worm {
			t.Errorf("%s: write-once %v, formattable %v", b, b.WriteOnce(), b.formattable())
		}
	}
}

// mt programs do not know the newer density codes.
func TestDensity(t *testing.T) {
	for code, want := range map[string]string{"0x5d (no translation)": "LTO-7 Type M", "0x62 (no translation)": "LTO-10", "0x63 (unknown)": "LTO-10 Type P", "0x5e (LTO-8)": "LTO-8", "0x25 (DDS-3)": "DDS-3"} {
		st, err := parseMT("Tape block size 0 bytes. Density code " + code + ".\nGeneral status bits on (1010000):\n ONLINE IM_REP_EN\n")
		if err != nil || st.Density != want {
			t.Errorf("%s: %q, %v", code, st.Density, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	good := DriveConfig{Serial: "A", Device: "/dev/sg1", Tape: "/dev/nst0"}
	for name, cfg := range map[string]Config{
		"no changer":      {Drives: []DriveConfig{good}, RunDir: dir},
		"no drives":       {Changer: "/dev/sg0", RunDir: dir},
		"two without":     {Changer: None, Drives: []DriveConfig{good, {Serial: "B", Device: "/dev/sg2", Tape: "/dev/nst1", Element: 1}}, RunDir: dir},
		"relative":        {Changer: "/dev/sg0", Drives: []DriveConfig{good}, RunDir: "run"},
		"bad serial":      {Changer: "/dev/sg0", Drives: []DriveConfig{{Serial: "../x", Device: "/dev/sg1", Tape: "/dev/nst0"}}, RunDir: dir},
		"same serial":     {Changer: "/dev/sg0", Drives: []DriveConfig{good, {Serial: "A", Device: "/dev/sg2", Tape: "/dev/nst1", Element: 1}}, RunDir: dir},
		"same element":    {Changer: "/dev/sg0", Drives: []DriveConfig{good, {Serial: "B", Device: "/dev/sg2", Tape: "/dev/nst1"}}, RunDir: dir},
		"unknown devices": {Changer: "/dev/sg0", Drives: []DriveConfig{{Serial: "NOSUCHDRIVE"}}, RunDir: dir},
	} {
		if _, err := Open(cfg, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Open(Config{Changer: "/dev/sg0", Drives: []DriveConfig{good}, RunDir: dir}, nil); err != nil {
		t.Error(err)
	}
}

func TestDiscover(t *testing.T) {
	root := t.TempDir()
	r := roots{dev: filepath.Join(root, "dev"), sys: filepath.Join(root, "sys"), proc: "/proc"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	byID := filepath.Join(r.dev, "tape", "by-id")
	must(os.MkdirAll(byID, 0o755))
	for i, serial := range []string{"LABDRV0001", "LABDRV0002"} {
		nst := fmt.Sprintf("nst%d", i)
		must(os.WriteFile(filepath.Join(r.dev, nst), nil, 0o600))
		must(os.Symlink("../../"+nst, filepath.Join(byID, "scsi-"+serial+"-nst")))
		must(os.MkdirAll(filepath.Join(r.sys, "class", "scsi_tape", fmt.Sprintf("st%d", i), "device", "scsi_generic", fmt.Sprintf("sg%d", 1+2*i)), 0o755))
	}
	cfg := Config{Changer: "/dev/sg2", Drives: []DriveConfig{{Serial: "LABDRV0002", Element: 1}, {Serial: "LABDRV0001", Device: "/dev/own"}}, RunDir: filepath.Join(root, "run")}
	l, err := open(cfg, nil, r)
	must(err)
	want := []DriveConfig{
		{Serial: "LABDRV0002", Device: filepath.Join(r.dev, "sg3"), Tape: filepath.Join(byID, "scsi-LABDRV0002-nst"), Element: 1},
		{Serial: "LABDRV0001", Device: "/dev/own", Tape: filepath.Join(byID, "scsi-LABDRV0001-nst")},
	}
	if d := cmp.Diff(want, l.Configured()); d != "" {
		t.Error(d)
	}
	if !isDevice(want[0], filepath.Join(r.dev, "nst1")) || !isDevice(want[0], "LABDRV0002") || isDevice(want[0], filepath.Join(r.dev, "nst0")) || isDevice(want[0], "") {
		t.Error("devices are mixed up")
	}
	cfg.Drives = []DriveConfig{{Serial: "NOSUCH0001"}}
	var failed *Error
	if _, err := open(cfg, nil, r); !errors.As(err, &failed) || !strings.Contains(err.Error(), "no drive has the serial NOSUCH0001; those that are there have LABDRV0001, LABDRV0002") ||
		!strings.Contains(failed.Hint, "doctor --fix-config") {
		t.Errorf("a serial that no drive has: %v", err)
	}
}

func TestParseLtfsArgs(t *testing.T) {
	l := &Library{cfg: Config{Programs: Programs{Ltfs: "/opt/bin/ltfs-2.4"}}}
	for line, want := range map[string][2]string{
		"ltfs -f -o devname=/dev/sg2 /mnt/a":                       {"/dev/sg2", "/mnt/a"},
		"/usr/local/bin/ltfs -f -o ro,devname=/dev/sg2,quiet /m":   {"/dev/sg2", "/m"},
		"ltfs -odevname=LABDRV0001 /mnt/a":                         {"LABDRV0001", "/mnt/a"},
		"/opt/bin/ltfs-2.4 -o devname=/dev/sg2 -o ro /mnt/a":       {"/dev/sg2", "/mnt/a"},
		"tapefs virtual ltfs --library /x -f -o devname=/x/sg0 /m": {"/x/sg0", "/m"},
		"grep devname=/dev/sg2":                                    {"", ""},
		"ltfs":                                                     {"", ""},
	} {
		device, dir := l.parseLtfsArgs(strings.Fields(line))
		if device != want[0] || dir != want[1] {
			t.Errorf("%s: %q %q", line, device, dir)
		}
	}
}

// TestLivingOwner: an ltfs belongs to the process that started it while that runs this program, and to nobody when it died, or when another program
// has taken its number.
func TestLivingOwner(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	proc := t.TempDir()
	process := func(pid, parent int, exe string) {
		t.Helper()
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "stat"), fmt.Appendf(nil, "%d (a) name) S %d 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 0", pid, parent), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
	}
	process(100, 1, own)
	process(101, 1, own+" (deleted)") // an update has replaced it
	process(102, 1, "/usr/bin/less")
	process(1, 0, own) // a container's
	process(os.Getpid(), 1, own)
	for i, parent := range []int{100, 101, 102, 1, os.Getpid(), 999} {
		process(9_000_000+i, parent, "/usr/bin/ltfs")
	}
	l := &Library{roots: roots{proc: proc}}
	for i, want := range []int{100, 101, 0, 0, 0, 0} {
		if got := l.livingOwner(ltfsProcess{pid: 9_000_000 + i}); got != want {
			t.Errorf("process %d: owner %d; want %d", i, got, want)
		}
	}
	if got := l.livingOwner(ltfsProcess{pid: 42}); got != 0 {
		t.Errorf("a process that is gone belongs to %d", got)
	}
}

func TestLtfsProcesses(t *testing.T) {
	root := t.TempDir()
	d := DriveConfig{Serial: "LABDRV0001", Device: filepath.Join(root, "sg2"), Tape: filepath.Join(root, "nst0")}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sg2", "")
	process := func(pid int, state, open string, args ...string) {
		t.Helper()
		dir := filepath.Join("proc", strconv.Itoa(pid))
		write(filepath.Join(dir, "cmdline"), strings.Join(args, "\x00")+"\x00")
		write(filepath.Join(dir, "stat"), fmt.Sprintf("%d (a) name) %s 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0", pid, state, 1000+pid))
		write(filepath.Join(dir, "task", strconv.Itoa(pid), "stat"), "")
		write(filepath.Join(dir, "fd", "x"), "")
		if open != "" {
			if err := os.Symlink(open, filepath.Join(root, dir, "fd", "3")); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("proc/self", "")
	process(9000001, "S", "", "ltfs", "-f", "-o", "devname="+d.Device, "/mnt/a")
	process(9000002, "S", d.Device, "ltfs", "-o", "devname=LABDRV0001", "/mnt/b")
	process(9000003, "S", "/dev/null", "ltfs", "-o", "devname=LABDRV0001", "/mnt/c") // of another library
	process(9000004, "Z", "", "ltfs", "-f", "-o", "devname="+d.Device, "/mnt/d")
	process(9000005, "S", "", "ltfs", "-f", "-o", "devname="+d.Device+"0", "/mnt/e")
	process(9000006, "S", "", "less", "devname="+d.Device)
	process(9000007, "S", d.Device, "/usr/local/bin/ltfs", "/mnt/g") // no device given: it has a default
	process(9000008, "S", "/dev/null", "/usr/local/bin/ltfs", "/mnt/h")
	process(9000009, "S", d.Device, "tar", "ltfs", "/mnt/i")
	l := &Library{roots: roots{proc: filepath.Join(root, "proc")}}
	got, err := l.ltfsProcesses(d)
	if err != nil {
		t.Fatal(err)
	}
	want := []ltfsProcess{{9000001, "9001001", "/mnt/a"}, {9000002, "9001002", "/mnt/b"}, {9000007, "9001007", "/mnt/g"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(ltfsProcess{})); d != "" {
		t.Error(d)
	}
	if !l.alive(want[0]) || l.alive(ltfsProcess{9000001, "1", ""}) || l.alive(ltfsProcess{9000004, "9001004", ""}) {
		t.Error("the living and the dead are mixed up")
	}
}
