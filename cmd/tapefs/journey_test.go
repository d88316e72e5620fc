package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer/virtual"
)

// archive is a state folder with a virtual library, as init makes them.
type archive struct {
	t    *testing.T
	dir  string
	conf string
}

// newArchive runs tapefs init. edit changes the configuration's text, and may be nil.
func newArchive(t *testing.T, edit func(string) string, initArgs ...string) *archive {
	t.Helper()
	needFuse(t)
	dir := t.TempDir()
	t.Cleanup(func() { unmountBelow(dir) })
	a := &archive{t: t, dir: dir, conf: filepath.Join(dir, "config.yaml")}
	a.run(append([]string{"init", "--state", filepath.Join(dir, "state"), "--virtual", filepath.Join(dir, "library")}, initArgs...)...)
	if edit != nil {
		text, err := os.ReadFile(a.conf)
		if err != nil {
			t.Fatal(err)
		}
		edited := edit(string(text))
		if edited == string(text) {
			t.Fatal("the edit changed nothing in the configuration")
		}
		if err := os.WriteFile(a.conf, []byte(edited), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func (a *archive) path(name string) string { return filepath.Join(a.dir, name) }

func (a *archive) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tapefs", append([]string{"--config", a.conf}, args...)...)
	cmd.Dir = a.dir
	return cmd
}

// run runs tapefs and returns its standard output.
func (a *archive) run(args ...string) string {
	a.t.Helper()
	cmd := a.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		a.t.Fatalf("tapefs %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// mount mounts the archive and unmounts it at the end of the test.
func (a *archive) mount() string {
	a.t.Helper()
	dir := a.path("mnt")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		a.t.Fatal(err)
	}
	a.run("mount", "--daemon", dir)
	return dir
}

// unmount ends the mount and waits until its process gave its tape back.
func (a *archive) unmount(dir string) {
	a.t.Helper()
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		a.t.Fatalf("umount: %v\n%s", err, out)
	}
	for deadline := time.Now().Add(time.Minute); len(mountsBelow(a.dir)) > 0 || processesNaming(a.dir); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatalf("the mount's process does not end; mounted: %v", mountsBelow(a.dir))
		}
	}
}

func (a *archive) library() *virtual.Library {
	a.t.Helper()
	lib, err := virtual.Open(a.path("library"))
	if err != nil {
		a.t.Fatal(err)
	}
	return lib
}

// events returns the library's log from the n-th event on.
func (a *archive) events(n int) []virtual.Event {
	a.t.Helper()
	events, err := a.library().Log()
	if err != nil {
		a.t.Fatal(err)
	}
	return events[n:]
}

// testSSHD starts an sshd on 127.0.0.1 with keys of its own and returns the ssh arguments to reach it.
func testSSHD(t *testing.T) []string {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd = "/usr/sbin/sshd"; !exists(sshd) {
			if os.Getenv("CI") == "true" {
				t.Fatal("sshd is missing")
			}
			t.Skip("sshd is missing: make deps")
		}
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"host", "user"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %d\nHostKey %s/host\nAuthorizedKeysFile %s/user.pub\nStrictModes no\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nUsePAM no\nPidFile none\n", port, dir, dir)
	if err := os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		log.Close()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if text, _ := os.ReadFile(log.Name()); bytes.Contains(text, []byte("Server listening")) {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("sshd does not start: %s", text)
		}
	}
	return []string{"-p", fmt.Sprint(port), "-i", filepath.Join(dir, "user"),
		"-o", "UserKnownHostsFile=" + filepath.Join(dir, "known_hosts"), "-o", "StrictHostKeyChecking=accept-new"}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// oddNames are names that Linux allows and programs stumble over.
var oddNames = []string{
	"with space", " leading space", "trailing space ", "new\nline", "tab\there", "quote'single", `quote"double`,
	"-dash", "--delete", "co:lon", "host:path", `back\slash`, `literal\#012`, `\#`, "star*", "quest?", "[brackets]", "$HOME", "`id`",
	";semi", "#hash", "~tilde", "ünïcödé", "日本語", "e\u0301 decomposed", "invalid\xff\xfe", "\x01\x02control", "del\x7f",
	strings.Repeat("n", 255), strings.Repeat("é", 127), "...", "..dots", "%percent", "{braces}", "=equals", "@at", "!bang",
}

