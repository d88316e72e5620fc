package main

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSafeOverSSH: a listing over ssh tells whole seconds only. A file that was changed within the second of its time
// is not called safe, nor one that changed so shortly before it was taken that nobody can tell.
func TestSafeOverSSH(t *testing.T) {
	ssh := testSSHD(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "so urce")
	if err := os.MkdirAll(filepath.Join(source, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	recent := time.Now().Add(-time.Hour).Truncate(time.Second).Add(500 * time.Millisecond)
	write := func(name, content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(source, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"dir/bad\xff", "dir/new\nline", "old", "plain", `tricky\#012`, "unchanged", "within"}
	for _, name := range names {
		write(name, "one", recent)
	}
	write("old", "one", recent.AddDate(-10, 0, 0))
	write("soon", "one", time.Now().Add(time.Hour)) // as if changed after it was looked at, by the source's clock
	quoted := make([]string, len(ssh))
	for i, arg := range ssh {
		quoted[i] = `"` + arg + `"`
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, `# ssh: ["-p", "2222", "-i", "/root/.ssh/id_archive"]`, "ssh: ["+strings.Join(quoted, ", ")+"]", 1)
	}, "--tape-size", "64MiB", "--source", "src="+me.Username+"@127.0.0.1:"+source)
	a.run("archive")

	safe := func(wantExit int) ([]string, string) {
		t.Helper()
		cmd := a.command("safe", "-0", "src")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if code := cmd.ProcessState.ExitCode(); code != wantExit {
			t.Fatalf("safe: exit %d, %v\n%s", code, err, stderr.String())
		}
		list := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		slices.Sort(list)
		return list, stderr.String()
	}
	list, text := safe(exitPartial)
	if !slices.Equal(list, names) || !strings.Contains(text, "not safe: 1 taken too soon") {
		t.Errorf("safe are %q, not %q: %s", list, names, text)
	}
	write("within", "two", recent.Add(time.Millisecond))
	if err := os.Remove(filepath.Join(source, "soon")); err != nil {
		t.Fatal(err)
	}
	list, text = safe(exitPartial)
	want := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "within" })
	if !slices.Equal(list, want) || !strings.Contains(text, "not safe: 1 same second") {
		t.Errorf("safe are %q, not %q: %s", list, want, text)
	}

	// What is called safe may be removed by the very list, and all of it comes back.
	cmd := exec.Command("sh", "-c", `xargs -0 rm --`)
	cmd.Dir, cmd.Stdin = source, strings.NewReader(strings.Join(list, "\x00")+"\x00")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("xargs rm: %v\n%s", err, out)
	}
	a.run("restore", "/src", "--to", a.path("back"))
	for _, name := range want {
		if b, err := os.ReadFile(filepath.Join(a.path("back/src"), name)); err != nil || string(b) != "one" {
			t.Errorf("%q came back as %q, %v", name, b, err)
		}
	}
}
