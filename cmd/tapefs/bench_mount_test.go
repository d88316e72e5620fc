package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// The tree that bench-mount lists: N names in directories of benchPerDir, and a file of SIZE.
const benchPerDir = 1000

func benchDir(i int) string  { return fmt.Sprintf("d%05d", i) }
func benchFile(i int) string { return fmt.Sprintf("file %06d.jpg", i) }

// figures are what was measured of one file system. Zero: not measured.
type figures struct {
	name                    string
	first, second, long, du float64 // seconds: find, find again, ls -lR, du
	server                  float64 // seconds of the server's processor time for the first find
	firstRead, read, kept   float64 // MB/s, from beginning to end: for the first time, again with the kernel's cache dropped, and with nothing done
	random                  float64 // reads of 4 KiB a second, one after the other
	rss, peak               float64 // MiB: the most that the server had while it listed, and ever
}

// mountBench is one run of the benchmark.
type mountBench struct {
	*testing.T
	n    int
	size int64
	disk string // the tree on the disk
	rows []figures
}

// TestBenchMount compares the mount with what else could show the same tree: make bench-mount. TAPEFS_BENCH_NAMES and
// TAPEFS_BENCH_SIZE say how much, TAPEFS_BENCH_WITHOUT whom to leave out: the peers take hours for a million names.
func TestBenchMount(t *testing.T) {
	b := &mountBench{T: t}
	var err error
	if b.n, err = strconv.Atoi(os.Getenv("TAPEFS_BENCH_NAMES")); err != nil {
		t.Skip("measures, when TAPEFS_BENCH_NAMES says how many names")
	}
	size, err := humanize.ParseBytes(os.Getenv("TAPEFS_BENCH_SIZE"))
	if err != nil {
		t.Fatal(err)
	}
	b.size = int64(size)
	b.disk = filepath.Join(t.TempDir(), "src")
	writeNames(t, b.disk, b.n)
	writeRandom(t, filepath.Join(b.disk, "big"), b.size, 1)
	exec.Command("sync", "-f", b.disk).Run() // writing back would disturb what is measured

	for _, one := range []struct {
		name    string
		measure func() figures
	}{
		{"disk", b.onDisk}, {"floor", b.floor}, {"tapefs", b.tapefs}, {"loopback", b.loopback},
		{"gocryptfs", b.gocryptfs}, {"restic", b.restic},
	} {
		if strings.Contains(" "+os.Getenv("TAPEFS_BENCH_WITHOUT")+" ", " "+one.name+" ") {
			continue
		}
		f := one.measure()
		f.name = one.name
		b.rows = append(b.rows, f)
		t.Logf("measured %+v", f)
	}
	b.report()
}

// writeNames makes the tree's names as empty files.
func writeNames(t *testing.T, dir string, n int) {
	t.Helper()
	for i := range n {
		sub := filepath.Join(dir, benchDir(i/benchPerDir))
		if i%benchPerDir == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.Create(filepath.Join(sub, benchFile(i)))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// list measures the listings of a tree that process pid serves (0: the kernel itself).
func (b *mountBench) list(dir string, pid int) (f figures) {
	b.Helper()
	before := processorTime(pid)
	f.first = b.seconds("find", dir)
	f.server = processorTime(pid) - before
	f.second = b.seconds("find", dir)
	f.long = b.seconds("ls", "-lR", dir)
	f.du = b.seconds("du", "-s", dir)
	return f
}

func (b *mountBench) seconds(name string, args ...string) float64 {
	b.Helper()
	cmd := exec.Command(name, args...)
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return time.Since(began).Seconds()
}

// read measures reading the big file. drop makes the kernel forget what it has of the mount's file before each
// measurement; what lies below stays in the page cache.
func (b *mountBench) read(f *figures, path string, drop bool) {
	b.Helper()
	forget := func(drop bool) {
		if drop {
			b.withFile(path, func(file *os.File) error { return unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED) })
		}
	}
	whole := func(drop bool) float64 {
		forget(drop)
		return float64(b.size) / 1e6 / b.seconds("dd", "if="+path, "of=/dev/null", "bs=1M", "status=none")
	}
	f.firstRead = whole(drop)
	f.read = max(whole(drop), whole(drop))
	f.kept = whole(false)
	forget(drop)
	const reads = 4000
	b.withFile(path, func(file *os.File) error {
		if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
			return err
		}
		r := rand.New(rand.NewPCG(1, 2))
		buf := make([]byte, 4096)
		began := time.Now()
		for range reads {
			_, err := file.ReadAt(buf, r.Int64N(b.size/4096)*4096)
			for try := 0; errors.Is(err, unix.EIO) && try < 10; try++ { // restic's answer when the Go runtime signals the reading thread
				_, err = file.ReadAt(buf, 0)
			}
			if err != nil && err != io.EOF {
				return err
			}
		}
		f.random = reads / time.Since(began).Seconds()
		return nil
	})
}

