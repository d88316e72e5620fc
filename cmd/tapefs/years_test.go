package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestYears: run after run with files added, changed, renamed, deleted and back again, in two pools of small tapes, with forgetting,
// export, repacking, retiring and a new key in between. After each run the archive is what a plain copy of the
// source that never deletes says it is; at the end restore.sh says so too. TAPEFS_YEARS=40 is what make years runs.
func TestYears(t *testing.T) {
	if testing.Short() {
		t.Skip("archives many times")
	}
	runs := 4
	if n, err := strconv.Atoi(os.Getenv("TAPEFS_YEARS")); err == nil && n > 0 {
		runs = n
	}
	r := rand.New(rand.NewPCG(1, uint64(runs)))
	source, model, away := filepath.Join(t.TempDir(), "source"), filepath.Join(t.TempDir(), "model"), t.TempDir()
	for _, dir := range []string{source, model} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	y := &years{t: t, r: r, source: source, model: model, away: away, clock: time.Date(2020, 1, 1, 0, 0, 0, 250, time.UTC)}
	y.archive = newArchive(t, func(text string) string {
		at := strings.Index(text, "\npools:")
		end := at + 1 + strings.Index(text[at+1:], "\nsources:")
		text = text[:at] + "\npools:\n  main: {include: [\"VT000*\", \"VT001[0-5]*\"], format_blank: true}\n  offsite: {include: [\"VT001[6-9]*\", \"VT002*\", \"VT003*\"], format_blank: true}\n" + text[end:]
		return strings.NewReplacer("    url: \""+source+"\"\n", "    url: \""+source+"\"\n    copies: [main, offsite]\n", "# bundle_below: 64MiB", "bundle_below: 1MiB", "# dedup_min: 64MiB", "dedup_min: 1MiB").Replace(text)
	}, "--tape-size", "64MiB", "--slots", "30", "--drives", "2", "--source", "src="+source)
	if text, err := os.ReadFile(y.archive.conf); err != nil || !strings.Contains(string(text), "copies: [main, offsite]") || !strings.Contains(string(text), "dedup_min: 1MiB") {
		t.Fatalf("the configuration is not what the test wants: %v\n%s", err, text)
	}
	for i := range 30 {
		y.add(i)
	}
	for i := range runs {
		y.live(i)
		y.archive.run("archive", "--accept-deletions")
		y.sync("rsync", "-aH", source+"/", model+"/")
		switch i % 4 {
		case 1:
			time.Sleep(2 * time.Millisecond) // until --vanished-before is after what vanished
			y.archive.run("forget", "--vanished-before", "1ms", "--keep-versions", "2", "--yes")
			y.sync("rsync", "-aH", "--delete", source+"/", model+"/")
		case 2:
			y.repack(i)
		case 3:
			y.archive.run("key", "new")
		}
		y.compare(i)
	}
	y.restoreByHand()
}

// years is a source that lives, and a copy of it from which nothing is taken before it is forgotten.
type years struct {
	t                   *testing.T
	r                   *rand.Rand
	archive             *archive
	source, model, away string
	clock               time.Time
	names               []string
	gone                []string
	next                int
}

func (y *years) must(err error) {
	y.t.Helper()
	if err != nil {
		y.t.Fatal(err)
	}
}

func (y *years) write(name string) {
	y.t.Helper()
	p := filepath.Join(y.source, name)
	y.must(os.MkdirAll(filepath.Dir(p), 0o755))
	size := int64(y.r.IntN(20000))
	if y.r.IntN(6) == 0 {
		size = 1<<20 + int64(y.r.IntN(1<<20))
	}
	writeRandom(y.t, p, size, byte(y.r.IntN(256)))
	y.clock = y.clock.Add(time.Hour)
	y.must(os.Chtimes(p, y.clock, y.clock))
}

func (y *years) add(i int) {
	name := fmt.Sprintf("dir %d/sub/file %04d", i%7, y.next)
	y.next++
	y.write(name)
	y.names = append(y.names, name)
}

