package source

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/archiver/job"
)

func TestParseURL(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url    string
		want   Address
		listed string
	}{
		{"bob@host:/a/b", Address{overSSH, "bob", "host", 0, "", "/a/b"}, "bob@host:/a/b/"},
		{"host:/", Address{overSSH, "", "host", 0, "", "/"}, "host:/"},
		{"host:a b", Address{overSSH, "", "host", 0, "", "a b"}, "host:./a b/"},
		{"host:-x", Address{overSSH, "", "host", 0, "", "-x"}, "host:./-x/"},
		{"host:", Address{overSSH, "", "host", 0, "", ""}, "host:./"},
		{"host:~/x//y/", Address{overSSH, "", "host", 0, "", "x/y"}, "host:./x/y/"},
		{"[fe80::1]:/a:b", Address{overSSH, "", "fe80::1", 0, "", "/a:b"}, "[fe80::1]:/a:b/"},
		{"ssh://bob@host:2222/a", Address{overSSH, "bob", "host", 2222, "", "/a"}, "bob@host:/a/"},
		{"ssh://host/~/a", Address{overSSH, "", "host", 0, "", "a"}, "host:./a/"},
		{"ssh://[::1]:22/a", Address{overSSH, "", "::1", 22, "", "/a"}, "[::1]:/a/"},
		{"rsync://host/mod", Address{overDaemon, "", "host", 0, "mod", ""}, "rsync://host/mod/"},
		{"rsync://bob@host:8730/mod/a/../b/", Address{overDaemon, "bob", "host", 8730, "mod", "b"}, "rsync://bob@host:8730/mod/b/"},
		{"host::mod/a", Address{overDaemon, "", "host", 0, "mod", "a"}, "rsync://host/mod/a/"},
		{"/a/b/", Address{InPlace, "", "", 0, "", "/a/b"}, "/a/b/"},
		{"/", Address{InPlace, "", "", 0, "", "/"}, "/"},
		{"./co:lon", Address{InPlace, "", "", 0, "", wd + "/co:lon"}, wd + "/co:lon/"},
		{"/-dash/a::b", Address{InPlace, "", "", 0, "", "/-dash/a::b"}, "/-dash/a::b/"},
		{"file:///a b", Address{InPlace, "", "", 0, "", "/a b"}, "/a b/"},
	} {
		got, err := ParseAddress(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.url, got, c.want)
		}
		if l := got.Listed(); l != c.listed {
			t.Errorf("%s lists %q, want %q", c.url, l, c.listed)
		}
	}
	for _, url := range []string{
		"", "plain", "a/b:c", "-oProxyCommand=x:/a", "bob@-x:/a", "-l@host:/a", "ho st:/a", "$(x):/a", "@host:/a", ":/a", "host:~bob/a",
		"ssh://host", "ssh://host:0/a", "ssh://host:99999/a", "ssh:///a", "rsync://host", "rsync://host/", "host::", "http://host/a",
		"file://a", "host\x00:/a", "a@[::1:/x",
	} {
		if a, err := ParseAddress(url); err == nil {
			t.Errorf("%q is taken as %+v", url, a)
		} else if !strings.Contains(err.Error(), "source URL") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestFetchedOperand(t *testing.T) {
	a, err := ParseAddress("rsync://host/mod/a b/c")
	if err != nil {
		t.Fatal(err)
	}
	if o, p := a.Fetched(); o != "rsync://host/mod/" || p != "a b/c/./" {
		t.Errorf("%q with prefix %q", o, p)
	}
	if !a.odd() {
		t.Error("a space does not count as odd")
	}
}

func TestPathsInMessages(t *testing.T) {
	for _, c := range []struct{ url, path, want string }{
		{"rsync://host/mod/a b/c", "/a b/c/x/y", "x/y"},
		{"rsync://host/mod/a", "a/x", "x"},
		{"rsync://host/mod/a", "x", "x"},
		{"rsync://host/mod/a", "/other/x", "-"},
		{"rsync://host/mod", "/x", "x"},
		{"rsync://host/mod", "x/y", "x/y"},
		{"host:/", "/x", "x"},
		{"host:/a", "/a/x", "x"},
		{"host:/a", "/ab/x", "-"},
		{"host:/a", "/a", "-"},
		{"host:a/b", "/home/bob/a/b/x", "x"},
		{"host:a/b", "/home/bob/x", "-"},
		{"host:", "/home/bob/x", "-"},
		{"/a", "/a/x", "x"},
	} {
		a, err := ParseAddress(c.url)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := a.relative(c.path)
		if !ok {
			got = "-"
		}
		if got != c.want {
			t.Errorf("%q in a message of %s is %q, want %q", c.path, c.url, got, c.want)
		}
	}
}

// rsync itself splits what quoteShell joins: its remote shell is a script that prints its arguments.
func TestQuoteShellAsRsyncReadsIt(t *testing.T) {
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), `sp ace 'n "quote`)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	shell := filepath.Join(dir, "sh ell")
	log := filepath.Join(dir, "log")
	script := "#!/bin/sh\nfor a; do printf '%s\\0' \"$a\"; done >\"$(dirname \"$0\")/log\"\nexit 1\n"
	if err := os.WriteFile(shell, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-o", `ProxyCommand=nc "%h" '%p'`, "", "'", `"`, `''`, `a'"b`, "tab\there", `back\slash`, "-i", dir + "/id"}
	cmd := exec.Command(rsync, "-n", "-e", quoteShell(append([]string{shell}, args...)), "--", "host:/x", t.TempDir())
	if err := cmd.Run(); err == nil {
		t.Fatal("rsync got on with a shell that fails")
	}
	out, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(string(out), "\x00")
	if len(got) < len(args) || !slices.Equal(got[:len(args)], args) {
		t.Errorf("the shell got other arguments: %s", cmp.Diff(args, got))
	}
}

