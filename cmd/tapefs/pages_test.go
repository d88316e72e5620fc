package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPagesLiterally runs the commands of docs/ as they stand there, one page after the other on one machine: a directory that
// has a virtual library, and folders for what the pages call /srv, /archive, /media/stick, /tmp and /var/lib/tapefs.
func TestPagesLiterally(t *testing.T) {
	needFuse(t)
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, dir := range []string{"bin", "srv/photos/2024", "srv/backup", "media/stick", "tmp", "etc"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	writeRandom(t, at("srv/photos/2024/beach.jpg"), 300_000, 1)
	writeRandom(t, at("srv/photos/2024/boat.jpg"), 200_000, 2)
	self, err := exec.LookPath("tapefs")
	if err != nil {
		t.Fatal(err)
	}
	// init finds a library on this machine. All else is tapefs itself.
	wrapper := `#!/bin/sh
case $1 in
init)
	"$SELF" virtual create --slots 4 --mail-slots 1 --drives 1 --tape-size 64MiB --prefix A0 "$ROOT/library" >/dev/null
	shift; set -- --state "$ROOT/var/lib/tapefs" init --virtual "$ROOT/library" "$@" ;;
esac
exec "$SELF" "$@"
`
	if err := os.WriteFile(at("bin/tapefs"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmountBelow(root) })
	folder := regexp.MustCompile(`([ =])(/(?:srv|archive|media|tmp|var/lib/tapefs)\b)`)
	// The first makes the archive, the last loses it.
	pages := []string{"getting-started", "systemd", "inventory", "rotation", "upgrading", "disaster-recovery"}
	all, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(all, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if page := strings.TrimSuffix(filepath.Base(file), ".md"); len(commandsOf(string(text))) > 0 && !slices.Contains(pages, page) {
			t.Errorf("no test runs the commands of %s.md", page)
		}
	}
	for _, page := range pages {
		text, err := os.ReadFile("../../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		commands := commandsOf(string(text))
		if len(commands) == 0 {
			t.Errorf("%s has no commands", page)
		}
		script := folder.ReplaceAllString(strings.Join(commands, "\n"), "${1}"+root+"$2")
		cmd := exec.CommandContext(t.Context(), "sh", "-exc", script)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "PATH="+at("bin")+":"+os.Getenv("PATH"), "HOME="+root, "SELF="+self, "ROOT="+root,
			"TAPEFS_CONFIG="+at("etc/config.yaml"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.WaitDelay = 10 * time.Second
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s: %v\n%s", page, err, out.String())
		}
	}
	for _, name := range []string{"tmp/beach.jpg", "tmp/back/2024/boat.jpg", "srv/backup/catalog.db"} {
		if !exists(at(name)) {
			t.Errorf("%s was not made", name)
		}
	}
}

// commandsOf are the blocks of a page between ```sh and ```. Those that need hardware say so: ```sh hardware.
func commandsOf(page string) []string {
	var blocks []string
	for i, part := range strings.Split(page, "\n```") {
		if rest, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 {
			blocks = append(blocks, rest)
		}
	}
	return blocks
}
