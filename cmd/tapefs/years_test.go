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

	"github.com/tapefs/tapefs/changer/virtual"
)

const (
	yearTapes   = 30 // half of them in each pool
	yearMail    = yearTapes + 1
	yearsByHand = 10 // runs after which restore.sh has its turn
)

// TestYears: run after run with files added, changed, renamed, deleted and back again, in two pools of small tapes,
// with forgetting, export and import, repacking (killed half-way every other time), retiring, erasing and new keys in between. After
// each run the mount shows what a plain copy of the source that never deletes says it does; restore and restore.sh say so too
// every few runs and at the end. TAPEFS_YEARS=40 is what make years runs, TAPEFS_SEED repeats the choices of an earlier run,
// TAPEFS_KEEP is a directory that receives the archive, the model and the shelf of a failed test.
func TestYears(t *testing.T) {
	if testing.Short() {
		t.Skip("archives many times")
	}
	runs := 6
	if n, err := strconv.Atoi(os.Getenv("TAPEFS_YEARS")); err == nil && n > 0 {
		runs = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("TAPEFS_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("TAPEFS_SEED=%d", seed)
	y := newYears(t, rand.New(rand.NewPCG(seed, uint64(runs))))
	defer func() {
		t.Logf("%v", y.done)
		if keep := os.Getenv("TAPEFS_KEEP"); keep != "" && t.Failed() {
			y.sync("cp", "-a", y.archive.dir, y.model, y.shelf, keep)
		}
	}()
	began := time.Now()
	for i := range runs {
		y.round = fmt.Sprintf("run %d", i+1)
		y.live(i)
		y.comeBack(i)
		y.archive.run("archive", "--accept-deletions")
		y.sync("rsync", "-aH", y.source+"/", y.model+"/")
		y.event(i)
		y.compare(i%5 == 0)
		if (i+1)%yearsByHand == 0 {
			y.restored()
			y.restoredByHand()
			t.Logf("%d runs in %v", i+1, time.Since(began).Round(time.Second))
		}
	}
	y.round = "the end"
	y.compare(true)
	y.restored()
	y.restoredByHand()
}

// years is a source that lives, and a copy of it from which nothing is taken before it is forgotten.
type years struct {
	t                   *testing.T
	r                   *rand.Rand
	archive             *archive
	lib                 *virtual.Library
	source, model, away string
	shelf               string // of exported tapes
	round               string
	clock               time.Time
	names               []string
	gone                []string
	next                int
	abroad              map[string]int // tapes on the shelf, by barcode: the run in which they come back
	repacking           time.Duration  // that the last repack took
	done                map[string]int // events, by kind
}

func newYears(t *testing.T, r *rand.Rand) *years {
	y := &years{t: t, r: r, source: filepath.Join(t.TempDir(), "source"), model: filepath.Join(t.TempDir(), "model"), away: t.TempDir(), shelf: t.TempDir(),
		clock: time.Date(2020, 1, 1, 0, 0, 0, 250, time.UTC), abroad: map[string]int{}, repacking: 2 * time.Second, done: map[string]int{}}
	for _, dir := range []string{y.source, y.model} {
		y.must(os.MkdirAll(dir, 0o755))
	}
	y.archive = newArchive(t, func(text string) string {
		at := strings.Index(text, "\npools:")
		end := at + 1 + strings.Index(text[at+1:], "\nsources:")
		text = text[:at] + "\npools:\n  main: {include: [\"VT000*\", \"VT001[0-5]*\"], format_blank: true}\n  offsite: {include: [\"VT001[6-9]*\", \"VT002*\", \"VT003*\"], format_blank: true}\n" + text[end:]
		return strings.NewReplacer("    url: \""+y.source+"\"\n", "    url: \""+y.source+"\"\n    copies: [main, offsite]\n", "# bundle_below: 64MiB", "bundle_below: 1MiB", "# dedup_min: 64MiB", "dedup_min: 1MiB").Replace(text)
	}, "--source", "src="+y.source)
	if text, err := os.ReadFile(y.archive.conf); err != nil || !strings.Contains(string(text), "copies: [main, offsite]") || !strings.Contains(string(text), "dedup_min: 1MiB") {
		t.Fatalf("the configuration is not what the test wants: %v\n%s", err, text)
	}
	y.must(os.RemoveAll(y.archive.path("library")))
	y.archive.run("virtual", "create", y.archive.path("library"), "--slots", fmt.Sprint(yearTapes), "--tapes", fmt.Sprint(yearTapes), "--drives", "2",
		"--mail-slots", "1", "--tape-size", "64MiB")
	y.lib = y.archive.library()
	y.must(y.lib.Fault("clear", "slow-umount=20ms")) // the virtual drives need not take the time that real ones do
	for i := range 30 {
		y.add(i)
	}
	return y
}

func (y *years) must(err error) {
	y.t.Helper()
	if err != nil {
		y.t.Fatalf("%s: %v", y.round, err)
	}
}

func (y *years) write(name string) {
	y.t.Helper()
	p := filepath.Join(y.source, name)
	y.must(os.MkdirAll(filepath.Dir(p), 0o755))
	size := int64(y.r.IntN(20000))
	if y.r.IntN(6) == 0 {
		size = 1<<20 + int64(y.r.IntN(8<<20))
	}
	writeRandom(y.t, p, size, byte(y.r.IntN(256)))
	y.stamp(p)
}

func (y *years) stamp(p string) {
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
		y.done["back"]++
	}
	name := y.take()
	y.must(os.Rename(filepath.Join(y.source, name), filepath.Join(y.away, strconv.Itoa(len(y.gone)))))
	y.gone = append(y.gone, name)
	y.must(os.Chmod(filepath.Join(y.source, y.names[0]), os.FileMode(0o600+y.r.IntN(8)*8)))
}

func (y *years) sync(args ...string) {
	y.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		y.t.Fatalf("%s: %v: %v\n%s", y.round, args, err, out)
	}
}

