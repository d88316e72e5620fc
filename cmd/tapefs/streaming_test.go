package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestReaderStreams: who reads a file of 40 extents through the mount from beginning to end does not stop the tape at each of
// them; who reads its last bytes brings in little.
func TestReaderStreams(t *testing.T) {
	source := t.TempDir()
	const size = 160 << 20
	writeRandom(t, filepath.Join(source, "film"), size, 1)
	a := newArchive(t, nil, "--tape-size", "512MiB", "--source", "src="+source)
	a.run("archive")
	kept := source + " kept"
	if err := os.Rename(source, kept); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(kept) })
	used := func(shell string) (read int64, stops, extents int) {
		t.Helper()
		if err := os.RemoveAll(a.path("state/cache")); err != nil {
			t.Fatal(err)
		}
		before := len(a.events(0))
		mnt := a.mount()
		cmd := exec.Command("sh", "-c", shell, "sh", filepath.Join(mnt, "src/film"), filepath.Join(kept, "film"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", shell, err, out)
		}
		a.unmount(mnt)
		for _, e := range a.events(before) {
			switch {
			case e.Kind == "stop":
				stops++
			case e.Kind == "read" && filepath.Ext(e.File) != "":
				read += e.Bytes
			}
		}
		return read, stops, int(read / (4 << 20))
	}
	read, stops, extents := used(`cat "$1" | cmp - "$2"`)
	t.Logf("from beginning to end: %d bytes in %d extents, %d stops", read, extents, stops)
	if read < size || read > size+size/10 || stops > extents/8 {
		t.Errorf("the drive delivered %d bytes for %d, and stopped %d times in %d extents", read, size, stops, extents)
	}
	read, stops, _ = used(`test "$(tail -c 10 "$1" | od -c)" = "$(tail -c 10 "$2" | od -c)"`)
	t.Logf("the last bytes: %d bytes, %d stops", read, stops)
	if read == 0 || read > 16<<20 {
		t.Errorf("the drive delivered %d bytes for the last 10", read)
	}
}
