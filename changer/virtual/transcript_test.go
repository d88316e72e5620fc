package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// transcript is one recorded case.
type transcript struct {
	command, stdout, stderr string
	code                    int
}

func readTranscript(t *testing.T, name string) transcript {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "transcripts", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)^\$ (.*?)\n--- stdout ---\n(.*?)--- stderr ---\n(.*?)exit code: (\d+)\n$`).FindStringSubmatch(string(b))
	if m == nil {
		t.Fatalf("%s is no transcript", name)
	}
	code, err := strconv.Atoi(m[4])
	if err != nil {
		t.Fatal(err)
	}
	return transcript{m[1], m[2], m[3], code}
}

// recorded makes the library that was recorded: two LTO-8 drives, 16 slots and 3 mail slots.
func recorded(t *testing.T) *Library {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "it's a library"), Options{Slots: 16, MailSlots: 3, Drives: 2,
		Tapes: -1, TapeSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	tapes := map[int]Cartridge{9: {Barcode: "SML001L8", Size: 16 << 20}, 10: {Barcode: "SML002L8", Size: 16 << 20},
		11: {Barcode: "WRP001L8", WriteProtected: true}, 12: {Barcode: "CLN001L8"}, 15: {Barcode: "OLD001L6"}, 16: {}}
	for i := 1; i <= 8; i++ {
		tapes[i] = Cartridge{Barcode: fmt.Sprintf("ABC%03dL8", i)}
	}
	for slot, c := range tapes {
		if err := l.Add(slot, c); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// shell runs a command line with the library's programs in PATH.
func shell(t *testing.T, l *Library, command string) transcript {
	t.Helper()
	cmd := exec.Command("bash", "-c", command)
	cmd.Env = append(os.Environ(), "PATH="+l.Bin+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8", "LIBRARY="+l.Dir,
		"CHANGER=", "SELF="+os.Args[0])
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return transcript{command, stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// must runs a command that has to exit with 0.
func must(t *testing.T, l *Library, command string) string {
	t.Helper()
	r := shell(t, l, command)
	if r.code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", command, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// mapping replaces recorded names of devices and directories by those of a library, and back.
type mapping [][2]string

func (m mapping) toOurs(s string) string {
	for i, p := range m { // in two steps: a replacement may look like another name
		s = regexp.MustCompile(regexp.QuoteMeta(p[0])+`\b`).ReplaceAllString(s, fmt.Sprintf("\x00%d\x00", i))
	}
	for i, p := range m {
		s = strings.ReplaceAll(s, fmt.Sprintf("\x00%d\x00", i), strings.ReplaceAll(p[1], "it's a library", `it"'"s" "a" "library`))
	}
	return s
}

func (m mapping) back(s string) string {
	for _, p := range m {
		s = regexp.MustCompile(regexp.QuoteMeta(p[1])+`\b`).ReplaceAllString(s, p[0])
	}
	return s
}

func TestMtxAndMtAsRecorded(t *testing.T) {
	if testing.Short() {
		t.Skip("starts hundreds of programs")
	}
	first := "mtx -f $C load 1 0;"
	cases := []struct {
		name    string
		before  string // $C the changer, $N the tape node of drive 0
		changer string // its recorded name, sg2 unless told
		drive   string // recorded name of drive 0, sg1 unless told
		faults  string
	}{
		{name: "mtx-altres"}, {name: "mtx-default-nodev"}, {name: "mtx-eepos"}, {name: "mtx-eject-unsupported"},
		{name: "mtx-exchange"}, {name: "mtx-noargs"}, {name: "mtx-inventory"}, {name: "mtx-inquiry-changer"},
		{name: "mtx-inquiry-drive"}, {name: "mtx-noattach-nobarcode"}, {name: "mtx-status-initial"},
		{name: "mtx-status-drive-dev"}, {name: "mtx-status-nodev"}, {name: "mtx-status-nst"}, {name: "mtx-status-sch"},
		{name: "mtx-first"}, {name: "mtx-next", before: "mtx -f $C first 0;"},
		{name: "mtx-status-after-first", before: "mtx -f $C first 0;"},
		{name: "mtx-load"}, {name: "mtx-load-again"}, {name: "mtx-status-loaded", before: first},
		{name: "mtx-load-baddrive"}, {name: "mtx-load-badslot"}, {name: "mtx-load-zero"}, {name: "mtx-load-noslotdrive"},
		{name: "mtx-load-empty-slot"}, {name: "mtx-load-full-drive", before: first},
		{name: "mtx-load-lto6-into-lto8", changer: "sg1", drive: "sg2"},
		{name: "mtx-status-incompatible-media", before: "mtx -f $C load 15 0;"},
		{name: "mtx-unload-incompatible", before: "mtx -f $C load 15 0;"},
		{name: "mtx-load-offline", changer: "sg1", drive: "sg2", faults: "offline"},
		{name: "mtx-status-offline", changer: "sg1", drive: "sg2", faults: "offline"},
		{name: "mtx-load-cleaning"}, {name: "mtx-status-cleaning", before: "mtx -f $C load 12 1;"},
		{name: "mtx-unload-cleaning", before: "mtx -f $C load 12 1;"},
		{name: "mtx-unload", before: first}, {name: "mtx-unload-noargs", before: first}, {name: "mtx-unload-again"},
		{name: "mtx-unload-cleanup", before: "mtx -f $C load 2 0;"}, {name: "mtx-unload-otherslot", before: first},
		{name: "mtx-unload-empty-drive"}, {name: "mtx-unload-to-full-slot", before: first},
		{name: "mtx-status-after-offline", before: first + "mt -f $N offline;"},
		{name: "mtx-unload-after-offline", before: first + "mt -f $N offline;"},
		{name: "mtx-unload-after-eject", changer: "sg1", drive: "sg2", before: first + "mt -f $N eject;"},
		{name: "mtx-transfer", before: "mtx -f $C transfer 3 14;"}, {name: "mtx-status-moved", before: "mtx -f $C transfer 3 14;"},
		{name: "mtx-transfer-from-empty"}, {name: "mtx-transfer-to-full"}, {name: "mtx-transfer-to-ie"},
		{name: "mtx-status-ie", before: "mtx -f $C transfer 8 17;"},
		{name: "mtx-transfer-from-ie", before: "mtx -f $C transfer 8 17;"},
		{name: "mtx-import", changer: "sg1", drive: "sg2", before: "$SELF add 17 IMP001L8;"},
		{name: "mtx-export", changer: "sg1", drive: "sg2", before: "$SELF add 13 IMP001L8;"},
		{name: "mtx-status-map-open", changer: "sg1", drive: "sg2", before: "$SELF add 18 IMP001L8;"},

		{name: "mt-version"}, {name: "mt-f-env"}, {name: "mt-status-notape"}, {name: "mt-status-nodev"},
		{name: "mt-status-sg-device"}, {name: "mt-offline-notape"}, {name: "mt-rewind-notape"},
		{name: "mt-status-blank-tape", before: first}, {name: "mt-status-st0", before: first},
		{name: "mt-rewind", before: first}, {name: "mt-rewind-blank", before: first}, {name: "mt-tell", before: first},
		{name: "mt-status-blank-after-rewind", before: first + "mt -f $N rewind;"},
		{name: "mt-status-writeprotected", before: "mtx -f $C load 11 0; mt -f $N rewind;"},
		{name: "mt-rewind-wp", before: "mtx -f $C load 11 0;"},
		{name: "mt-offline", before: first}, {name: "mt-status-after-offline", before: first + "mt -f $N offline;"},
		{name: "mt-status-cleaning", before: "mtx -f $C load 12 1;"},
		{name: "mt-status-cleaning2", before: "mtx -f $C load 12 0;"},
		{name: "mt-status-incompatible-L6-in-LTO8", before: "mtx -f $C load 15 0;"},
		{name: "slow-mtx-load", changer: "sg1", drive: "sg2", faults: "slow-load=1h"},
		{name: "slow-mt-status-immediately", before: "mtx -f $C load 2 0;", faults: "slow-load=1h"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := recorded(t)
			if c.changer == "" {
				c.changer, c.drive = "sg2", "sg1"
			}
			m := mapping{{"/dev/" + c.changer, l.Changer}, {"/dev/" + c.drive, l.Drives[0].Device},
				{"/dev/nst0", l.Drives[0].Tape}, {"/dev/nst1", l.Drives[1].Tape},
				{"/dev/st0", l.node("st0")}, {"/dev/sch0", l.node("sch0")}}
			if c.faults != "" {
				if err := l.Fault(c.faults); err != nil {
					t.Fatal(err)
				}
			}
			want := readTranscript(t, c.name)
			if c.before != "" {
				shell(t, l, `C="$LIBRARY/dev/sg0" N="$LIBRARY/dev/nst0"; `+
					strings.NewReplacer("$C", `"$C"`, "$N", `"$N"`, "$SELF", `"$SELF"`).Replace(c.before))
			}
			command := `vtlcmd() { "$SELF" vtlcmd "$@"; }; ` + m.toOurs(want.command)
			got := shell(t, l, command)
			for _, d := range []string{
				cmp.Diff(want.stdout, m.back(got.stdout)), cmp.Diff(want.stderr, m.back(got.stderr)), cmp.Diff(want.code, got.code),
			} {
				if d != "" {
					t.Errorf("%s (-recorded +ours):\n%s", want.command, d)
				}
			}
		})
	}
}
