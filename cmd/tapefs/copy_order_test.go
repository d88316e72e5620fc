package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/changer/virtual"
)

// TestCopyOrder: cp -r of a tree that one run wrote onto several tapes loads each tape once and reads it forwards, through
// one drive; so does rsync, which goes by name.
func TestCopyOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("archives 130 MiB and reads it twice")
	}
	source := filepath.Join(t.TempDir(), "source")
	// Made in an order that is not that of names, so that neither the source's nor the disk's order helps.
	for d := range 5 {
		dir := filepath.Join(source, fmt.Sprintf("album %d", d*3%5), "deeper")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range 25 {
			writeRandom(t, filepath.Join(dir, fmt.Sprintf("picture %02d.raw", i*7%25)), 1<<20-int64(i)*1000, byte(d*25+i))
		}
	}
	copiedInOrder(t, newArchive(t, nil, "--tape-size", "64MiB", "--slots", "8", "--drives", "1", "--source", "src="+source), source, 120<<20, "cp -r", "rsync")
}

// TestCopyOrderOfMixedFolders is the same for folders that hold files which are objects of their own, files that share
// bundles, and folders with both, in every order of names.
func TestCopyOrderOfMixedFolders(t *testing.T) {
	if testing.Short() {
		t.Skip("archives 130 MiB and reads it twice")
	}
	source := filepath.Join(t.TempDir(), "source")
	seed := byte(0)
	write := func(size int64, path ...string) {
		seed++
		file := filepath.Join(append([]string{source}, path...)...)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		writeRandom(t, file, size, seed)
	}
	const small, large = 100 << 10, 3 << 20
	for i := range 9 {
		d := fmt.Sprintf("trip %d", i)
		for _, name := range []string{"a small.jpg", "extra/p.jpg", "extra/z.jpg", "y small.jpg"} {
			write(small, d, name)
		}
		for _, name := range []string{"b film.mkv", "extra/q.mkv", "m film.mkv", "only films/f.mkv"} {
			write(large, d, name)
		}
		write(small, d, "deep", "er", "than", "this", "s.jpg")
		if i%2 == 0 {
			write(large, d, "deep", "er", "l.mkv")
		}
		if err := os.Mkdir(filepath.Join(source, d, "nothing"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "# bundle_below: 64MiB", "bundle_below: 1MiB", 1)
	},
		"--tape-size", "48MiB", "--slots", "8", "--drives", "1", "--source", "src="+source)
	copiedInOrder(t, a, source, 110<<20, "cp -r") // rsync takes a folder's files before its folders
}

// copiedInOrder archives a source onto several tapes and copies it back with cp and rsync, at least so many bytes. Each of
// them loads a tape once, and those that are forwards never go back on one.
func copiedInOrder(t *testing.T, a *archive, source string, atLeast int64, forwards ...string) {
	t.Helper()
	a.run("archive")
	if err := os.Rename(source, source+" kept"); err != nil {
		t.Fatal(err)
	}
	var tapes []tapeJSON
	decode(t, a.run("tape", "list", "--json"), &tapes)
	used := 0
	for _, tape := range tapes {
		if tape.Used > 10<<20 {
			used++
		}
	}
	if used < 3 {
		t.Fatalf("the tree lies on %d tapes, this test wants several", used)
	}
	for name, copied := range map[string]func(src, to string) *exec.Cmd{
		"cp -r": func(src, to string) *exec.Cmd { return exec.Command("cp", "-r", "--preserve=all", src, to) },
		"rsync": func(src, to string) *exec.Cmd { return exec.Command("rsync", "-a", src+"/", to+"/") },
	} {
		if err := os.RemoveAll(a.path("state/cache")); err != nil {
			t.Fatal(err)
		}
		before := len(a.events(0))
		mnt, to := a.mount(), filepath.Join(t.TempDir(), "copied")
		if out, err := copied(filepath.Join(mnt, "src"), to).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		a.unmount(mnt)
		compareTrees(t, source+" kept", to)
		loads, back, read := tapeOrder(a.events(before))
		for _, tape := range tapes {
			if n := loads[tape.Barcode]; n > 1 {
				t.Errorf("%s loaded %s %d times", name, tape.Barcode, n)
			}
		}
		if len(loads) < used-1 { // the one written last may be in the drive
			t.Errorf("%s loaded %v, of %d tapes", name, loads, used)
		}
		if read < atLeast {
			t.Errorf("%s read %d bytes of objects only", name, read)
		}
		for _, b := range back {
			if !slices.Contains(forwards, name) {
				break
			}
			t.Errorf("%s went back on a tape: %s", name, b)
		}
		if t.Failed() {
			return
		}
	}
}

// tapeOrder counts how often each tape was loaded, and finds the reads of objects that went back on it. Objects are
// named in the order of writing.
func tapeOrder(events []virtual.Event) (loads map[string]int, back []string, read int64) {
	loads = map[string]int{}
	type place struct {
		file string
		end  int64
	}
	at := map[string]place{}
	for _, e := range events {
		switch {
		case e.Kind == "load":
			loads[e.Barcode]++
		case e.Kind == "read" && filepath.Ext(e.File) != "":
			was := at[e.Barcode]
			if e.File < was.file || e.File == was.file && e.Offset < was.end {
				back = append(back, fmt.Sprintf("%s at %d, after %s up to %d", e.File, e.Offset, was.file, was.end))
			}
			read += e.Bytes
			at[e.Barcode] = place{e.File, e.Offset + e.Bytes}
		}
	}
	return loads, back, read
}