// take removes a name at random from those that are there.
func (y *years) take() string {
	i := y.r.IntN(len(y.names))
	name := y.names[i]
	y.names = append(y.names[:i], y.names[i+1:]...)
	return name
}

// live is what happens to the source between two runs.
func (y *years) live(run int) {
	for i := range 3 {
		y.add(run + i)
	}
	for range 2 {
		y.write(y.names[y.r.IntN(len(y.names))])
	}
	old := y.take()
	renamed := old + " renamed"
	y.must(os.Rename(filepath.Join(y.source, old), filepath.Join(y.source, renamed)))
	y.names = append(y.names, renamed)
	if n := len(y.gone); n > 0 && y.r.IntN(2) == 0 {
		name := y.gone[n-1]
		y.gone = y.gone[:n-1]
		y.must(os.Rename(filepath.Join(y.away, strconv.Itoa(n-1)), filepath.Join(y.source, name)))
		y.names = append(y.names, name)
	}
	name := y.take()
	y.must(os.Rename(filepath.Join(y.source, name), filepath.Join(y.away, strconv.Itoa(len(y.gone)))))
	y.gone = append(y.gone, name)
	y.must(os.Chmod(filepath.Join(y.source, y.names[0]), os.FileMode(0o600+y.r.IntN(8)*8)))
}

// repack moves what lives on the first tape of a pool that is in use, erases or retires it, or sends it away and takes it back.
func (y *years) repack(run int) {
	y.t.Helper()
	var tapes []tapeJSON
	decode(y.t, y.archive.run("tape", "list", "--json"), &tapes)
	for _, tape := range tapes {
		if tape.Pool != []string{"main", "offsite"}[run/4%2] || tape.State != "open" && tape.State != "full" || tape.Used == 0 {
			continue
		}
		y.archive.run("tape", "repack", tape.Barcode)
		if run/4%3 == 2 {
			y.archive.run("tape", "retire", tape.Barcode)
		} else {
			y.archive.run("tape", "erase", tape.Barcode, "--yes")
		}
		return
	}
	y.t.Fatalf("run %d: no tape to repack: %+v", run, tapes)
}

func (y *years) sync(args ...string) {
	y.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		y.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// compare restores everything and holds it against the model, and asks the catalog about itself.
func (y *years) compare(run int) {
	y.t.Helper()
	to := y.archive.path("restored")
	y.must(os.RemoveAll(to))
	y.archive.run("restore", "/src", "--to", to)
	y.same(fmt.Sprintf("run %d", run), filepath.Join(to, "src"))
	y.archive.run("catalog", "check")
}

func (y *years) same(what, got string) {
	y.t.Helper()
	out, err := exec.Command("rsync", "-aHOnc", "--delete", "--itemize-changes", y.model+"/", got+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		y.t.Fatalf("%s: not what the model has: %v\n%s", what, err, out)
	}
}

// restoreByHand gives all tapes that hold something to restore.sh, in a shell that has no tapefs.
func (y *years) restoreByHand() {
	y.t.Helper()
	var tapes []tapeJSON
	decode(y.t, y.archive.run("tape", "list", "--json"), &tapes)
	args := []string{"", y.archive.path("state/keys"), y.archive.path("back")}
	for _, tape := range tapes {
		dir := y.archive.path("library/tapes/" + tape.Barcode + "/files")
		if exists(filepath.Join(dir, "restore.sh")) {
			args = append(args, dir)
		}
	}
	args[0] = filepath.Join(args[3], "restore.sh")
	cmd := exec.Command("/bin/sh", args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	if out, err := cmd.CombinedOutput(); err != nil {
		y.t.Fatalf("restore.sh: %v\n%s", err, out)
	}
	// A forgotten name stays in its object while another name has its bytes from there.
	back := y.archive.path("back/src")
	err := filepath.WalkDir(back, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(p, back)
		if !exists(filepath.Join(y.model, name)) && exists(filepath.Join(y.model, name+" renamed")) {
			return os.Remove(p)
		}
		return nil
	})
	y.must(err)
	y.same("restore.sh", back)
}
