package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// smallSize is the size of the small files that bench-mount copies, bytes; smallPerDir how many lie in one directory.
const (
	smallSize   = 20_000
	smallPerDir = 100
)

// copied is what one copy of the whole tree took.
type copied struct {
	took   float64 // seconds
	server float64 // seconds of the server's processor time
	peak   float64 // MiB, the most that the server had in memory
}

// smallPeer is a file system from which the tree is copied.
type smallPeer struct {
	name  string
	serve func(dir string) *exec.Cmd // nil: the disk itself
	tree  string                     // below where it is mounted
	by    map[string][]copied        // by the command that copies
}

// TestBenchSmallFiles copies many small files from the mount, whose cache has them all, from gocryptfs, from go-fuse's loopback and from the
// disk. Each copy is from a new mount, and all take turns in every round, so that none has the quieter machine.
func TestBenchSmallFiles(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TAPEFS_BENCH_SMALL"))
	if err != nil {
		t.Skip("measures, when TAPEFS_BENCH_SMALL says how many files")
	}
	const rounds = 3
	src := filepath.Join(t.TempDir(), "src")
	for i := range n {
		dir := filepath.Join(src, fmt.Sprintf("d%04d", i/smallPerDir))
		if i%smallPerDir == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		writeRandom(t, filepath.Join(dir, fmt.Sprintf("file %06d", i)), smallSize, byte(i))
	}
	a := newArchive(t, nil, "--tape-size", fmt.Sprint(int64(n)*smallSize*2+1<<30), "--source", "src="+src)
	a.run("archive")
	dir := a.mount() // once from tape
	began := time.Now()
	smallCopy(t, "cp -r", filepath.Join(dir, "src"), t.TempDir())
	fromTape := time.Since(began).Seconds()
	a.unmount(dir)

	peers := []*smallPeer{
		{name: "tapefs", tree: "src", serve: func(dir string) *exec.Cmd { return a.command("mount", dir) }},
		{name: "loopback", serve: func(dir string) *exec.Cmd { return exec.Command("bench-loopback", dir, src) }},
		{name: "disk"},
	}
	if without := " " + os.Getenv("TAPEFS_BENCH_WITHOUT") + " "; !strings.Contains(without, " gocryptfs ") {
		peers = slices.Insert(peers, 1, &smallPeer{name: "gocryptfs", serve: sealedWithGocryptfs(t, src), tree: "src"})
	}
	copies := []string{"cp -r", "cp -a"}
	for range rounds {
		for _, with := range copies {
			for _, p := range peers {
				if p.by == nil {
					p.by = map[string][]copied{}
				}
				p.by[with] = append(p.by[with], p.copy(t, with, src))
			}
		}
	}
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tcp -r s\tserver s\tcp -a s\tserver s\tpeak MiB\t")
	best := func(p *smallPeer, with string, of func(copied) float64) float64 {
		least := of(p.by[with][0])
		for _, c := range p.by[with] {
			least = min(least, of(c))
		}
		return least
	}
	took, server := func(c copied) float64 { return c.took }, func(c copied) float64 { return c.server }
	for _, p := range peers {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.0f\t\n", p.name, best(p, "cp -r", took), best(p, "cp -r", server),
			best(p, "cp -a", took), best(p, "cp -a", server), best(p, "cp -a", func(c copied) float64 { return c.peak }))
	}
	w.Flush()
	ours := best(peers[0], "cp -r", took)
	t.Logf("bench| cp -r of small files, from tape | cached | %.2f | at most 1.30", fromTape/ours)
	t.Logf("bench| cp -a of small files, cached | cp -r of them | %.2f | at most 1.20", best(peers[0], "cp -a", took)/ours)
	for _, p := range peers[1:] {
		goal := "none"
		if p.name == "gocryptfs" {
			goal = "at most 0.80"
		}
		t.Logf("bench| cp -r of small files, cached | %s | %.2f | %s", p.name, ours/best(p, "cp -r", took), goal)
	}
	fmt.Fprintf(&text, "from tape, beside cached: %.2f x\ncp -a, beside cp -r: %.2f x\n", fromTape/ours, best(peers[0], "cp -a", took)/ours)
	for _, p := range peers[1:] {
		fmt.Fprintf(&text, "cp -r, beside %s: %.2f x\n", p.name, ours/best(p, "cp -r", took))
	}
	t.Logf("%d files of %d bytes, best of %d rounds\n%s", n, smallSize, rounds, text.String())
}

// copy copies the tree from a new mount.
func (p *smallPeer) copy(t *testing.T, with, src string) (c copied) {
	t.Helper()
	to := t.TempDir()
	defer os.RemoveAll(to)
	defer unix.Sync() // writing back would disturb the next
	if p.serve == nil {
		began := time.Now()
		smallCopy(t, with, src, to)
		c.took = time.Since(began).Seconds()
		return c
	}
	dir := t.TempDir()
	cmd := p.serve(dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		waitUntil(t, "the umount", func() bool { return unix.Unmount(dir, 0) == nil })
		cmd.Wait()
	}()
	waitUntil(t, "the mount", func() bool { return len(mountsBelow(dir)) > 0 })
	before, began := processorTime(cmd.Process.Pid), time.Now()
	smallCopy(t, with, filepath.Join(dir, p.tree), to)
	c.took = time.Since(began).Seconds()
	c.server, c.peak = processorTime(cmd.Process.Pid)-before, peakMemory(cmd.Process.Pid)
	return c
}

func smallCopy(t *testing.T, with, from, to string) {
	t.Helper()
	args := append(strings.Fields(with), from, filepath.Join(to, "copy"))
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// sealedWithGocryptfs puts a tree into a gocryptfs, and returns how to mount that.
func sealedWithGocryptfs(t *testing.T, src string) func(dir string) *exec.Cmd {
	t.Helper()
	sealed, dir := t.TempDir(), t.TempDir()
	password := []string{"-q", "-extpass", "echo", "-extpass", "bench"}
	if out, err := exec.Command("gocryptfs", append(password, "-init", "-scryptn", "10", sealed)...).CombinedOutput(); err != nil {
		t.Fatalf("gocryptfs -init: %v\n%s", err, out)
	}
	serve := func(dir string, more ...string) *exec.Cmd {
		return exec.Command("gocryptfs", append(append(password, more...), "-fg", sealed, dir)...)
	}
	filling := serve(dir)
	if err := filling.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "gocryptfs", func() bool { return len(mountsBelow(dir)) > 0 })
	smallCopy(t, "cp -r", src, filepath.Join(dir, "."))
	if err := os.Rename(filepath.Join(dir, "copy"), filepath.Join(dir, "src")); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "its umount", func() bool { return unix.Unmount(dir, 0) == nil })
	filling.Wait()
	unix.Sync()
	return func(dir string) *exec.Cmd { return serve(dir, "-ro") }
}
