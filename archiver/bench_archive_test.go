package archiver

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// These measure what an archive run costs against the programs that do one part of it alone, in the same run and on
// the same data: make bench-archive. TAPEFS_BENCH_NAMES and TAPEFS_BENCH_MIB say how much.

func benchNumber(t *testing.T, name string) int {
	s := os.Getenv(name)
	if s == "" {
		t.Skipf("measures, when %s says how much", name)
	}
	return atoi(t, s)
}

// compared runs two things in turn and logs the medians, their ratio, and how many of the machine's processors were
// busy meanwhile: where all were, no more overlapping helps.
func compared(t *testing.T, rounds int, oursName, theirsName string, goal float64, ours, theirs func()) {
	t.Helper()
	var a, b []measured
	timed := func(f func()) measured {
		begin, before := time.Now(), busyTime(t)
		f()
		took := time.Since(begin)
		return measured{took, float64(busyTime(t)-before) / float64(took)}
	}
	for range rounds {
		b = append(b, timed(theirs))
		a = append(a, timed(ours))
	}
	x, y := logMedian(t, oursName, a), logMedian(t, theirsName, b)
	t.Logf("%-44s %10.2f   (goal: at most %.2f)", "ratio", float64(x)/float64(y), goal)
	t.Logf("bench| %s | %s | %.2f | at most %.2f", oursName, theirsName, float64(x)/float64(y), goal)
}

type measured struct {
	took time.Duration
	busy float64 // processors
}

func logMedian(t *testing.T, name string, all []measured) time.Duration {
	t.Helper()
	slices.SortFunc(all, func(a, b measured) int { return cmp.Compare(a.took, b.took) })
	m := all[len(all)/2]
	t.Logf("%-44s %10v   (%v to %v), %.1f of %d processors busy", name, m.took.Round(time.Millisecond),
		all[0].took.Round(time.Millisecond), all[len(all)-1].took.Round(time.Millisecond), m.busy, runtime.NumCPU())
	return m.took
}

// busyTime is how long the machine's processors worked since it was started, all of them together (proc(5), stat).
func busyTime(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	ok(t, err)
	line, _, _ := strings.Cut(string(text), "\n")
	var ticks int64
	for i, field := range strings.Fields(line)[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(field, 10, 64)
		ok(t, err)
		if i != 3 && i != 4 {
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100
}

// TestBenchUnchanged: a second run over files that did not change, against rsync -an between two equal trees.
func TestBenchUnchanged(t *testing.T) {
	n := benchNumber(t, "TAPEFS_BENCH_NAMES")
	const perDir = 100
	f := newFront(t, 1<<40)
	base := t.TempDir()
	tree, same := filepath.Join(base, "tree"), filepath.Join(base, "same")
	for d := range (n + perDir - 1) / perDir {
		dir := filepath.Join(tree, fmt.Sprintf("collection %02d", d%100), fmt.Sprintf("album %06d", d))
		ok(t, os.MkdirAll(dir, 0o755))
		for i := range min(perDir, n-d*perDir) {
			ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("picture of something %03d.jpeg", i)), nil, 0o644))
		}
	}
	program(t, "cp", "-al", tree, same)
	server := startSSHD(t, "")
	src := Source{Name: "media", URL: server.URL(tree), SSH: server.Args, Copies: []string{"main"}}
	_, err := f.planSource(t.Context(), f.run, src, Options{}, func(b catalog.Batch) error { return f.pretendFetched(t.Context(), b) })
	ok(t, err)
	shell := "ssh"
	for _, a := range server.Args {
		shell += " " + a
	}
	t.Logf("%d names over ssh from 127.0.0.1, none of them changed", n)
	ours := func() {
		st, err := f.planSource(t.Context(), f.run, src, Options{}, func(b catalog.Batch) error { return fmt.Errorf("batch %d was planned", b.ID) })
		ok(t, err)
		want(t, "a later run", st, source.Stats{Same: int64(n)})
	}
	const name = "tapefs: list and compare with the catalog"
	compared(t, 3, name, "rsync -an to an equal tree", 1.2, ours, func() { program(t, "rsync", "-an", "-e", shell, server.URL(tree)+"/", same+"/") })
	// The least that it can take: rsync printing what tapefs compares, to nobody.
	compared(t, 3, name, "rsync -an that prints all it lists", 1.2, ours, func() {
		program(t, "sh", "-c", `exec "$@" >/dev/null`, "sh", "rsync", "-rlptgoDnH", "--numeric-ids", source.Format, "-e", shell, server.URL(tree)+"/", filepath.Join(base, "nothing")+"/")
	})
}

