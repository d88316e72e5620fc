package fs_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tapefs/catalog"
	"tapefs/fs"
)

// TestMain serves a catalog instead of running tests when the benchmark asks for it: the server's
// memory is then its own. It maps a file, or asks for one under a hail of signals, when a test wants that.
func TestMain(m *testing.M) {
	if path := os.Getenv("TAPEFS_TEST_SIGNALS"); path != "" {
		if err := askUnderSignals(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if path := os.Getenv("TAPEFS_TEST_MMAP"); path != "" {
		if err := printMapped(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv("TAPEFS_BENCH_MOUNT"); dir != "" {
		if err := benchServe(os.Getenv("TAPEFS_BENCH_CATALOG"), dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func benchServe(path, dir string) error {
	db, err := catalog.OpenReadOnly(context.Background(), path)
	if err != nil {
		return err
	}
	defer db.Close()
	m, err := fs.Serve(context.Background(), dir, db, &contents{}, fs.Options{
		Owners: "number", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return m.Wait()
}

// benchEntries is how many names the benchmark lists; TAPEFS_BENCH_N changes it.
func benchEntries() int {
	if n, err := strconv.Atoi(os.Getenv("TAPEFS_BENCH_N")); err == nil && n > 0 {
		return n
	}
	return 1_000_000
}

// BenchmarkFind lists a large catalog through the mount, in a process of its own, beside the same
// names on the disk that holds the temporary folder; it prints seconds, ratios and the server's memory.
func BenchmarkFind(b *testing.B) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		b.Skip("/dev/fuse is missing")
	}
	entries := benchEntries()
	path := filepath.Join(b.TempDir(), "catalog.db")
	began := time.Now()
	buildCatalog(b, path, entries)
	b.Logf("%d entries catalogued in %.1f s", entries, time.Since(began).Seconds())
	plain := b.TempDir()
	for i := range entries {
		name := filepath.Join(plain, fmt.Sprintf("d%05d", i/1000), fmt.Sprintf("file %06d.jpg", i))
		if i%1000 == 0 {
			if err := os.Mkdir(filepath.Dir(name), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		f, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
	for b.Loop() {
		dir := b.TempDir()
		server := exec.Command(os.Args[0])
		server.Env = append(os.Environ(), "TAPEFS_BENCH_MOUNT="+dir, "TAPEFS_BENCH_CATALOG="+path)
		out, err := server.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		server.Stderr = os.Stderr
		if err := server.Start(); err != nil {
			b.Fatal(err)
		}
		if line := make([]byte, 6); !func() bool { n, _ := io.ReadFull(out, line); return n > 0 }() {
			b.Fatal("the server does not start")
		}
		end := func() {
			exec.Command("umount", dir).Run()
			server.Wait()
		}
		first := seconds(b, "find", dir)
		second := seconds(b, "find", dir)
		long := seconds(b, "ls", "-lR", dir)
		rss := memory(server.Process.Pid)
		end()
		diskFirst := seconds(b, "find", plain)
		diskLong := seconds(b, "ls", "-lR", plain)
		b.ReportMetric(first, "s/first-find")
		b.ReportMetric(second, "s/second-find")
		b.ReportMetric(long, "s/ls-lR")
		b.ReportMetric(float64(rss)/1024, "MiB-RSS")
		b.ReportMetric(first/diskFirst, "x-disk/first-find")
		b.ReportMetric(second/diskFirst, "x-disk/second-find")
		b.ReportMetric(long/diskLong, "x-disk/ls-lR")
	}
}

func seconds(b *testing.B, name string, args ...string) float64 {
	b.Helper()
	cmd := exec.Command(name, args...)
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v", name, err)
	}
	return time.Since(began).Seconds()
}

// memory is a process's resident set, KiB.
func memory(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

func buildCatalog(b *testing.B, path string, entries int) {
	ctx := context.Background()
	db, err := catalog.Create(ctx, path)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	run, err := db.StartRun(ctx, "archive", nil)
	if err != nil {
		b.Fatal(err)
	}
	source, err := db.EnsureSource(ctx, "src", "/src")
	if err != nil {
		b.Fatal(err)
	}
	key, err := db.EnsureKey(ctx, "0011223344556677", "aes-256-ctr", 10000)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	for d := 0; d*1000 < entries; d += 10 {
		o := catalog.NewObject{OID: fmt.Sprintf("%032x", d), Key: key.ID, PartSize: catalog.ExtentSize}
		for sub := d; sub < d+10 && sub*1000 < entries; sub++ {
			dir, err := db.EnsureDir(ctx, run.ID, source.Root, fmt.Sprintf("d%05d", sub), catalog.Meta{Mode: 0o755})
			if err != nil {
				b.Fatal(err)
			}
			for i := range min(1000, entries-sub*1000) {
				o.Members = append(o.Members, catalog.NewVersion{Parent: dir, Name: fmt.Sprintf("file %06d.jpg", sub*1000+i), Kind: catalog.File, Size: 4_000_000})
			}
		}
		batch, planned, err := db.PlanBatch(ctx, catalog.Batch{Run: run.ID, Source: source.ID, Dir: o.OID}, []catalog.NewObject{o})
		if err != nil {
			b.Fatal(err)
		}
		files := make([]catalog.Fetched, len(planned[0].Versions))
		for i, v := range planned[0].Versions {
			files[i] = catalog.Fetched{Version: v.ID, Size: v.Size, Meta: catalog.Meta{Mode: 0o644, MTime: catalog.Time{Sec: 1e9}}}
		}
		if err := db.MarkFetched(ctx, run.ID, batch.ID, files, now); err != nil {
			b.Fatal(err)
		}
	}
}
