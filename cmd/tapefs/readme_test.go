package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeLiterally runs the commands of a tape's README.txt as they stand there, in a shell that has no tapefs. Only
// what a reader has to put in is there under the name that README.txt gives it: KEYFILE, OBJECT and so on are links.
func TestReadmeLiterally(t *testing.T) {
	src := t.TempDir()
	a := newArchive(t, nil, "--tape-size", "64MiB", "--slots", "3", "--drives", "1", "--source", "src="+src)
	a.edit("# bundle_below: 64MiB", "bundle_below: 64KiB")
	writeRandom(t, filepath.Join(src, "first"), 40<<20, 1)
	writeRandom(t, filepath.Join(src, "film"), 30<<20, 2) // one of the two goes on on the second tape
	writeRandom(t, filepath.Join(src, "small\nname"), 1000, 3)
	a.run("archive")
	want := filepath.Join(t.TempDir(), "want")
	cp := func(from, to string) {
		t.Helper()
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%s", out)
		}
	}
	cp(src, want)
	// The small file gets a newer state, in an object of its own: the long way keeps their order.
	writeRandom(t, filepath.Join(src, "small\nname"), 2000, 4)
	a.run("archive")
	cp(filepath.Join(src, "small\nname"), want)

	one, two := copyByHand(t, a.library(), "VT0001L8"), copyByHand(t, a.library(), "VT0002L8")
	keys, err := filepath.Glob(a.path("state/keys/*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	fingerprint := strings.TrimSuffix(filepath.Base(keys[0]), ".key")
	text, err := os.ReadFile(filepath.Join(one, "README.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, ways, ok := strings.Cut(string(text), "\nTHE SHORT WAY\n")
	if !ok {
		t.Fatal("README.txt has no short way")
	}
	var commands []string
	for block := range strings.SplitSeq("\n"+ways, "\n\n") {
		if strings.HasPrefix(block, "    ") {
			commands = append(commands, block)
		}
	}
	if len(commands) != 6 {
		t.Fatalf("%d commands in README.txt, not 6: %q", len(commands), commands)
	}
	link := func(to string, name ...string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(name...)); err != nil {
			t.Fatal(err)
		}
	}
	var dir string
	run := func(command, stdin string) string {
		t.Helper()
		cmd := exec.Command("/bin/sh", "-c", command)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
		cmd.Stdin = strings.NewReader(stdin)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", command, err, out, stderr.String())
		}
		return string(out)
	}
	if out, err := exec.Command("env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", "command -v tapefs").Output(); err == nil {
		t.Fatalf("the shell of this test has tapefs: %s", out)
	}

	// The short way. What is in brackets is left out, or named.
	dir = one
	link(keys[0], one, "KEYFILE")
	link(two, one, "second tape")
	run(strings.Replace(commands[0], "[TAPE-DIRECTORY...]", ". 'second tape'", 1), "")
	compareTrees(t, want, filepath.Join(one, "TARGET-DIRECTORY/src"))

	// 0: a sealed key. openssl takes the passphrase from where it can; here from a terminal.
	dir = t.TempDir()
	seal := exec.Command("openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "2000000", "-md", "sha256", "-salt", "-pass", "pass:the passphrase", "-in", keys[0], "-out", filepath.Join(dir, "SEALED-KEYFILE"))
	if out, err := seal.CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	open := exec.Command("/bin/sh", "-c", commands[1])
	open.Dir = dir
	if shown, err := onTerminal(t, open, "password:", "the passphrase"); err != nil {
		t.Fatalf("%s: %v\n%s", commands[1], err, shown)
	}
	compareFiles(t, keys[0], filepath.Join(dir, "KEYFILE"))

	// 1: which key.
	if out := run(commands[2], ""); !strings.HasPrefix(out, fingerprint) {
		t.Errorf("the fingerprint is %s, README.txt computes %s", fingerprint, out)
	}

	// 2: an object.
	dir = two
	link(keys[0], two, "KEYFILE")
	link(fingerprint, two, "tapefs/FINGERPRINT")
	whole, err := filepath.Glob(filepath.Join(two, "tapefs", fingerprint, strings.Repeat("[0-9a-f]", 32)+".tar.enc"))
	if err != nil || len(whole) == 0 {
		t.Fatalf("whole objects: %v, %v", whole, err)
	}
	link(filepath.Base(whole[0]), two, "tapefs/FINGERPRINT/OBJECT.tar.enc")
	if out := run(commands[3], ""); !strings.Contains(out, " src/") {
		t.Errorf("step 2 lists %q", out)
	}
	os.Remove(filepath.Join(two, "tapefs/FINGERPRINT/OBJECT.tar.enc"))

	// 3: one in pieces, from both tapes.
	dir = t.TempDir()
	link(keys[0], dir, "KEYFILE")
	if err := os.Mkdir(filepath.Join(dir, "TARGET-DIRECTORY"), 0o755); err != nil {
		t.Fatal(err)
	}
	pieces, err := filepath.Glob(filepath.Join(two, "tapefs", fingerprint, "*.tar.enc.0*"))
	if err != nil || len(pieces) == 0 {
		t.Fatalf("pieces on the second tape: %v, %v", pieces, err)
	}
	object := strings.Split(filepath.Base(pieces[0]), ".")[0]
	names := map[string]string{}
	for _, tape := range []string{one, two} {
		found, err := filepath.Glob(filepath.Join(tape, "tapefs", fingerprint, object+".tar.enc.0*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			names["OBJECT"+strings.TrimPrefix(filepath.Base(f), object)] = f
		}
	}
	for name, f := range names {
		link(f, dir, name)
	}
	command := commands[4]
	for n := 3; n <= len(names); n++ { // "and so on"
		name := "OBJECT.tar.enc.000" + string(rune('0'+n))
		command = strings.Replace(command, " |", " "+name+" |", 1)
	}
	run(command, "")
	large, err := filepath.Glob(filepath.Join(dir, "TARGET-DIRECTORY/src/*"))
	if err != nil || len(large) != 1 {
		t.Fatalf("out of the pieces came %v, %v", large, err)
	}
	compareFiles(t, filepath.Join(want, filepath.Base(large[0])), large[0])

	// 4: all that is whole, the newest state last.
	dir = two
	if err := os.Mkdir(filepath.Join(two, "TARGET-DIRECTORY"), 0o755); err != nil {
		t.Fatal(err)
	}
	run(commands[5], "")
	compareFiles(t, filepath.Join(want, "small\nname"), filepath.Join(two, "TARGET-DIRECTORY/src/small\nname"))
}
