package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// fails runs tapefs, wants an exit code, and returns what it printed.
func (a *archive) fails(code int, args ...string) string {
	a.t.Helper()
	cmd := a.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if got := 0; err != nil {
		if !errors.As(err, &exit) {
			a.t.Fatal(err)
		}
		if got = exit.ExitCode(); got == code {
			return out.String()
		}
	}
	a.t.Fatalf("tapefs %s: %v, not exit code %d\n%s", strings.Join(args, " "), err, code, out.String())
	return ""
}

// edit changes the configuration.
func (a *archive) edit(from, to string) {
	a.t.Helper()
	text, err := os.ReadFile(a.conf)
	if err != nil {
		a.t.Fatal(err)
	}
	edited := strings.ReplaceAll(string(text), from, to)
	if edited == string(text) {
		a.t.Fatalf("%q is not in the configuration", from)
	}
	if err := os.WriteFile(a.conf, []byte(edited), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// copiesOf counts a file's copies by pool and state.
func (a *archive) copiesOf(path string) map[string]int {
	a.t.Helper()
	var info infoJSON
	decode(a.t, a.run("info", "--json", "--versions", path), &info)
	n := map[string]int{}
	for _, v := range info.Versions {
		for _, c := range v.Copies {
			n[c.Pool+" "+c.State]++
		}
	}
	return n
}

// withPools gives pool main four tapes and pool off what pattern says.
func withPools(pattern string) func(string) string {
	return func(text string) string {
		text = strings.Replace(text, "# include: [\"*\"]", `include: ["VT000[1-4]*"]`, 1)
		return strings.Replace(text, "# Sources:", "  off:\n    include: [\""+pattern+"\"]\n    format_blank: true\n\n# Sources:", 1)
	}
}

// A copy that the source can no longer give is made from the other pool's tape.
func TestHealFromTheOtherPool(t *testing.T) {
	for _, drives := range []string{"1", "2"} {
		t.Run(drives+" drives", func(t *testing.T) {
			src := t.TempDir()
			a := newArchive(t, withPools("none"), "--slots", "8", "--drives", drives, "--tape-size", "64MiB", "--source", "src="+src)
			writeRandom(t, src+"/large", 20<<20, 1)
			writeRandom(t, src+"/stays", 1<<20, 2)
			writeRandom(t, src+"/small", 3000, 3)
			a.edit("# bundle_below: 64MiB", "bundle_below: 64KiB")

			a.run("archive")
			if got := a.copiesOf("/src/large"); got["main durable"] != 1 || len(got) != 1 {
				t.Fatalf("copies of large: %v", got)
			}
			// Another pool is wanted later, and has no tape yet.
			a.edit("# copies: [main]", "copies: [main, off]")
			a.fails(4, "archive")
			if out := a.run("status"); !strings.Contains(out, "owed to off") {
				t.Fatalf("status does not say what is owed:\n%s", out)
			}
			// What is new lies in the first pool when the source changes and the second one gets tapes.
			writeRandom(t, src+"/small", 4000, 4)
			writeRandom(t, src+"/more", 9<<20, 6)
			a.fails(4, "archive")
			writeRandom(t, src+"/large", 20<<20, 5)
			writeRandom(t, src+"/more", 9<<20, 7)
			a.edit(`"none"`, `"VT000[5-8]*"`)
			a.run("archive")
			for _, file := range []string{"large", "stays", "small", "more"} {
				var info infoJSON
				decode(t, a.run("info", "--json", "--versions", "/src/"+file), &info)
				for _, v := range info.Versions {
					if len(v.Copies) != 2 || v.Copies[0].State != "durable" || v.Copies[1].State != "durable" {
						t.Errorf("%s, version %d: copies %+v", file, v.ID, v.Copies)
					}
				}
			}
			if out := a.run("status"); strings.Contains(out, "owed to") {
				t.Errorf("something is owed still:\n%s", out)
			}
			if left, _ := os.ReadDir(a.path("state/spool")); len(left) > 0 {
				for _, e := range left {
					if strings.HasPrefix(e.Name(), "heal-") {
						t.Errorf("left in the spool: %s", e.Name())
					}
				}
			}
			a.run("archive") // has nothing to do, and says so by its exit code
		})
	}
}
