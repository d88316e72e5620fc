package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clients is an archive of large and small files whose source is gone, for programs that look at it through the mount.
type clients struct {
	*archive
	reference string // what was archived
}

const (
	filmSize  = 40 << 20
	albumSize = 60 // pictures
)

func newClients(t *testing.T) *clients {
	t.Helper()
	if testing.Short() {
		t.Skip("archives 250 MiB")
	}
	reference := filepath.Join(t.TempDir(), "reference")
	for a, album := range []string{"album", "other album"} {
		if err := os.MkdirAll(filepath.Join(reference, album), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range albumSize {
			writeRandom(t, filepath.Join(reference, album, fmt.Sprintf("picture %02d.jpg", i)), 20_000, byte(a*albumSize+i))
		}
	}
	for i, name := range []string{"film.mkv", "old film.avi", "rest.bin"} {
		writeRandom(t, filepath.Join(reference, name), filmSize, byte(200+i))
	}
	writeRandom(t, filepath.Join(reference, "viewed.dat"), 60<<20, 209)
	writeRandom(t, filepath.Join(reference, "shared.bin"), 6<<20, 210)
	pack := exec.Command("zip", "-q", "-0", "pictures.zip", "rest.bin", "album/picture 00.jpg")
	pack.Dir = reference
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("zip: %v\n%s", err, out)
	}
	source := filepath.Join(t.TempDir(), "source")
	if out, err := exec.Command("cp", "-a", reference, source).CombinedOutput(); err != nil {
		t.Fatalf("cp -a: %v\n%s", err, out)
	}
	c := &clients{newArchive(t, nil, "--tape-size", "1GiB", "--source", "src="+source), reference}
	c.run("archive")
	if err := os.RemoveAll(source); err != nil {
		t.Fatal(err)
	}
	return c
}

// delivered is how many bytes the virtual drives gave while use looked at the mounted source.
func (c *clients) delivered(use func(src string)) int64 {
	c.t.Helper()
	before := len(c.events(0))
	mnt := c.mount()
	use(filepath.Join(mnt, "src"))
	c.unmount(mnt)
	var bytes int64
	for _, e := range c.events(before) {
		if e.Kind == "read" {
			bytes += e.Bytes
		}
	}
	return bytes
}

