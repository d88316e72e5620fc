package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/cmd/tapefs/config"
)

// make install puts everything where people and programs look for it, and systemd has nothing against the units.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	root := t.TempDir()
	makeTarget(t, "../..", "install", "DESTDIR="+root, "PREFIX=/usr", "VERSION=1.2.3")
	for _, name := range []string{"usr/bin/tapefs", "usr/share/man/man1/tapefs.1", "usr/share/man/man1/tapefs-tape.1", "usr/share/man/man5/tapefs.yaml.5",
		"usr/share/man/man8/mount.tapefs.8", "usr/share/bash-completion/completions/tapefs", "usr/share/zsh/vendor-completions/_tapefs",
		"usr/share/fish/vendor_completions.d/tapefs.fish", "usr/lib/sysusers.d/tapefs.conf", "usr/lib/tmpfiles.d/tapefs.conf",
		"usr/share/doc/tapefs/examples/config.yaml", "usr/share/doc/tapefs/docs/safe.md"} {
		if !exists(filepath.Join(root, name)) {
			t.Errorf("%s is missing", name)
		}
	}
	out, err := exec.Command(filepath.Join(root, "usr/bin/tapefs"), "--version").CombinedOutput()
	if string(out) != "tapefs 1.2.3\n" {
		t.Errorf("--version prints %q, %v", out, err)
	}
	out, err = exec.Command(filepath.Join(root, "usr/sbin/mount.tapefs"), "--help").CombinedOutput()
	if !strings.HasPrefix(string(out), "Usage: mount.tapefs ") {
		t.Errorf("mount.tapefs prints %q, %v", out, err)
	}
	example, err := os.ReadFile(filepath.Join(root, "usr/share/doc/tapefs/examples/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(example)
	if err != nil || c.State != "/var/lib/tapefs" {
		t.Errorf("the example configuration has state %v, %v", c, err)
	}

	units, err := filepath.Glob(filepath.Join(root, "usr/lib/systemd/system/*"))
	if err != nil || len(units) != 5 {
		t.Fatal(units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "/usr/local/") || strings.HasSuffix(unit, ".service") && !strings.Contains(string(text), "\nExecStart=/usr/bin/tapefs ") {
			t.Errorf("%s does not start /usr/bin/tapefs", filepath.Base(unit))
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		return
	}
	// What the units start is looked for below this root, where only tapefs is.
	for _, name := range []string{"usr/bin/install"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range units {
		cmd := exec.Command(analyze, "verify", "--man=no", "--root="+root, strings.TrimPrefix(unit, root))
		out, _ := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			// The targets of systemd itself are not below this root.
			if strings.Contains(line, filepath.Base(unit)) && !strings.Contains(line, ".target") {
				t.Errorf("systemd-analyze verify %s: %s", filepath.Base(unit), line)
			}
		}
	}
}

// TestPackage is make package-test: the same commit gives the same bytes in another folder, lintian finds no error, and the package
// installs, works and is purged in a fresh Debian.
func TestPackage(t *testing.T) {
	if os.Getenv("TAPEFS_PACKAGE") == "" {
		t.Skip("make package-test")
	}
	first, second := copyCheckout(t), copyCheckout(t)
	makeTarget(t, first, "dist")
	makeTarget(t, second, "dist")
	sums, err := os.ReadFile(filepath.Join(first, "dist/SHA256SUMS"))
	if err != nil || strings.Count(string(sums), "\n") != 4 {
		t.Fatalf("%s %v", sums, err)
	}
	if again, err := os.ReadFile(filepath.Join(second, "dist/SHA256SUMS")); err != nil || string(again) != string(sums) {
		t.Errorf("built again in another folder it has other sums: %v\n%s\n%s", err, sums, again)
	}
	debs, err := filepath.Glob(filepath.Join(first, "dist/*.deb"))
	if err != nil || len(debs) != 2 {
		t.Fatal(debs, err)
	}
	out, err := exec.Command("lintian", append([]string{"--allow-root", "--fail-on", "error"}, debs...)...).CombinedOutput()
	t.Logf("lintian:\n%s", out)
	if err != nil {
		t.Errorf("lintian: %v", err)
	}
	for _, deb := range debs {
		if !strings.HasSuffix(deb, "_amd64.deb") {
			continue
		}
		cmd := exec.Command("sh", "testdata/package.sh", deb, t.TempDir())
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Errorf("in a fresh Debian: %v", err)
		}
	}
}

// copyCheckout copies what git knows of this checkout, with its history, so that versions are the same.
func copyCheckout(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "checkout")
	if out, err := exec.Command("git", "clone", "-q", top, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// makeTarget runs make. Its folders may be read-only in parts, as Go's module cache is; nothing of that is made here.
func makeTarget(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("make", append([]string{"-s"}, args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Scripts of the package are sh as Debian's is.
func TestPackageScripts(t *testing.T) {
	err := filepath.WalkDir("packaging", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != "" || strings.Contains(path, "lintian") || strings.HasSuffix(path, "copyright") {
			return err
		}
		if out, err := exec.Command("/bin/sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
