package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// clients is an archive whose files other people's programs read, each from a mount with an empty page cache.
type clients struct {
	*archive
	source string
}

// delivered mounts, runs a client, unmounts, and tells how many bytes the drive delivered for it.
func (c *clients) delivered(t *testing.T, client func(mnt string)) (bytes int64) {
	t.Helper()
	c.t = t
	before := len(c.events(0))
	func() {
		mnt := c.mount()
		defer c.unmount(mnt)
		client(mnt)
	}()
	for _, e := range c.events(before) {
		if e.Kind == "read" {
			bytes += e.Bytes
		}
	}
	return bytes
}

// few is what a client may bring in that looks at the beginning or the end of a file: the extents it touches, the next
// ones that were read ahead, and LTFS's own label and index.
const few = 20 << 20

func needClient(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}

func newClients(t *testing.T) *clients {
	source := t.TempDir()
	r := rand.NewChaCha8([32]byte{77})
	large := func(name string, w io.Writer, size int64) {
		if _, err := io.CopyN(w, r, size); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	create := func(name string) *os.File {
		path := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, name := range []string{"film one.mkv", "film two.mkv", "shared film.mkv"} {
		f := create(name)
		large(name, f, 64<<20)
		f.Close()
	}
	f := create("pictures.zip")
	z := zip.NewWriter(f)
	for i := range 16 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("picture %02d.raw", i), Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		large("picture", w, 4<<20)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	f = create("readme.txt")
	for i := range 20000 {
		fmt.Fprintf(f, "line %d of a text that somebody looks at\n", i)
	}
	f.Close()
	for i := range 40 {
		f := create(fmt.Sprintf("small/%d/note %d", i%4, i))
		fmt.Fprintf(f, "note %d\n", i)
		f.Close()
	}
	a := newArchive(t, nil, "--drives", "1", "--tape-size", "1GiB", "--source", "src="+source)
	a.run("archive")
	return &clients{a, source}
}

// What people use brings in what it needs and no more, and gets the right bytes.
func TestClients(t *testing.T) {
	needFuse(t)
	needClient(t, "unzip", "mcview", "script", "rsync", "tar", "smbclient", "smbd")
	c := newClients(t)
	t.Run("header of a film", func(t *testing.T) {
		n := c.delivered(t, func(mnt string) {
			want, got := make([]byte, 64<<10), make([]byte, 64<<10)
			for path, buf := range map[string][]byte{c.source: want, mnt + "/src": got} {
				f, err := os.Open(filepath.Join(path, "film one.mkv"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(f, buf); err != nil {
					t.Fatal(err)
				}
				f.Close()
			}
			if !bytes.Equal(want, got) {
				t.Error("other bytes")
			}
		})
		if n == 0 || n > few {
			t.Errorf("%d bytes for the first 64 KiB of 64 MiB", n)
		}
	})
	t.Run("unzip -l", func(t *testing.T) {
		n := c.delivered(t, func(mnt string) {
			out := output(t, exec.Command("unzip", "-l", filepath.Join(mnt, "src/pictures.zip")))
			if !strings.Contains(out, "picture 15.raw") || !strings.Contains(out, "16 files") {
				t.Error(out)
			}
		})
		if n == 0 || n > few {
			t.Errorf("%d bytes for the list of a zip file of 64 MiB", n)
		}
	})
	t.Run("viewer of Midnight Commander", func(t *testing.T) {
		var shown bytes.Buffer
		n := c.delivered(t, func(mnt string) {
			viewTheFirstPage(t, filepath.Join(mnt, "src/film two.mkv"), filepath.Join(mnt, "src/readme.txt"), &shown)
		})
		if !strings.Contains(shown.String(), "line 3 of a text") {
			t.Errorf("shown: %.3000q", shown.String())
		}
		if n == 0 || n > 2*few {
			t.Errorf("%d bytes for the first pages of two files", n)
		}
	})
	t.Run("Samba", func(t *testing.T) {
		n := c.delivered(t, func(mnt string) {
			smb, stop := startSamba(t, mnt)
			defer stop()
			list := smb("ls src\\*")
			if !strings.Contains(list, "film one.mkv") || !strings.Contains(list, "67108864") {
				t.Error(list)
			}
			to := t.TempDir()
			// The text is in the cache since the viewer showed it, the film is on tape.
			smb(fmt.Sprintf(`lcd "%s"; get src/readme.txt readme.txt; get "src/shared film.mkv" film`, to))
			same(t, filepath.Join(c.source, "readme.txt"), filepath.Join(to, "readme.txt"))
			same(t, filepath.Join(c.source, "shared film.mkv"), filepath.Join(to, "film"))
		})
		if n < 64<<20 || n > 64<<20+few {
			t.Errorf("%d bytes for a film of 64 MiB", n)
		}
	})
	t.Run("rsync and tar", func(t *testing.T) {
		n := c.delivered(t, func(mnt string) {
			out := output(t, exec.Command("rsync", "-aHnc", "--delete", "--itemize-changes", filepath.Join(mnt, "src/small")+"/", filepath.Join(c.source, "small")+"/"))
			if out != "" {
				t.Errorf("rsync -c sees differences:\n%s", out)
			}
			to := t.TempDir()
			pipe := exec.Command("sh", "-c", `tar -C "$1" -cf - src/small | tar -C "$2" -xf -`, "sh", mnt, to)
			output(t, pipe)
			compareTrees(t, filepath.Join(c.source, "small"), filepath.Join(to, "src/small"))
		})
		if n > few {
			t.Errorf("%d bytes for a few notes", n)
		}
	})
}

func same(t *testing.T, want, got string) {
	t.Helper()
	if out, err := exec.Command("cmp", want, got).CombinedOutput(); err != nil {
		t.Errorf("cmp: %v: %s", err, out)
	}
}

// viewTheFirstPage shows files in mcview on a terminal and leaves each with F10.
func viewTheFirstPage(t *testing.T, binary, text string, shown *bytes.Buffer) {
	t.Helper()
	home := t.TempDir()
	for _, path := range []string{binary, text} {
		cmd := exec.Command("script", "-qfec", `stty rows 24 cols 80; exec mcview "$VIEW"`, "/dev/null")
		cmd.Env = append(os.Environ(), "VIEW="+path, "TERM=xterm", "HOME="+home, "LC_ALL=C.UTF-8")
		out := &screen{drawn: make(chan struct{})}
		cmd.Stdout, cmd.Stderr = out, out
		keys, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-out.drawn:
		case err := <-ended:
			t.Fatalf("mcview: %v\n%s", err, out.text.Bytes())
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Fatalf("mcview shows nothing: %q", out.text.Bytes())
		}
		fmt.Fprint(keys, "\x1b0") // Escape 0 is F10
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Fatal("mcview does not end")
		}
		shown.Write(out.text.Bytes())
	}
}

// screen collects what a program draws, and tells when the labels of its function keys were drawn.
type screen struct {
	text  bytes.Buffer
	drawn chan struct{}
	told  bool
}

func (s *screen) Write(p []byte) (int, error) {
	s.text.Write(p)
	if !s.told && bytes.Contains(s.text.Bytes(), []byte("Quit")) {
		s.told = true
		close(s.drawn)
	}
	return len(p), nil
}

// startSamba shares a directory on 127.0.0.1 until stop, and gives a function that runs smbclient commands.
func startSamba(t *testing.T, dir string) (smb func(commands string) string, stop func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("smbd wants to be root")
	}
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := filepath.Join(base, "smb.conf")
	text := fmt.Sprintf(`[global]
server role = standalone server
smb ports = %d
interfaces = 127.0.0.1
bind interfaces only = yes
disable netbios = yes
disable spoolss = yes
load printers = no
map to guest = Bad User
passdb backend = smbpasswd:%[2]s/passwd
private dir = %[2]s
lock directory = %[2]s
state directory = %[2]s
cache directory = %[2]s
pid directory = %[2]s
ncalrpc dir = %[2]s/rpc
log file = %[2]s/log
[tapes]
path = %[3]s
read only = yes
guest ok = yes
force user = root
`, port, base, dir)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// Its children leave with it: they share its process group.
	cmd := exec.Command("smbd", "--foreground", "--no-process-group", "-s", conf)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	stop = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		<-ended
		waitUntil(t, "smbd's children are gone", func() bool { return syscall.Kill(-cmd.Process.Pid, 0) == syscall.ESRCH })
	})
	t.Cleanup(stop)
	run := func(commands string) *exec.Cmd {
		return exec.Command("smbclient", "//127.0.0.1/tapes", "-s", conf, "-p", fmt.Sprint(port), "-N", "-c", commands)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := run("pwd").CombinedOutput()
		if err == nil {
			break
		}
		select {
		case <-ended:
			t.Fatalf("smbd ended: %s", log.String())
		default:
		}
		if time.Now().After(deadline) {
			stop()
			t.Fatalf("smbd does not answer: %s\n%s", out, log.String())
		}
	}
	return func(commands string) string {
		t.Helper()
		return output(t, run(commands))
	}, stop
}
