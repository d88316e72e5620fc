package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A worker of KDE makes thumbnails by one plugin and copies files by another: the first is denied what is on tape, the second is not.
// What is in the cache both may read.
func TestDenyPlugins(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	writeRandom(t, src+"/a.jpg", 300_000, 3)
	a := newArchive(t, nil, "--slots", "2", "--drives", "1", "--source", "photos="+src)
	a.run("archive")
	if err := os.RemoveAll(src); err != nil {
		t.Fatal(err)
	}
	// A shell by the worker's name, whose first argument is a script by the plugin's.
	bin := t.TempDir()
	worker := filepath.Join(bin, "kioworker")
	shell, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(worker, shell, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range []string{"thumbnail.so", "file.so"} {
		if err := os.WriteFile(filepath.Join(bin, plugin), []byte("exec <\"$1\"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := a.mount()
	file := filepath.Join(dir, "photos/a.jpg")
	open := func(plugin string) (string, error) {
		out, err := exec.Command(worker, filepath.Join(bin, plugin), file).CombinedOutput()
		return string(out), err
	}
	for range 2 {
		if out, err := open("thumbnail.so"); err == nil || !strings.Contains(out, "Permission denied") && !strings.Contains(out, "cannot open") {
			t.Errorf("the thumbnailer may open it: %v, %s", err, out)
		}
	}
	if out, err := open("file.so"); err != nil {
		t.Errorf("who copies may not open it: %v, %s", err, out)
	}
	log, err := os.ReadFile(a.path("state/run/mount.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "program=kioworker:thumbnail"); n != 1 {
		t.Errorf("the refusals are logged %d times:\n%s", n, log)
	}
	if _, err := os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	if out, err := open("thumbnail.so"); err != nil {
		t.Errorf("the thumbnailer may not open what is cached: %v, %s", err, out)
	}
}
