package changer

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rawPage reads a log page of testdata/logpages, written there as hex digits.
func rawPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../testdata/logpages", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for _, line := range strings.Split(string(text), "\n") {
		digits, _, _ := strings.Cut(line, "#")
		for _, f := range strings.Fields(digits) {
			var x byte
			for _, c := range []byte(f) {
				x = x<<4 | byte(strings.IndexByte("0123456789abcdef", c))
			}
			b = append(b, x)
		}
	}
	return string(b)
}

func TestLogPages(t *testing.T) {
	alerts, err := parseLogPage(pageTapeAlert, rawPage(t, "tape-alert"))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]TapeAlert{4, 20}, alertsIn(alerts)); d != "" {
		t.Error(d)
	}
	volume, err := parseLogPage(pageVolumeStatistics, rawPage(t, "volume-statistics"))
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[uint16]int64{0: 1, 1: 3, 3: 25, 4: 0, 8: 5, 9: 1, 0x10: 6268401, 0x11: 17, 0x16: -1, 0x99: -1, 0x40: -1} {
		if got := volume.number(code); got != want {
			t.Errorf("parameter 0x%x is %d, want %d", code, got, want)
		}
	}
	device, err := parseLogPage(pageDeviceStatistics, rawPage(t, "device-statistics"))
	if err != nil || device.number(0) != 1000 || device.number(4) != 44444 {
		t.Errorf("device statistics %v, %v", device, err)
	}
}

// sg_logs of sg3-utils reads the same pages and is the referee.
func TestLogPagesAgainstSgLogs(t *testing.T) {
	program, err := exec.LookPath("sg_logs")
	if err != nil {
		skipOnLaptop(t, "sg_logs (sg3-utils) is not installed")
	}
	decoded := func(name string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(rawPage(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program, "--raw", "--in="+file, "--pdt=1").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	set := regexp.MustCompile(`(?m)^ +(.*): 1$`)
	var names []string
	for _, m := range set.FindAllStringSubmatch(decoded("tape-alert"), -1) {
		names = append(names, m[1])
	}
	if d := cmp.Diff([]string{"Media", "Cleaning required"}, names); d != "" {
		t.Error(d)
	}
	for name, lines := range map[string][]string{
		"volume-statistics": {"Thread count: 3", "Total write retries: 25", "Total unrecovered write errors: 0", "Total read retries: 5", "Total unrecovered read errors: 1",
			"Lifetime megabytes written: 6268401", "Lifetime megabytes read: 17"},
		"device-statistics": {"Lifetime media loads: 1000", "Lifetime cleaning operations: 7", "Lifetime power on hours: 9000", "Lifetime media motion (head) hours: 333",
			"Lifetime metres of tape processed: 44444"},
	} {
		out := decoded(name)
		for _, line := range lines {
			if !strings.Contains(out, line+"\n") {
				t.Errorf("sg_logs does not read %q in\n%s", line, out)
			}
		}
	}
}

func TestLogPageRefuses(t *testing.T) {
	whole := rawPage(t, "device-statistics")
	for name, raw := range map[string]string{"empty": "", "another page": rawPage(t, "tape-alert"), "cut": whole[:len(whole)-1],
		"parameter cut": "\x14\x00\x00\x05\x00\x00\x03\x08\x00", "subpage": "\x54\x01\x00\x00"} {
		if p, err := parseLogPage(pageDeviceStatistics, raw); err == nil {
			t.Errorf("%s: %v", name, p)
		}
	}
	if p, err := parseLogPage(pageDeviceStatistics, "\x14\x00\x00\x00"); err != nil || p.number(0) != -1 {
		t.Errorf("a page without parameters: %v, %v", p, err)
	}
}

func FuzzParseLogPage(f *testing.F) {
	f.Add("\x2e\x00\x00\x05\x00\x04\x40\x01\x01")
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := parseLogPage(pageTapeAlert, raw)
		if err != nil {
			return
		}
		for _, a := range alertsIn(p) {
			if a < 1 || a > 64 || a.String() == "" {
				t.Fatalf("flag %d", a)
			}
		}
		for code := range p {
			if p.number(code) < -1 {
				t.Fatalf("parameter 0x%x is %d", code, p.number(code))
			}
		}
	})
}