// makeTree fills dir with at least 2,000 files, 0 bytes to 200 MiB, odd names and links.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	r := rand.NewChaCha8([32]byte{1})
	n := rand.New(r)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	when := func(i int) time.Time { return time.Unix(1_000_000_000+int64(i)*86_411, int64(n.IntN(1_000_000_000))) }
	write := func(name string, size int64, i int) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		must(err)
		_, err = io.CopyN(f, r, size)
		must(err)
		must(f.Close())
		must(os.Chtimes(f.Name(), when(i), when(i)))
	}
	mkdir := func(name string) { t.Helper(); must(os.MkdirAll(filepath.Join(dir, name), 0o755)) }

	mkdir("odd")
	for i, name := range oddNames {
		write(filepath.Join("odd", name), int64(i*37), i)
	}
	mkdir("odd dirs")
	for _, name := range oddNames {
		mkdir(filepath.Join("odd dirs", name))
		write(filepath.Join("odd dirs", name, "inside "+name[:1]), 100, 7)
	}
	for d := range 20 {
		sub := fmt.Sprintf("many/%02d/deeper", d)
		mkdir(sub)
		for i := range 100 {
			size := int64(n.IntN(20_000))
			if i == 0 {
				size = 0
			}
			write(fmt.Sprintf("%s/file %03d.dat", sub, i), size, i)
		}
	}
	mkdir("big")
	write("big/film.mkv", 200<<20, 1)
	write("big/at the limit.bin", 64<<20, 2)
	write("big/below the limit.bin", 64<<20-1, 3)
	for i, size := range []int64{1, 511, 512, 513, 4<<20 - 16, 4<<20 - 15, 4 << 20, 4<<20 + 1, 8<<20 - 1552} {
		write(fmt.Sprintf("big/edge %d", i), size, i)
	}
	mkdir("empty/emptier")
	must(os.Symlink("film.mkv", filepath.Join(dir, "big/link")))
	must(os.Symlink("/nowhere/at all", filepath.Join(dir, "big/dangling")))
	must(os.Symlink("new\nline \xff", filepath.Join(dir, "big/odd target")))
	must(os.Symlink("..", filepath.Join(dir, "many/up")))
	mkdir("links")
	write("links/first", 5000, 4)
	must(os.Link(filepath.Join(dir, "links/first"), filepath.Join(dir, "links/second")))
	must(os.Link(filepath.Join(dir, "links/first"), filepath.Join(dir, "many/third -> name")))
	must(os.Link(filepath.Join(dir, "big/at the limit.bin"), filepath.Join(dir, "links/big again")))
	for i, mode := range []os.FileMode{0o600, 0o444, 0o777, 0o755 | os.ModeSetuid, 0o755 | os.ModeSetgid, 0o000} {
		name := fmt.Sprintf("links/mode %d", i)
		write(name, 10, i)
		must(os.Chmod(filepath.Join(dir, name), mode))
	}
	must(os.Chmod(filepath.Join(dir, "empty"), 0o755|os.ModeSticky))
	write("before the epoch", 10, 0)
	must(os.Chtimes(filepath.Join(dir, "before the epoch"), time.Unix(-86_400, 500_000_000), time.Unix(-86_400, 500_000_000)))
	write("far future", 10, 0)
	must(os.Chtimes(filepath.Join(dir, "far future"), time.Unix(4_200_000_000, 1), time.Unix(4_200_000_000, 1)))
	must(syscall.Mkfifo(filepath.Join(dir, "a fifo"), 0o644))
	if os.Geteuid() == 0 {
		must(os.Lchown(filepath.Join(dir, "links/mode 0"), 1, 2)) // daemon, bin
		must(os.Lchown(filepath.Join(dir, "big/link"), 65534, 65534))
	}
	// Directories last: making their entries changed their times.
	i := 0
	must(filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			i++
			must(os.Chtimes(path, when(i), when(i)))
		}
		return err
	}))
}

// compareTrees lists the differences between two trees with rsync: type, size, bytes, mode,
// time, owner, links.
func compareTrees(t *testing.T, want, got string) {
	t.Helper()
	cmd := exec.Command("rsync", "-aHnc", "--delete", "--itemize-changes", want+"/", got+"/")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("compare: %v\n%s", err, out)
	}
	if len(out) > 0 {
		lines := strings.SplitAfterN(string(out), "\n", 41)
		t.Errorf("rsync sees differences:\n%s", strings.Join(lines[:len(lines)-1], ""))
	}
}

