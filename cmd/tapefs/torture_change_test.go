package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// change adds and changes a few files at both sources, and removes some where that is wanted. Names come again, so that the
// trees stay small.
func (w *tortured) change(remove bool) {
	w.t.Helper()
	for _, source := range []string{"far", "near"} {
		root := w.path("source/" + source)
		write := func(name string, size int64) {
			w.serial++
			path := filepath.Join(root, name)
			w.must(os.MkdirAll(filepath.Dir(path), 0o755))
			w.must(os.RemoveAll(path))
			content := make([]byte, size)
			fill := rand.NewChaCha8([32]byte{byte(w.serial), byte(w.serial >> 8), byte(w.serial >> 16), 7})
			fill.Read(content)
			w.must(os.WriteFile(path, content, 0o644))
			at := time.Unix(1_500_000_000+int64(w.serial)*977, int64(w.r.IntN(1_000_000_000)))
			w.must(os.Chtimes(path, at, at))
		}
		for range 2 + w.r.IntN(8) {
			write(fmt.Sprintf("album %d/picture %02d.jpeg", w.r.IntN(4), w.r.IntN(15)), int64(w.r.IntN(60_000)))
		}
		for range 1 + w.r.IntN(2) {
			write(fmt.Sprintf("clips/clip %d.mp4", w.r.IntN(6)), 64<<10+int64(w.r.IntN(2<<20)))
		}
		if source == "far" && w.r.IntN(3) == 0 || w.r.IntN(8) == 0 {
			write(fmt.Sprintf("films/film %d.mkv", w.r.IntN(2)), 9<<20+int64(w.r.IntN(11<<20))) // two or three parts
		}
		if clips, _ := filepath.Glob(filepath.Join(root, "clips", "*")); len(clips) > 0 && w.r.IntN(3) == 0 { // of dedup size, many of them
			from := clips[w.r.IntN(len(clips))]
			w.serial++
			to, at := filepath.Join(root, "clips", fmt.Sprintf("copy %d.mp4", w.r.IntN(3))), time.Unix(1_500_000_000+int64(w.serial)*977, 5)
			w.must(copyContent(from, to))
			w.must(os.Chtimes(to, at, at))
		}
		if w.r.IntN(2) == 0 {
			link := filepath.Join(root, fmt.Sprintf("link %d", w.r.IntN(3)))
			w.must(os.RemoveAll(link))
			w.must(os.Symlink(fmt.Sprintf("nowhere %d", w.r.IntN(1000)), link))
		}
		found, err := filepath.Glob(filepath.Join(root, "*", "*"))
		w.must(err)
		for range w.r.IntN(3) {
			if remove && len(found) > 0 {
				w.must(os.RemoveAll(found[w.r.IntN(len(found))]))
			}
		}
		// A listing has whole seconds, and a directory from which something only went is not fetched: two
		// changes within a second would look like one.
		w.must(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if info, err := d.Info(); err != nil || time.Since(info.ModTime()) > time.Hour {
				return err
			}
			w.serial++
			at := time.Unix(1_500_000_000+int64(w.serial)*977, 0)
			return os.Chtimes(path, at, at)
		}))
	}
}

// keep copies what is new at the sources to a tree from which nothing is ever removed: vanished files stay archived.
func (w *tortured) keep() {
	w.t.Helper()
	out, err := exec.Command("rsync", "-ac", w.path("source")+"/", w.path("kept")+"/").CombinedOutput()
	if err != nil {
		w.t.Fatalf("rsync: %v\n%s", err, out)
	}
}

// copyContent makes a new file of another one's bytes.
func copyContent(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