func (b *mountBench) withFile(path string, do func(*os.File) error) {
	b.Helper()
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	if err := do(file); err != nil {
		b.Fatal(err)
	}
}

// served starts a server that mounts at dir in the foreground, and measures the tree below dir. Reads of "" are not measured.
func (b *mountBench) served(cmd *exec.Cmd, dir, tree, big string) (f figures) {
	b.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	end := func() {
		for range 100 {
			if len(mountsBelow(dir)) == 0 || unix.Unmount(dir, 0) == nil || exec.Command("fusermount3", "-u", dir).Run() == nil {
				break
			}
			time.Sleep(100 * time.Millisecond) // files of the mount are still being closed
		}
		cmd.Wait()
	}
	defer end()
	waitUntil(b.T, "the mount", func() bool { return len(mountsBelow(dir)) > 0 })
	if matches, err := filepath.Glob(tree); err != nil || len(matches) == 0 {
		b.Fatalf("%s is not there: %v", tree, err)
	} else {
		tree = matches[0]
	}
	f = b.list(tree, cmd.Process.Pid)
	f.rss = peakMemory(cmd.Process.Pid)
	if big != "" {
		b.read(&f, filepath.Join(tree, big), true)
	}
	f.peak = peakMemory(cmd.Process.Pid)
	return f
}

func (b *mountBench) onDisk() figures {
	f := b.list(b.disk, 0)
	b.read(&f, filepath.Join(b.disk, "big"), false)
	return f
}

func (b *mountBench) floor() figures {
	dir := b.TempDir()
	return b.served(exec.Command("bench-floor", dir, strconv.Itoa(b.n)), dir, filepath.Join(dir, "src"), "")
}

func (b *mountBench) loopback() figures {
	dir := b.TempDir()
	return b.served(exec.Command("bench-loopback", dir, b.disk), dir, dir, "big")
}

// tapefs archives the big file for real, and puts the names into the catalog as archive would have.
func (b *mountBench) tapefs() figures {
	alone := b.TempDir()
	if err := os.Link(filepath.Join(b.disk, "big"), filepath.Join(alone, "big")); err != nil {
		b.Fatal(err)
	}
	a := newArchive(b.T, nil, "--tape-size", fmt.Sprint(2*b.size+1<<30), "--source", "src="+alone)
	a.run("archive")
	b.catalogued(a.path("state/catalog.db"))
	dir := a.path("mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	cached := a.mount() // once from tape, not measured
	b.seconds("dd", "if="+filepath.Join(cached, "src/big"), "of=/dev/null", "bs=1M", "status=none")
	a.unmount(cached)
	return b.served(a.command("mount", dir), dir, filepath.Join(dir, "src"), "big")
}

func (b *mountBench) catalogued(path string) {
	ctx := context.Background()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	db, err := catalog.Open(ctx, path)
	must(err)
	defer db.Close()
	run, err := db.StartRun(ctx, "archive", nil)
	must(err)
	sources, err := db.Sources(ctx)
	must(err)
	source := sources[0]
	key, err := db.EnsureKey(ctx, "0011223344556677", "aes-256-ctr", 10000)
	must(err)
	const dirsPerObject = 10
	for at := 0; at < b.n; at += dirsPerObject * benchPerDir {
		o := catalog.NewObject{OID: fmt.Sprintf("%032x", at), Key: key.ID, PartSize: catalog.ExtentSize}
		for i := at; i < min(at+dirsPerObject*benchPerDir, b.n); i++ {
			if i%benchPerDir == 0 {
				dir, err := db.EnsureDir(ctx, run.ID, source.Root, benchDir(i/benchPerDir), catalog.Meta{Mode: 0o755})
				must(err)
				o.Members = append(o.Members, catalog.NewVersion{Parent: dir, Name: benchFile(i), Kind: catalog.File, Size: 4_000_000})
				continue
			}
			o.Members = append(o.Members, catalog.NewVersion{Parent: o.Members[len(o.Members)-1].Parent, Name: benchFile(i), Kind: catalog.File, Size: 4_000_000})
		}
		batch, planned, err := db.PlanBatch(ctx, catalog.Batch{Run: run.ID, Source: source.ID, Dir: o.OID}, []catalog.NewObject{o})
		must(err)
		files := make([]catalog.Fetched, 0, len(o.Members))
		for _, v := range planned[0].Versions {
			if v.Kind == catalog.File {
				files = append(files, catalog.Fetched{Version: v.ID, Size: v.Size, Meta: catalog.Meta{Mode: 0o644, MTime: catalog.Time{Sec: 1e9}}})
			}
		}
		must(db.MarkFetched(ctx, run.ID, batch.ID, files, time.Now()))
	}
	must(db.FinishRun(ctx, run.ID, "done", ""))
}

func (b *mountBench) gocryptfs() figures {
	sealed, dir := b.TempDir(), b.TempDir()
	password := []string{"-q", "-extpass", "echo", "-extpass", "bench"}
	if out, err := exec.Command("gocryptfs", append(password, "-init", "-scryptn", "10", sealed)...).CombinedOutput(); err != nil {
		b.Fatalf("gocryptfs -init: %v\n%s", err, out)
	}
	serve := func(more ...string) *exec.Cmd {
		return exec.Command("gocryptfs", append(append(password, more...), "-fg", sealed, dir)...)
	}
	filling := serve()
	if err := filling.Start(); err != nil {
		b.Fatal(err)
	}
	waitUntil(b.T, "gocryptfs", func() bool { return len(mountsBelow(dir)) > 0 })
	b.seconds("cp", "-r", b.disk, dir)
	waitUntil(b.T, "its umount", func() bool { return unix.Unmount(dir, 0) == nil })
	filling.Wait()
	exec.Command("sync", "-f", sealed).Run()
	return b.served(serve("-ro"), dir, filepath.Join(dir, "src"), "big")
}

func (b *mountBench) restic() figures {
	repo, dir := b.TempDir(), b.TempDir()
	restic := func(args ...string) *exec.Cmd {
		cmd := exec.Command("restic", append([]string{"--quiet", "--no-cache", "--repo", repo}, args...)...)
		cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=bench")
		cmd.Dir = filepath.Dir(b.disk)
		return cmd
	}
	for _, args := range [][]string{{"init"}, {"backup", "src"}} {
		if out, err := restic(args...).CombinedOutput(); err != nil {
			b.Fatalf("restic %v: %v\n%s", args, err, out)
		}
	}
	return b.served(restic("mount", dir), dir, filepath.Join(dir, "ids", "*", "src"), "big")
}

// processorTime is the seconds of processor time that a process took so far.
func processorTime(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // proc(5): utime and stime are fields 14 and 15, in ticks of 1/100 s
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}

// peakMemory is the most that a process had in memory, MiB.
func peakMemory(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return float64(n) / 1024
		}
	}
	return 0
}

