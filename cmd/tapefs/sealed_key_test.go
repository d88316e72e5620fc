package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const testPassphrase = "a passphrase, with 'quotes'"

// A server at rest holds no key in the clear: archive, mount, restore, verify, rebuild, and restore.sh work with it.
func TestSealedKey(t *testing.T) {
	src := t.TempDir()
	a := newArchive(t, nil, "--tape-size", "64MiB", "--slots", "2", "--drives", "1", "--source", "src="+src)
	writeRandom(t, filepath.Join(src, "one"), 100_000, 1)
	secret := a.run("key", "print")

	// terminal runs tapefs with a terminal that answers.
	terminal := func(args []string, answers ...string) (out, shown string, err error) {
		t.Helper()
		cmd := a.command(args...)
		var b bytes.Buffer
		cmd.Stdout, cmd.Stderr = &b, &b
		shown, err = onTerminal(t, cmd, "assphrase", answers...)
		if strings.Contains(shown+b.String(), testPassphrase) {
			t.Errorf("tapefs %v shows the passphrase", args)
		}
		return b.String(), shown, err
	}
	// Two answers that differ change nothing.
	cmd := a.command("key", "seal")
	if shown, err := onTerminal(t, cmd, ": ", testPassphrase, testPassphrase+"x"); err == nil || !strings.Contains(shown, "Once more: ") {
		t.Fatalf("two passphrases that differ: %v, %s", err, shown)
	}
	cmd = a.command("key", "seal")
	if shown, err := onTerminal(t, cmd, ": ", testPassphrase, testPassphrase); err != nil || strings.Contains(shown, testPassphrase) {
		t.Fatalf("seal: %v, %s", err, shown)
	}
	keyFiles, err := filepath.Glob(a.path("state/keys/*.key"))
	if err != nil || len(keyFiles) != 1 {
		t.Fatal(keyFiles, err)
	}
	digits := bytes.TrimSpace(copiedKey([]byte(secret)))
	if len(digits) != 64 {
		t.Fatal("key print shows no key")
	}
	// What must not know the key does not ask.
	if out := a.run("key", "list"); !strings.Contains(out, "yes  ") {
		t.Errorf("key list: %s", out)
	}
	a.run("status")

	// Without a terminal and key_command there is no way: exit 2, and a hint.
	for _, args := range [][]string{{"archive"}, {"mount", "--daemon", t.TempDir()}, {"verify", "--openssl"}, {"catalog", "rebuild"}} {
		cmd := a.command(args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "hint: set key_command") {
			t.Errorf("tapefs %v without a terminal: %v\n%s", args, err, out)
		}
	}
	// A wrong one is asked for again; then a run writes.
	out, _, err := terminal([]string{"archive"}, "a wrong passphrase", testPassphrase)
	if err != nil || !strings.Contains(out, "1 file new") {
		t.Fatalf("archive: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(src, "one")); err != nil {
		t.Fatal(err)
	}
	// The mount in the background has its keys from the process that asked.
	mnt := a.path("mnt")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, _, err := terminal([]string{"mount", "--daemon", mnt}, testPassphrase); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
	want := filepath.Join(t.TempDir(), "one")
	writeRandom(t, want, 100_000, 1)
	if out, err := exec.Command("cmp", filepath.Join(mnt, "src/one"), want).CombinedOutput(); err != nil {
		t.Errorf("the mount: %s", out)
	}
	a.unmount(mnt)

	// From here on a program gives the passphrase.
	pass := a.path("pass")
	if err := os.WriteFile(pass, []byte("not the passphrase\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.edit("keys:\n", fmt.Sprintf("key_command: [cat, %q]\nkeys:\n", pass))
	if out := a.fails(1, "verify", "--openssl"); !strings.Contains(out, "wrong passphrase") {
		t.Errorf("wrong passphrase: %s", out)
	}
	if err := os.WriteFile(pass, []byte(testPassphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := a.run("verify", "--openssl"); !strings.Contains(out, "1 file compared by openssl") {
		t.Errorf("verify: %s", out)
	}
	if out := a.run("key", "check", "--tapes", "1"); !strings.Contains(out, "good; 1 object opened and compared") {
		t.Errorf("key check: %s", out)
	}
	a.run("restore", "/src", "--to", a.path("back"))
	compareFiles(t, want, a.path("back/src/one"))
	if err := os.Rename(a.path("state/catalog.db"), a.path("old.db")); err != nil {
		t.Fatal(err)
	}
	if out := a.run("catalog", "rebuild"); !strings.Contains(out, "1 ") {
		t.Errorf("rebuild: %s", out)
	}
	a.run("restore", "/src", "--to", a.path("again"))
	compareFiles(t, want, a.path("again/src/one"))

	// Nothing in the state folder is the key or the passphrase.
	for _, secret := range []string{string(digits), testPassphrase} {
		cmd := exec.Command("grep", "-rlF", "-e", secret, a.path("state"), a.path("library"), a.conf)
		if out, _ := cmd.Output(); len(out) > 0 {
			t.Errorf("a secret lies in %s", out)
		}
	}

	// Without tapefs: openssl asks, restore.sh and the command of README.txt open it.
	tape := copyByHand(t, a.library(), "VT0001L8")
	cmd = exec.Command("/bin/sh", filepath.Join(tape, "restore.sh"), keyFiles[0], a.path("by hand"))
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if shown, err := onTerminal(t, cmd, "password:", testPassphrase); err != nil {
		t.Fatalf("restore.sh: %v\n%s%s", err, shown, said.String())
	}
	compareFiles(t, want, a.path("by hand/src/one"))
	cmd = exec.Command("/bin/sh", filepath.Join(tape, "restore.sh"), keyFiles[0], a.path("by hand 2"))
	said.Reset()
	cmd.Stdout, cmd.Stderr = &said, &said
	if _, err := onTerminal(t, cmd, "password:", "a wrong passphrase"); err == nil || !strings.Contains(said.String(), "wrong passphrase, or the file is damaged") || exists(a.path("by hand 2")) {
		t.Errorf("restore.sh with a wrong passphrase: %v\n%s", err, said.String())
	}

	// The way back.
	a.run("key", "unseal")
	if text, err := os.ReadFile(keyFiles[0]); err != nil || string(text) != string(digits)+"\n" {
		t.Errorf("unsealed: %d bytes, %v", len(text), err)
	}
}

func compareFiles(t *testing.T, want, got string) {
	t.Helper()
	if out, err := exec.Command("cmp", want, got).CombinedOutput(); err != nil {
		t.Errorf("%s: %s", got, out)
	}
}
