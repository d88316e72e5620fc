package archiver

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// needProgram skips the test, or fails it in CI, when a program is not installed.
func needProgram(t testing.TB, names ...string) string {
	t.Helper()
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%v is not installed", names)
	}
	t.Skipf("%v is not installed", names)
	return ""
}

// sshServer is an sshd on 127.0.0.1 with keys of its own.
type sshServer struct {
	User string
	Port int
	Args []string // for Source.SSH: port, identity and known hosts, and no other configuration
}

// URL is a source at an absolute path.
func (s *sshServer) URL(path string) string { return s.User + "@127.0.0.1:" + path }

// startSSHD runs an sshd until the test ends. command, if not empty, is all that its user may run.
func startSSHD(t testing.TB, command string) *sshServer {
	t.Helper()
	sshd := needProgram(t, "/usr/sbin/sshd", "sshd")
	keygen := needProgram(t, "ssh-keygen")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	// ssh refuses paths with spaces in some places; t.TempDir has none but the test's name.
	dir := t.TempDir()
	for _, k := range []string{"host", "id"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, k)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v: %s", err, out)
		}
	}
	pub, err := os.ReadFile(filepath.Join(dir, "id.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if command != "" {
		pub = append([]byte(`command="`+command+`",restrict `), pub...)
	}
	writeFile(t, filepath.Join(dir, "authorized"), pub)
	hostKey, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var port int
	startServer(t, func(p int) *exec.Cmd {
		port = p
		config := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\n"+
			"UsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\nMaxStartups 100\nLogLevel ERROR\n",
			p, filepath.Join(dir, "host"), filepath.Join(dir, "authorized"))
		writeFile(t, filepath.Join(dir, "config"), []byte(config))
		return exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "config"))
	})
	writeFile(t, filepath.Join(dir, "known"), fmt.Appendf(nil, "[127.0.0.1]:%d %s", port, hostKey))
	return &sshServer{User: me.Username, Port: port, Args: []string{
		"-F", "none", "-p", strconv.Itoa(port), "-i", filepath.Join(dir, "id"), "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile=" + filepath.Join(dir, "known"), "-o", "StrictHostKeyChecking=yes",
	}}
}

// startDaemon serves a directory as module "files" of an rsync daemon until the test ends.
func startDaemon(t testing.TB, path string, settings string) (url string) {
	t.Helper()
	rsync := needProgram(t, "rsync")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "motd"), []byte(">f+++++++++ WELCOME TO THE DAEMON\n"))
	var port int
	startServer(t, func(p int) *exec.Cmd {
		port = p
		config := fmt.Sprintf("port = %d\naddress = 127.0.0.1\nmotd file = %s/motd\nlog file = %s/log\n%s\n[files]\npath = %s\nread only = yes\n",
			p, dir, dir, settings, path)
		if os.Getuid() == 0 {
			config += "uid = 0\ngid = 0\n"
		}
		writeFile(t, filepath.Join(dir, "config"), []byte(config))
		return exec.Command(rsync, "--daemon", "--no-detach", "--config="+filepath.Join(dir, "config"))
	})
	return fmt.Sprintf("rsync://127.0.0.1:%d/files", port)
}

// startServer runs a server on a free port and waits until it answers.
func startServer(t testing.TB, command func(port int) *exec.Cmd) {
	t.Helper()
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		cmd := command(port)
		var out syncBuffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		if answers(port, ended) {
			t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
			return
		}
		_ = cmd.Process.Kill()
		<-ended
		if try == 3 { // each time another took the port?
			t.Fatalf("%v does not start: %s", cmd.Args, out.String())
		}
	}
}

func answers(port int, ended chan struct{}) bool {
	deadline := time.After(20 * time.Second)
	for {
		if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-deadline:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