// report prints all figures, and those that have goals.
func (b *mountBench) report() {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tfind s\tserver s\tagain s\tls -lR s\tdu s\tread MB/s\tagain MB/s\tkept MB/s\t4 KiB/s\tRSS MiB\tpeak MiB\t")
	by := map[string]figures{}
	for _, f := range b.rows {
		by[f.name] = f
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n",
			f.name, f.first, f.server, f.second, f.long, f.du, f.firstRead, f.read, f.kept, f.random, f.rss, f.peak)
	}
	w.Flush()
	ours := by["tapefs"]
	goal := func(what string, ours, theirs, factor float64, wantLess bool) {
		if ours > 0 && theirs > 0 {
			word, met := "at least", ours >= theirs*factor
			if wantLess {
				word, met = "at most", ours <= theirs*factor
			}
			fmt.Fprintf(&text, "%-44s %6.2f x  (goal: %s %.2f; met: %t)\n", what, ours/theirs, word, factor, met)
			work, beside, _ := strings.Cut(what, ", beside ")
			b.Logf("bench| %s | %s | %.2f | %s %.2f", work, beside, ours/theirs, word, factor)
		}
	}
	goal("first find, beside no storage", ours.first, by["floor"].first, 1.4, true)
	goal("second find, beside the disk", ours.second, by["disk"].second, 1.5, true)
	goal("ls -lR, beside the disk", ours.long, by["disk"].long, 1.5, true)
	goal("memory for listing, beside 64 MiB", ours.rss, 64, 1, true)
	goal("read again as it is, beside gocryptfs", ours.kept, by["gocryptfs"].kept, 2, false)
	goal("kernel's cache dropped, beside gocryptfs", ours.read, by["gocryptfs"].read, 2, false)
	goal("first read, beside gocryptfs", ours.firstRead, by["gocryptfs"].firstRead, 1.2, false)
	goal("4 KiB here and there, beside gocryptfs", ours.random, by["gocryptfs"].random, 1.2, false)
	goal("4 KiB here and there, beside loopback", ours.random, by["loopback"].random, 0.8, false)
	for _, peer := range []string{"loopback", "gocryptfs", "restic"} {
		goal("first find, beside "+peer, ours.first, by[peer].first, 1, true)
		goal("ls -lR, beside "+peer, ours.long, by[peer].long, 1, true)
	}
	b.Logf("%d names, %s\n%s", b.n, humanize.IBytes(uint64(b.size)), text.String())
}
