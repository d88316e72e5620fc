package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestBenchRebuild rebuilds a catalog of N files from manifests alone, in the same run as openssl and tar read those same
// manifests, and prints the ratio. make bench-rebuild runs it.
func TestBenchRebuild(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("TAPEFS_BENCH_REBUILD"))
	if err != nil {
		t.Skip("make bench-rebuild sets TAPEFS_BENCH_REBUILD to a number of files")
	}
	src := t.TempDir()
	const perDir = 1000
	for i := 0; i < n; i += perDir {
		dir := fmt.Sprintf("%s/%03d/directory %05d", src, i/perDir/100, i/perDir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := i; j < min(n, i+perDir); j++ {
			if err := os.WriteFile(fmt.Sprintf("%s/picture %07d.jpeg", dir, j), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := newArchive(t, nil, "--slots", "4", "--drives", "1", "--tape-size", "16GiB", "--source", "src="+src)
	began := time.Now()
	a.run("archive")
	t.Logf("archived %d files in %v", n, time.Since(began).Round(time.Second))

	keys, err := filepath.Glob(a.path("state/keys/*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	manifests, err := filepath.Glob(a.path("library/tapes/*/files/tapefs/*/manifest-*.tar.enc"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var bytes int64
	for _, m := range manifests {
		info, err := os.Stat(m)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	// by reads all manifests with the programs of README.txt.
	by := func() time.Duration {
		t.Helper()
		began := time.Now()
		cmd := exec.Command("sh", append([]string{"-c", `key=$1; shift; for m; do
			openssl enc -d -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass "file:$key" -in "$m" | tar -xO manifest.jsonl; done | wc -c`, "sh", keys[0]}, manifests...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return time.Since(began)
	}
	rebuild := func(db string) time.Duration {
		t.Helper()
		if err := os.Rename(a.path("state/catalog.db"), a.path(db)); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		a.run("catalog", "rebuild", "--no-snapshot")
		return time.Since(began)
	}
	// The peer before and after, so that neither has the quieter machine.
	first := by()
	took := rebuild("old.db")
	peer := (first + by()) / 2
	t.Logf("%d files, %d manifests of %d MB: rebuild %v, openssl and tar %v: ratio %.1f, %d files a second", n, len(manifests), bytes/1e6,
		took.Round(10*time.Millisecond), peer.Round(10*time.Millisecond), float64(took)/float64(peer), int(float64(n)/took.Seconds()))
	t.Logf("bench| catalog rebuild, files a second | openssl and tar of the manifests take 1/%.0f of the time | %d | at least 60,000", float64(took)/float64(peer), int(float64(n)/took.Seconds()))
	if out := a.run("catalog", "check"); out != "the catalog is whole\n" {
		t.Errorf("catalog check: %s", out)
	}
}