func program(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// TestBenchSeal: packing with the sums of contents, extents and parts, against openssl enc, which sums nothing.
func TestBenchSeal(t *testing.T) {
	size := benchNumber(t, "TAPEFS_BENCH_MIB") << 20
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	ok(t, os.Mkdir(root, 0o755))
	randomFile(t, filepath.Join(root, "big"), size)
	key := packtest.Key(t)
	keyFile := filepath.Join(dir, "key")
	ok(t, key.Save(keyFile))
	t.Logf("%d MiB from the page cache to nowhere", size>>20)
	ours := func() {
		l, err := pack.NewLayout("src", members(t, root))
		ok(t, err)
		p, err := pack.New(l, packtest.Opener(root), true, key, []byte("saltsalt"), 1<<40, nil)
		ok(t, err)
		defer p.Close()
		_, err = p.WritePart(t.Context(), 0, io.Discard)
		ok(t, err)
	}
	const seals = `openssl enc -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass "file:$1" -in "$2" -out /dev/null`
	const sums = `openssl dgst -sha256 "$2" & openssl dgst -sha256 "$2" & openssl dgst -sha256 "$2" & `
	big := filepath.Join(root, "big")
	compared(t, 5, "tapefs: tar, seal and three checksums", "openssl enc -aes-256-ctr alone", 1/0.9, ours,
		func() { program(t, "sh", "-c", seals, "sh", keyFile, big) })
	// What the machine can do at best: the same work by programs that need not wait for each other.
	compared(t, 5, "tapefs: tar, seal and three checksums", "openssl enc and three openssl dgst at once", 1/0.9, ours,
		func() { program(t, "sh", "-c", sums+seals+`; wait`, "sh", keyFile, big) })
}

// randomFile writes size bytes that do not compress.
func randomFile(t *testing.T, path string, size int) {
	t.Helper()
	f, err := os.Create(path)
	ok(t, err)
	piece := packtest.Random(byte(len(path)), 16<<20)
	for left := size; left > 0; left -= len(piece) {
		_, err := f.Write(piece[:min(left, len(piece))])
		ok(t, err)
	}
	ok(t, f.Sync())
	ok(t, f.Close())
}

// TestBenchArchive: a whole first run over ssh onto virtual tapes, against rsync -a over the same ssh to the same disk.
func TestBenchArchive(t *testing.T) {
	size := benchNumber(t, "TAPEFS_BENCH_MIB") << 20
	const files = 64
	w := newBackWorld(t, virtual.Options{Slots: 8, Drives: 1, TapeSize: 8*int64(size) + 1<<30})
	elsewhere(t, filepath.Join(w.dir, "library", "tapes"))
	server := startSSHD(t, "")
	far := filepath.Join(w.dir, "far")
	for i := range files {
		randomFile(t, filepath.Join(far, "film "+strconv.Itoa(i)), size/files)
	}
	t.Logf("%d MiB in %d files over ssh from 127.0.0.1", size>>20, files)
	shell := "ssh"
	for _, a := range server.Args {
		shell += " " + a
	}
	round := 0
	ours := func() {
		round++
		w.open(func(c *Config) {
			c.SSH = ""
			c.Sources = []Source{{Name: "far" + strconv.Itoa(round), URL: server.URL(far), SSH: server.Args, Copies: []string{"a"}}}
		})
		sum, err := w.a.Archive(t.Context(), nil, Options{})
		ok(t, err)
		if sum.Counts["far"+strconv.Itoa(round)]["written_bytes"] < int64(size) {
			t.Fatalf("%+v", sum)
		}
	}
	to := filepath.Join(w.dir, "copy")
	fetch := func() {
		program(t, "rsync", "-a", "-e", shell, server.URL(far)+"/", to+"/")
		program(t, "sync", "-f", to)
	}
	compared(t, 3, "tapefs archive", "rsync -a, and sync", 1.15, ours, func() {
		fetch()
		ok(t, os.RemoveAll(to))
	})
	// What the machine can do at best: the same work by programs that need not wait for each other.
	keyFile, tape := filepath.Join(w.dir, "bench key"), filepath.Join(w.dir, "library", "tapes", "bench")
	ok(t, packtest.Key(t).Save(keyFile))
	const work = `for i in 1 2 3; do cat "$2"/* | openssl dgst -sha256 & done
		cat "$2"/* | openssl enc -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass "file:$1" -out "$3"; wait`
	compared(t, 3, "tapefs archive", "rsync -a, openssl enc and dgst at once", 1.15, ours, func() {
		sealing := exec.Command("sh", "-c", work, "sh", keyFile, far, tape)
		ok(t, sealing.Start())
		fetch()
		ok(t, sealing.Wait())
		ok(t, os.RemoveAll(to))
		ok(t, os.Remove(tape))
	})
}

// elsewhere moves a folder into memory, where there is room: a real tape takes nothing of the disk's time either.
func elsewhere(t *testing.T, dir string) {
	t.Helper()
	memory, err := os.MkdirTemp("/dev/shm", "tapefs-bench-")
	if err != nil {
		t.Logf("the tapes lie on the same disk: %v", err)
		return
	}
	t.Cleanup(func() { os.RemoveAll(memory) })
	program(t, "cp", "-a", dir, memory)
	ok(t, os.RemoveAll(dir))
	ok(t, os.Symlink(filepath.Join(memory, filepath.Base(dir)), dir))
}