func TestRemoteOptionsKeepTheUsersChoiceFirst(t *testing.T) {
	a, err := ParseAddress("ssh://host:2222/a")
	if err != nil {
		t.Fatal(err)
	}
	got := a.RemoteOptions(job.Source{SSH: []string{"-i", "a key"}, RsyncPath: "sudo rsync"}, "", true)
	want := []string{"--timeout=1800", "-e", "ssh -i 'a key' -p 2222 -o BatchMode=yes -o ServerAliveInterval=60", "--rsync-path=sudo rsync", "--secluded-args"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRsyncEnv(t *testing.T) {
	got := rsyncEnv([]string{"HOME=/h", "LANG=de_DE", "LC_TIME=de", "TZ=Asia/Tokyo", "RSYNC_RSH=evil", "RSYNC_PASSWORD=p"})
	if d := cmp.Diff([]string{"HOME=/h", "RSYNC_PASSWORD=p", "LC_ALL=C", "TZ=UTC0"}, got); d != "" {
		t.Error(d)
	}
}

func TestComplaints(t *testing.T) {
	a, err := ParseAddress("host:/src")
	if err != nil {
		t.Fatal(err)
	}
	got := Complaints(a, []string{
		`rsync: [sender] send_files failed to open "/src/a b": Permission denied (13)`,
		`rsync: [sender] opendir "/src/d" failed: Permission denied (13)`,
		`rsync: opendir "/src/e" failed: Permission denied (13)`,
		`file has vanished: "/src/q\#012"x"`,
		`rsync: [sender] link_stat "/elsewhere" failed: No such file or directory (2)`,
		`Connection to host closed.`,
		`rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1956) [generator=3.5.0]`,
	})
	want := []Complaint{
		{"a b", "send_files failed to open: Permission denied (13)"},
		{"d", "opendir failed: Permission denied (13)"},
		{"e", "opendir failed: Permission denied (13)"},
		{"q\n\"x", "file has vanished"},
		{"", `rsync: [sender] link_stat "/elsewhere" failed: No such file or directory (2)`},
		{"", "Connection to host closed."},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Complaint{})); d != "" {
		t.Error(d)
	}
}