// output is what a program prints, which must end well.
func (c *clients) output(name string, args ...string) string {
	c.t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

// same compares what a program made of a file with the file.
func (c *clients) same(name, got string) {
	c.t.Helper()
	if out, err := exec.Command("cmp", filepath.Join(c.reference, name), got).CombinedOutput(); err != nil {
		c.t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// TestClients: programs that people use look at files of 40 MiB and at folders of pictures, and each brings in only what
// it looks at.
func TestClients(t *testing.T) {
	c := newClients(t)
	type client struct {
		name    string
		use     func(src string)
		atLeast int64 // bytes
		atMost  int64
	}
	few := int64(4 * 4 << 20) // some extents of 4 MiB: what is wanted may lie across two, and is read ahead a little
	all := []client{
		{"ls -lR and find", func(src string) {
			c.output("ls", "-lR", src)
			c.output("find", src, "-size", "+1M", "-newer", "/etc/passwd")
		}, 0, 0},
		{"tar of a folder", func(src string) {
			tar := filepath.Join(t.TempDir(), "album.tar")
			c.output("tar", "-cf", tar, "-C", src, "album")
			out := t.TempDir()
			c.output("tar", "-xf", tar, "-C", out)
			compareTrees(t, filepath.Join(c.reference, "album"), filepath.Join(out, "album"))
		}, 1, few},
		{"ffprobe, which looks at both ends", func(src string) {
			head := c.output("head", "-c", "65536", filepath.Join(src, "film.mkv"))
			tail := c.output("tail", "-c", "65536", filepath.Join(src, "film.mkv"))
			want, err := os.ReadFile(filepath.Join(c.reference, "film.mkv"))
			if err != nil || head != string(want[:65536]) || tail != string(want[filmSize-65536:]) {
				t.Errorf("the ends differ: %v", err)
			}
		}, 1, 2 * few},
		{"dd of a page in the middle", func(src string) {
			c.output("dd", "if="+filepath.Join(src, "old film.avi"), "of=/dev/null", "bs=4k", "skip=5000", "count=1", "status=none")
		}, 1, few},
		{"unzip -l, which reads the end", func(src string) {
			if out := c.output("unzip", "-l", filepath.Join(src, "pictures.zip")); !strings.Contains(out, "album/picture 00.jpg") {
				t.Errorf("unzip lists\n%s", out)
			}
		}, 1, few},
		// It asks file(1) what it shows, which reads 7 MiB at either end: long enough for the drive to go on reading ahead.
		{"Midnight Commander's viewer", func(src string) { view(t, filepath.Join(src, "viewed.dat")) }, 1, 3 * few},
		{"rsync from the mount", func(src string) {
			out := filepath.Join(t.TempDir(), "copied")
			c.output("rsync", "-a", filepath.Join(src, "other album")+"/", out+"/")
			compareTrees(t, filepath.Join(c.reference, "other album"), out)
		}, 1, few},
		{"rsync, when it has all but large files", func(src string) {
			out := c.output("rsync", "-a", "--itemize-changes", src+"/", c.reference+"/")
			if strings.Contains(out, ">f") {
				t.Errorf("rsync copied again:\n%s", out)
			}
		}, 0, 0},
	}
	if os.Geteuid() == 0 { // smbd wants to be root
		all = append(all, client{"Samba: a file that is cached, and 6 MiB", c.samba, 4 << 20, 6<<20 + few})
	}
	for _, one := range all {
		got := c.delivered(one.use)
		t.Logf("%-42s %9d bytes", one.name, got)
		if got < one.atLeast || got > one.atMost {
			t.Errorf("%s: the drive delivered %d bytes, want %d to %d", one.name, got, one.atLeast, one.atMost)
		}
	}
}

// view opens a file in mcview on a terminal, sees its first page, and leaves it.
func view(t *testing.T, path string) {
	t.Helper()
	cmd := exec.Command("script", "-qec", "mcview '"+path+"'", "/dev/null")
	cmd.Env = append(os.Environ(), "TERM=xterm", "HOME="+t.TempDir(), "SHELL=/bin/sh", "LANG=C.UTF-8")
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	screen, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	shown := make(chan struct{})
	go func() {
		var all bytes.Buffer
		buf := make([]byte, 4096)
		for told := false; ; {
			n, err := screen.Read(buf)
			all.Write(buf[:n])
			if !told && bytes.Contains(all.Bytes(), []byte("viewed.dat")) && bytes.Contains(all.Bytes(), []byte("Quit")) {
				told = true
				close(shown)
			}
			if err != nil {
				break
			}
		}
		ended <- cmd.Wait()
	}()
	defer keys.Close()
	select {
	case <-shown:
	case err := <-ended:
		t.Fatalf("mcview ended before it showed the file: %v", err)
	case <-time.After(time.Minute):
		cmd.Process.Kill()
		t.Fatal("mcview shows nothing")
	}
	again := time.NewTicker(100 * time.Millisecond) // what is typed before the terminal is set up is thrown away
	defer again.Stop()
	late := time.After(time.Minute)
	for {
		_, _ = io.WriteString(keys, "q") // it may have ended just now
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("mcview: %v", err)
			}
			return
		case <-late:
			cmd.Process.Kill()
			t.Fatal("mcview does not end")
		case <-again.C:
		}
	}
}

// samba shares src with smbd, lists it, and gets files that are cached and that are not.
func (c *clients) samba(src string) {
	t := c.t
	t.Helper()
	c.output("cp", filepath.Join(src, "other album/picture 07.jpg"), filepath.Join(t.TempDir(), "cached"))
	client := shareWithSamba(t, src)
	list := client(`ls; cd "other album"; ls`)
	for _, want := range []string{"film.mkv", "other album", "picture 59.jpg", fmt.Sprint(filmSize)} {
		if !strings.Contains(list, want) {
			t.Errorf("the share lacks %q:\n%s", want, list)
		}
	}
	dir := t.TempDir()
	client(fmt.Sprintf(`lcd %q; get "other album/picture 07.jpg" cached; get shared.bin`, dir))
	c.same("other album/picture 07.jpg", filepath.Join(dir, "cached"))
	c.same("shared.bin", filepath.Join(dir, "shared.bin"))
	if out := client(`put /etc/passwd new`); !strings.Contains(out, "NT_STATUS") {
		t.Errorf("a file was put into the archive: %s", out)
	}
}

// shareWithSamba starts an smbd on 127.0.0.1 that shares dir, and returns what runs commands of smbclient in it.
func shareWithSamba(t *testing.T, dir string) func(commands string) string {
	t.Helper()
	smbd, err := exec.LookPath("smbd")
	if err != nil {
		smbd = "/usr/sbin/smbd"
	}
	own := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	conf := filepath.Join(own, "smb.conf")
	text := "[global]\nserver role = standalone server\ninterfaces = 127.0.0.1\nbind interfaces only = yes\nsmb ports = " + port +
		"\nmap to guest = bad user\nload printers = no\ndisable spoolss = yes\nprintcap name = /dev/null\nlog level = 1\n"
	for _, folder := range []string{"private dir", "lock directory", "state directory", "cache directory", "pid directory", "ncalrpc dir"} {
		path := filepath.Join(own, strings.ReplaceAll(folder, " ", "-"))
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		text += folder + " = " + path + "\n"
	}
	text += "log file = " + filepath.Join(own, "log") + "\n[archive]\npath = " + dir + "\nread only = yes\nguest ok = yes\nforce user = root\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(smbd, "--foreground", "--no-process-group", "--configfile="+conf)
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it starts a process for each client
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		syscall.Kill(-server.Process.Pid, syscall.SIGTERM)
		server.Wait()
		for syscall.Kill(-server.Process.Pid, 0) == nil { // its children hold files of the mount open
			syscall.Kill(-server.Process.Pid, syscall.SIGKILL)
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Cleanup(end)
	waitUntil(t, "smbd answers", func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return func(commands string) string {
		t.Helper()
		out, err := exec.Command("smbclient", "--configfile="+conf, "-N", "-p", port, "//127.0.0.1/archive", "-c", commands).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "NT_STATUS") {
			t.Fatalf("smbclient %s: %v\n%s", commands, err, out)
		}
		return string(out)
	}
}
