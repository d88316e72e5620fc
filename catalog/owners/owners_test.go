package owners

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// directory puts a getent into a folder that knows one user and one group of a directory server, and records how it is
// asked.
func directory(t *testing.T, script string) (program, asked string) {
	t.Helper()
	dir := t.TempDir()
	program, asked = filepath.Join(dir, "getent"), filepath.Join(dir, "asked")
	text := fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s\n%s\n", asked, script)
	if err := os.WriteFile(program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return program, asked
}

const ldap = `
case "$1 $3" in
"passwd anna"|"passwd 70001") echo "anna:*:70001:70000:Anna:/home/anna:/bin/sh" ;;
"group film crew"|"group 70000") echo "film crew:*:70000:anna" ;;
"passwd alias") echo "anna:*:70001:70000:Anna:/home/anna:/bin/sh" ;;
*) exit 2 ;;
esac`

func TestNamesOfDirectoryServers(t *testing.T) {
	n := New()
	program, asked := directory(t, ldap)
	n.getent = program
	for range 2 { // the second time from memory
		if id, ok := n.Number(User, "anna"); !ok || id != 70001 {
			t.Errorf("anna: %d, %v", id, ok)
		}
		if id, ok := n.Number(Group, "film crew"); !ok || id != 70000 {
			t.Errorf("film crew: %d, %v", id, ok)
		}
		if name, ok := n.Name(User, 70001); !ok || name != "anna" {
			t.Errorf("70001: %q, %v", name, ok)
		}
		if name, ok := n.Name(Group, 70000); !ok || name != "film crew" {
			t.Errorf("group 70000: %q, %v", name, ok)
		}
		for _, name := range []string{"nobody here", "alias", "--help"} {
			if id, ok := n.Number(User, name); ok {
				t.Errorf("%s: %d", name, id)
			}
		}
	}
	const want = "passwd -- anna\ngroup -- film crew\npasswd -- 70001\ngroup -- 70000\npasswd -- nobody here\npasswd -- alias\npasswd -- --help\n"
	if got, err := os.ReadFile(asked); err != nil || string(got) != want {
		t.Errorf("getent was asked (%v):\n%swant:\n%s", err, got, want)
	}
}

// What this machine's own files know is not asked for, and a number never passes for a name: a source could call
// somebody 0.
func TestLocalNamesAndNumbers(t *testing.T) {
	n := New()
	program, asked := directory(t, `echo "0:*:0:0::/:/bin/sh"`)
	n.getent = program
	if id, ok := n.Number(User, "root"); !ok || id != 0 {
		t.Errorf("root: %d, %v", id, ok)
	}
	if name, ok := n.Name(Group, 0); !ok || name != "root" {
		t.Errorf("group 0: %q, %v", name, ok)
	}
	for _, name := range []string{"", "0", "+0", "-1", "a:b", "a\nb"} {
		if id, ok := n.Number(User, name); ok {
			t.Errorf("%q: %d", name, id)
		}
	}
	if got, err := os.ReadFile(asked); err == nil {
		t.Errorf("getent was asked:\n%s", got)
	}
}

// A directory server that is away is not taken for one that knows nobody.
func TestSilentDirectoryServer(t *testing.T) {
	n := New()
	program, asked := directory(t, "sleep 60")
	n.getent = program
	if id, ok := n.Number(User, "anna"); ok {
		t.Errorf("anna: %d", id)
	}
	if _, ok := n.Number(User, "berta"); ok {
		t.Error("berta is known")
	}
	if got, err := os.ReadFile(asked); err != nil || string(got) != "passwd -- anna\n" {
		t.Errorf("getent was asked (%v):\n%s", err, got)
	}
	n.silent = n.silent.Add(-getentPause)
	program, _ = directory(t, ldap)
	n.getent = program
	if id, ok := n.Number(User, "anna"); !ok || id != 70001 {
		t.Errorf("when it is back, anna: %d, %v", id, ok)
	}
}

// A getent that prints without end is no more than a wrong answer.
func TestGetentFloods(t *testing.T) {
	script, _ := directory(t, "printf 'ida:x:1234:5678:'; head -c 50000000 /dev/zero | tr '\\0' x")
	n := New()
	n.getent = script
	fields, sure := n.ask(User, "ida")
	if !sure || len(fields) != 5 || len(fields[4]) > 64<<10 {
		t.Errorf("%d fields, sure %v", len(fields), sure)
	}
}
