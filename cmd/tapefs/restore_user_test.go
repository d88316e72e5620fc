package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestRestoreForAnotherUser: who may not give files away gets all of them as their own, with one warning and without the bits
// that would lend their own rights to others.
func TestRestoreForAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root can make files of several owners")
		}
		t.Skip("only root can make files of several owners")
	}
	const uid = 65534
	dir, err := os.MkdirTemp("", "tapefs-restore-") // the folders of t.TempDir are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(path("source/theirs"), 0o755))
	for name, mode := range map[string]os.FileMode{"source/root's": 0o644, "source/theirs/program": 0o755 | os.ModeSetuid, "source/mine": 0o644 | os.ModeSetgid} {
		must(os.WriteFile(path(name), []byte(name), 0o600))
		if name != "source/root's" {
			owner := map[string]int{"source/theirs/program": 1234, "source/mine": uid}[name]
			must(os.Chown(path(name), owner, owner))
		}
		must(os.Chmod(path(name), mode))
	}
	must(os.Symlink("nowhere", path("source/link")))
	for _, name := range []string{".", "source"} {
		must(os.Chown(path(name), uid, uid))
	}
	must(os.Chmod(dir, 0o755))
	copyProgram(t, path("tapefs"))
	run := func(code int, args ...string) (stdout, stderr string) {
		t.Helper()
		cmd := exec.Command(path("tapefs"), append([]string{"--config", path("config.yaml")}, args...)...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != code {
			t.Fatalf("tapefs %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	run(0, "init", "--state", path("state"), "--virtual", path("library"), "--tape-size", "64MiB", "--source", "src="+path("source"))
	// Without a tape all stays where it is, and is restored from there: not on every machine others may mount.
	config, err := os.ReadFile(path("config.yaml"))
	must(err)
	must(os.WriteFile(path("config.yaml"), []byte(strings.Replace(string(config), "format_blank: true", "format_blank: false", 1)), 0o600))
	run(exitOperator, "archive")
	stdout, stderr := run(0, "restore", "/src", "--to", path("back"))
	if !strings.HasPrefix(stdout, "restored: 4 files, ") {
		t.Errorf("it says %s", stdout)
	}
	// The program, its directory, root's file and the link.
	if strings.Count(stderr, "owners were not set") != 1 || !strings.Contains(stderr, "entries=4") {
		t.Errorf("it warns:\n%s", stderr)
	}
	for name, want := range map[string]os.FileMode{"root's": 0o644, "theirs": 0o755, "theirs/program": 0o755, "mine": 0o644 | os.ModeSetgid} {
		info, err := os.Lstat(path("back/src/" + name))
		must(err)
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != uid || info.Mode()&^os.ModeDir != want {
			t.Errorf("%s is %v of %d:%d, not %v", name, info.Mode(), st.Uid, st.Gid, want)
		}
	}
	out, err := exec.Command("rsync", "-rltHnc", "--delete", "--itemize-changes", path("source")+"/", path("back/src")+"/").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("compared: %v\n%s", err, out)
	}
	if _, stderr := run(0, "restore", "/src/mine", "--to", path("own")); strings.Contains(stderr, "owners") {
		t.Errorf("a file of one's own is warned about:\n%s", stderr)
	}
}

// copyProgram puts this test's tapefs where other users can run it.
func copyProgram(t *testing.T, to string) {
	t.Helper()
	from, err := exec.LookPath("tapefs")
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatal(err)
	}
}
