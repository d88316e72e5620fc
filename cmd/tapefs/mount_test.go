package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMountEnds: SIGINT, SIGTERM and umount end a mount in the foreground cleanly, also while a
// volume is mounted for its readers; an open file is waited for.
func TestMountEnds(t *testing.T) {
	source := t.TempDir()
	want := bytes.Repeat([]byte("picture"), 1000)
	if err := os.WriteFile(filepath.Join(source, "file"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, nil, "--tape-size", "64MiB", "--source", "src="+source)
	a.run("archive")
	if err := os.Remove(filepath.Join(source, "file")); err != nil {
		t.Fatal(err)
	}
	mnt := a.path("mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func(*exec.Cmd) error{
		"SIGINT":  func(cmd *exec.Cmd) error { return cmd.Process.Signal(os.Interrupt) },
		"SIGTERM": func(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) },
		"umount":  func(*exec.Cmd) error { return exec.Command("umount", mnt).Run() },
	} {
		if err := os.RemoveAll(a.path("state/cache")); err != nil {
			t.Fatal(err)
		}
		cmd := a.command("mount", mnt)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		waitUntil(t, "the mount answers", func() bool { return exists(filepath.Join(mnt, "src/file")) })
		f, err := os.Open(filepath.Join(mnt, "src/file"))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: read: %v", name, err)
		}
		if name != "umount" {
			if err := end(cmd); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-ended:
				t.Fatalf("%s ended the mount under an open file: %v", name, err)
			case <-time.After(700 * time.Millisecond):
			}
			if _, err := f.ReadAt(got, 0); err != nil {
				t.Errorf("%s: the open file cannot be read any more: %v", name, err)
			}
			f.Close()
		} else {
			f.Close()
			waitUntil(t, "umount", func() bool { return end(cmd) == nil })
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%s: the mount ended with %v\n%s", name, err, stderr.String())
			}
		case <-time.After(2 * time.Minute):
			cmd.Process.Signal(syscall.SIGQUIT)
			t.Fatalf("%s: the mount does not end\n%s", name, stderr.String())
		}
		if left := mountsBelow(a.dir); len(left) > 0 {
			t.Errorf("%s left mounts behind: %v", name, left)
		}
	}
}

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never", what)
		}
	}
}

// TestServedFromSpool: without a tape the fetched files wait in the spool and can be read there; the
// run says what it needs (exit 4), and a later one with a tape writes them although the source is gone.
func TestServedFromSpool(t *testing.T) {
	ssh := testSSHD(t)
	source := filepath.Join(t.TempDir(), "source")
	if err := os.MkdirAll(filepath.Join(source, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "dir/two"} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	quoted := make([]string, len(ssh))
	for i, arg := range ssh {
		quoted[i] = fmt.Sprintf("%q", arg)
	}
	a := newArchive(t, func(text string) string {
		text = strings.Replace(text, "format_blank: true", "format_blank: false", 1)
		return strings.Replace(text, `# ssh: ["-p", "2222", "-i", "/root/.ssh/id_archive"]`, "ssh: ["+strings.Join(quoted, ", ")+"]", 1)
	}, "--tape-size", "64MiB", "--source", "src=127.0.0.1:"+source)
	out, err := a.command("archive").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitOperator || !strings.Contains(string(out), "hint: ") {
		t.Fatalf("archive without tapes: %v\n%s", err, out)
	}
	if err := os.RemoveAll(source); err != nil {
		t.Fatal(err)
	}
	read := func(mnt string) {
		t.Helper()
		for _, name := range []string{"one", "dir/two"} {
			if got, err := os.ReadFile(filepath.Join(mnt, "src", name)); err != nil || string(got) != name {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
	before := len(a.events(0))
	mnt := a.mount()
	read(mnt)
	if state := xattr(t, filepath.Join(mnt, "src/one"), "user.tapefs.state"); state != "spool" {
		t.Errorf("state %q", state)
	}
	a.unmount(mnt)
	if moved := a.events(before); len(moved) > 0 {
		t.Errorf("reading the spool used the library: %v", moved)
	}

	a.run("tape", "format", "VT0003L8")
	if out, err := a.command("archive").CombinedOutput(); err == nil {
		t.Errorf("archive is content although its source is gone:\n%s", out)
	}
	if out := a.run("status", "--json"); !strings.Contains(out, `"owed": []`) {
		t.Errorf("copies are still owed:\n%s", out)
	}
	mnt = a.mount()
	read(mnt)
	if tapes := xattr(t, filepath.Join(mnt, "src/one"), "user.tapefs.tapes"); tapes != "VT0003L8" {
		t.Errorf("tapes %q", tapes)
	}
	a.unmount(mnt)
}

func xattr(t *testing.T, path, name string) string {
	t.Helper()
	buf := make([]byte, 1000)
	n, err := syscall.Getxattr(path, name, buf)
	if err != nil {
		t.Errorf("%s of %s: %v", name, path, err)
		return ""
	}
	return string(buf[:n])
}
