package archiver

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/changer/virtual"
)

// TestBenchRestore: small files brought back to a directory, against openssl and tar that open the same objects, and
// against rsync from a tree with the same files. TAPEFS_BENCH_RESTORE says how many files: make bench-restore.
func TestBenchRestore(t *testing.T) {
	n := benchNumber(t, "TAPEFS_BENCH_RESTORE")
	const perDir, size = 100, 20_000
	w := newBackWorld(t, virtual.Options{Slots: 4, Drives: 1, TapeSize: 2*int64(n)*size + 1<<30})
	tapes := filepath.Join(w.dir, "library", "tapes")
	elsewhere(t, tapes)
	content := packtest.Random(7, size+n)
	for d := range (n + perDir - 1) / perDir {
		dir := filepath.Join(w.dir, "src", fmt.Sprintf("collection %02d", d%20), fmt.Sprintf("album %06d", d))
		ok(t, os.MkdirAll(dir, 0o755))
		for i := d * perDir; i < min((d+1)*perDir, n); i++ {
			ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("picture of something %06d.jpeg", i)), content[i:i+size], 0o644))
		}
	}
	usual := func(c *Config) { // the sizes of bundles that the configuration has by itself
		c.Sources = []Source{{Name: "src", URL: filepath.Join(w.dir, "src"), Copies: []string{"a"}}}
	}
	w.open(usual)
	w.archive()
	keyFiles, err := filepath.Glob(filepath.Join(w.dir, "keys", "*.key"))
	ok(t, err)
	t.Logf("%d files of %d bytes", n, size)

	to, round := filepath.Join(w.dir, "to"), 0
	empty := func() string {
		round++
		return filepath.Join(to, strconv.Itoa(round))
	}
	ours := func() {
		w.open(usual)
		sum, err := w.a.Restore(t.Context(), []string{"/"}, RestoreOptions{To: empty()})
		ok(t, err)
		if sum.Files != int64(n) || sum.Failed+sum.Without != 0 {
			t.Fatalf("%+v", sum)
		}
	}
	const unpack = `set -e; mkdir -p "$3"
		find -L "$2" -regextype egrep -regex '.*/[0-9a-f]{32}.tar.enc' | while read -r object; do
			openssl enc -d -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass "file:$1" -in "$object" | tar -x -C "$3"
		done; sync -f "$3"; test "$(find "$3" -type f | wc -l)" = "$4"`
	compared(t, 5, "tapefs restore", "openssl and tar of the same objects, and sync", 1.2, ours, func() {
		program(t, "sh", "-c", unpack, "sh", keyFiles[0], tapes, empty(), strconv.Itoa(n))
	})
	compared(t, 5, "tapefs restore", "rsync -a of the same files, and sync", 1.2, ours, func() {
		dir := empty()
		ok(t, os.MkdirAll(to, 0o755))
		program(t, "rsync", "-a", filepath.Join(w.dir, "src")+"/", dir+"/")
		program(t, "sync", "-f", dir)
	})
}
