package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Through Samba a file on tape is offline, and one whose bytes are here is not; listing and asking call nothing from tape.
func TestSambaOffline(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("smbd wants to be root")
		}
		t.Skip("smbd wants to be root")
	}
	src := t.TempDir()
	writeRandom(t, src+"/near.jpg", 300_000, 1)
	writeRandom(t, src+"/far.jpg", 300_000, 2)
	if err := os.WriteFile(src+"/empty.txt", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// Each file is an object of its own: a bundle's extents come with whichever of its files is read.
	a := newArchive(t, func(text string) string {
		return regexp.MustCompile(`(?m)^    # bundle_below: .*$`).ReplaceAllString(text, "    bundle_below: 1KiB")
	}, "--slots", "2", "--drives", "1", "--source", "photos="+src)
	a.run("archive")
	if err := os.RemoveAll(src); err != nil {
		t.Fatal(err)
	}
	dir := a.mount()
	smb := shareWithSamba(t, dir)
	attributes := func(name string) string {
		t.Helper()
		out := smb("cd photos; ls " + name)
		m := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(name) + ` +([A-Za-z]*) +\d+ `).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("smbclient lists no %s:\n%s", name, out)
		}
		return m[1]
	}
	events := len(a.events(0))
	for _, name := range []string{"near.jpg", "far.jpg"} {
		if got := attributes(name); got != "Ao" {
			t.Errorf("%s is on tape and has the attributes %q", name, got)
		}
	}
	if got := attributes("empty.txt"); regexp.MustCompile("o").MatchString(got) {
		t.Errorf("an empty file has the attributes %q", got)
	}
	if more := a.events(events); len(more) > 0 {
		t.Errorf("asking for attributes moved tapes: %v", more)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "photos/near.jpg")); err != nil {
		t.Fatal(err)
	}
	if got := attributes("near.jpg"); regexp.MustCompile("o").MatchString(got) {
		t.Errorf("a cached file has the attributes %q", got)
	}
	if got := attributes("far.jpg"); got != "Ao" {
		t.Errorf("far.jpg has the attributes %q after another file was read", got)
	}
}