// compare holds what the mount shows against the model, and asks the catalog about itself. What is not in the cache comes
// from the tapes in their order first: rsync would go from tape to tape.
func (y *years) compare(fromTapes bool) {
	y.t.Helper()
	y.archive.run("catalog", "check")
	if fromTapes {
		y.must(os.RemoveAll(y.archive.path("state/cache")))
	}
	y.archive.run("prefetch", "/src")
	mnt := y.archive.mount()
	y.same("the mount", filepath.Join(mnt, "src"))
	y.archive.unmount(mnt)
}

// restored holds what restore brings back against the model.
func (y *years) restored() {
	y.t.Helper()
	to := y.archive.path("restored")
	y.must(os.RemoveAll(to))
	y.archive.run("restore", "/src", "--to", to)
	y.same("restore", filepath.Join(to, "src"))
}

func (y *years) same(what, got string) {
	y.t.Helper()
	out, err := exec.Command("rsync", "-aHOnc", "--delete", "--itemize-changes", y.model+"/", got+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		y.t.Fatalf("%s, %s: not what the model has: %v\n%s", y.round, what, err, out)
	}
}

// restoredByHand gives all tapes that hold something to restore.sh, in a shell that has no tapefs.
func (y *years) restoredByHand() {
	y.t.Helper()
	back := y.archive.path("back")
	y.must(os.RemoveAll(back))
	args := []string{"", y.archive.path("state/keys"), back}
	for _, tape := range y.tapes() {
		dir := filepath.Join(y.tapeDir(tape.Barcode), "files")
		if y.abroad[tape.Barcode] != 0 {
			dir = filepath.Join(y.shelf, tape.Barcode, "files")
		}
		if exists(filepath.Join(dir, "restore.sh")) {
			args = append(args, dir)
		}
	}
	args[0] = filepath.Join(args[3], "restore.sh")
	cmd := exec.Command("/bin/sh", args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
	if out, err := cmd.CombinedOutput(); err != nil {
		y.t.Fatalf("%s: restore.sh: %v\n%s", y.round, err, out)
	}
	// A forgotten name stays in its object while another name has its bytes from there.
	root := filepath.Join(back, "src")
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(p, root)
		if exists(filepath.Join(y.model, name)) {
			return nil
		}
		for later := name + " renamed"; len(later) < 200; later += " renamed" {
			if exists(filepath.Join(y.model, later)) {
				return os.Remove(p)
			}
		}
		return nil
	})
	y.must(err)
	y.same("restore.sh", root)
	y.done["restore.sh"]++
}