// compareTimes checks nanoseconds, which rsync compares only between rsyncs that transfer them.
func compareTimes(t *testing.T, want, got string) {
	t.Helper()
	err := filepath.WalkDir(want, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(want, path)
		if err != nil {
			return err
		}
		a, err := os.Lstat(path)
		if err != nil {
			return err
		}
		b, err := os.Lstat(filepath.Join(got, rel))
		if err != nil {
			return err
		}
		if a.Mode()&os.ModeNamedPipe == 0 && !a.ModTime().Equal(b.ModTime()) {
			t.Errorf("%q: modified %v, want %v", rel, b.ModTime(), a.ModTime())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestJourney is the main job: a tree over ssh onto tape; then source and spool are gone, and all
// comes back through the mount, and through the tape's restore.sh without tapefs.
func TestJourney(t *testing.T) {
	if testing.Short() {
		t.Skip("archives several hundred MiB")
	}
	ssh := testSSHD(t)
	source := filepath.Join(t.TempDir(), "source")
	makeTree(t, source)
	reference := filepath.Join(t.TempDir(), "reference")
	if out, err := exec.Command("cp", "-a", source, reference).CombinedOutput(); err != nil {
		t.Fatalf("cp -a: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(reference, "a fifo")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(source); err != nil {
		t.Fatal(err)
	} else if err := os.Chtimes(reference, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}

	quoted := make([]string, len(ssh))
	for i, arg := range ssh {
		quoted[i] = fmt.Sprintf("%q", arg)
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, `# ssh: ["-p", "2222", "-i", "/root/.ssh/id_archive"]`, "ssh: ["+strings.Join(quoted, ", ")+"]", 1)
	}, "--tape-size", "2GiB", "--source", "tree=127.0.0.1:"+source)

	out := a.run("archive")
	if !strings.Contains(out, "1 skipped (sockets, fifos, devices)") {
		t.Errorf("archive does not say that a fifo was skipped:\n%s", out)
	}
	before := len(a.events(0))
	if out := a.run("archive"); !strings.Contains(out, "archived: 0 files new, 0 changed, 0 vanished") {
		t.Errorf("the second run is not quiet: %s", out)
	}
	if moved := a.events(before); len(moved) > 0 {
		t.Errorf("a second run with nothing new used the library: %v", moved)
	}

	if err := os.RemoveAll(source); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(a.path("state/spool")); err != nil {
		t.Fatal(err)
	}
	mnt := a.mount()
	compareTrees(t, reference, filepath.Join(mnt, "tree"))
	compareTimes(t, reference, filepath.Join(mnt, "tree"))
	a.unmount(mnt)

	back := a.path("back")
	a.run("restore", "/tree", "--to", back)
	compareTrees(t, reference, filepath.Join(back, "tree"))
	compareTimes(t, reference, filepath.Join(back, "tree"))

	restored := restoreWithoutTapefs(t, a)
	compareTrees(t, reference, filepath.Join(restored, "tree"))
	compareTimes(t, reference, filepath.Join(restored, "tree"))
}

// restoreWithoutTapefs mounts each tape by hand and runs its restore.sh in a shell that has no tapefs.
func restoreWithoutTapefs(t *testing.T, a *archive) string {
	t.Helper()
	lib := a.library()
	keys, err := filepath.Glob(a.path("state/keys/*.key"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("one key file expected, found %v, %v", keys, err)
	}
	var tapes []struct {
		Barcode string `json:"barcode"`
	}
	if err := json.Unmarshal([]byte(a.run("tape", "list", "--json")), &tapes); err != nil {
		t.Fatal(err)
	}
	if len(tapes) == 0 {
		t.Fatal("no tapes were written")
	}
	target := filepath.Join(t.TempDir(), "restored")
	program := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(filepath.Join(lib.Bin, name), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	for _, tape := range tapes {
		status := program("mtx", "-f", lib.Changer, "status")
		if !strings.Contains(status, "Loaded):VolumeTag = "+tape.Barcode) || !strings.Contains(strings.SplitN(status, "\n", 3)[1], tape.Barcode) {
			t.Fatalf("this test expects %s in drive 0, where archive left it:\n%s", tape.Barcode, status)
		}
		dir := filepath.Join(t.TempDir(), "tape")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unmountBelow(dir) })
		program("ltfs", "-o", "devname="+lib.Drives[0].Device, dir)
		cmd := exec.Command("/bin/sh", filepath.Join(dir, "restore.sh"), "--set-id", keys[0], target, dir)
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("restore.sh: %v\n%s", err, out)
		}
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Fatalf("umount: %v\n%s", err, out)
		}
		unmountBelow(dir)
	}
	return target
}

// TestLastBytes: the end of a large file comes without the rest of it.
func TestLastBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("archives 1 GiB")
	}
	source := t.TempDir()
	const size = 1 << 30
	f, err := os.Create(filepath.Join(source, "large"))
	if err != nil {
		t.Fatal(err)
	}
	tail := make([]byte, 4096)
	rand.NewChaCha8([32]byte{2}).Read(tail)
	if _, err := f.WriteAt(tail, size-int64(len(tail))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, nil, "--tape-size", "3GiB", "--source", "local="+source)
	a.run("archive")
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	before := len(a.events(0))
	mnt := a.mount()
	got, err := os.Open(filepath.Join(mnt, "local/large"))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	buf := make([]byte, len(tail))
	if _, err := got.ReadAt(buf, size-int64(len(tail))); err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(buf) != sha256.Sum256(tail) {
		t.Error("the last 4 KiB are wrong")
	}
	got.Close()
	a.unmount(mnt)

	var delivered int64
	for _, e := range a.events(before) {
		if e.Kind == "read" {
			delivered += e.Bytes
		}
	}
	t.Logf("the drive delivered %d bytes", delivered)
	if delivered == 0 || delivered > 16<<20 {
		t.Errorf("the drive delivered %d bytes for the last 4 KiB of 1 GiB", delivered)
	}
}
