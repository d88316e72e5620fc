package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// servePage runs tapefs serve on a port of its own and returns where it is.
func (a *archive) servePage(args ...string) string {
	a.t.Helper()
	cmd := a.command(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	said, err := cmd.StderrPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	var log []string
	for lines.Scan() {
		if _, at, ok := strings.Cut(lines.Text(), "the page is at "); ok {
			go io.Copy(io.Discard, said)
			a.t.Cleanup(func() {
				cmd.Process.Signal(syscall.SIGTERM)
				if err := cmd.Wait(); err != nil {
					a.t.Errorf("tapefs serve: %v", err)
				}
			})
			return strings.TrimSuffix(at, "/")
		}
		log = append(log, lines.Text())
	}
	a.t.Fatalf("tapefs serve ended: %v\n%s", cmd.Wait(), strings.Join(log, "\n"))
	return ""
}

// fetchPage gets a page, which must have an exit code.
func fetchPage(t *testing.T, client *http.Client, address string, want int) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != want {
		t.Fatalf("%s: %s\n%s", address, answer.Status, body)
	}
	return string(body)
}

// The page shows what the commands show: drives, slots and tapes, runs, and the metrics.
func TestServe(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	writeRandom(t, src+"/one", 1<<20, 1)
	a := newArchive(t, nil, "--slots", "4", "--drives", "2", "--tape-size", "1GB", "--source", "photos="+src)
	at := a.servePage()
	if body := fetchPage(t, http.DefaultClient, at+"/runs", http.StatusOK); !strings.Contains(body, "No runs yet") {
		t.Errorf("an empty archive has runs:\n%s", body)
	}
	a.run("archive")
	writeRandom(t, src+"/two", 2<<20, 2)
	a.run("archive")

	live := fetchPage(t, http.DefaultClient, at+"/live", http.StatusOK)
	for _, want := range []string{"<b>2</b> files", "drive 0", "drive 1", "VT0001L8", "VT0002L8", "no mount is running"} {
		if !strings.Contains(live, want) {
			t.Errorf("the overview lacks %q:\n%s", want, live)
		}
	}
	runs := fetchPage(t, http.DefaultClient, at+"/runs", http.StatusOK)
	if got := strings.Count(runs, "<circle"); got != 6 { // two runs in three plots
		t.Errorf("%d points are plotted:\n%s", got, runs)
	}
	if one := fetchPage(t, http.DefaultClient, at+"/runs/2", http.StatusOK); !strings.Contains(one, "VT0001L8: ") {
		t.Errorf("the run does not name its tape:\n%s", one)
	}
	fetchPage(t, http.DefaultClient, at+"/runs/3", http.StatusNotFound)
	fetchPage(t, http.DefaultClient, at+"/runs/x", http.StatusBadRequest)

	tapes := fetchPage(t, http.DefaultClient, at+"/tapes", http.StatusOK)
	if !strings.Contains(tapes, "<td>100 %</td>") {
		t.Errorf("the tape was read back, though nobody did:\n%s", tapes)
	}
	a.run("verify", "--tape", "VT0001L8")
	if tapes = fetchPage(t, http.DefaultClient, at+"/tapes", http.StatusOK); !strings.Contains(tapes, "<td>0 %</td>") {
		t.Errorf("the tape was not read back, though it was:\n%s", tapes)
	}
	if text := fetchPage(t, http.DefaultClient, at+"/metrics", http.StatusOK); !strings.Contains(text, "tapefs_archived_files 2\n") {
		t.Errorf("the metrics do not count the files:\n%s", text)
	}
}

// Beyond this machine the page needs a token, and a token file that others may read is refused.
func TestServeNeedsToken(t *testing.T) {
	t.Parallel()
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "\nweb:\n", "\nweb:\n  token_file: "+t.TempDir()+"/token\n", 1)
	})
	fails := func(want string, args ...string) {
		t.Helper()
		out, err := a.command(append([]string{"serve"}, args...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("tapefs serve %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	fails("read web.token_file")
	text, err := os.ReadFile(a.conf)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "token_file: ")
	file, _, _ := strings.Cut(rest, "\n")
	write := func(token string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("short", 0o600)
	fails("shorter than 16 characters")
	write("0123456789abcdef", 0o644)
	fails("others may read it")
	write("0123456789abcdef\n", 0o600)
	at := a.servePage("--listen", "0.0.0.0:0")
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(at, "http://"))
	fetchPage(t, http.DefaultClient, "http://127.0.0.1:"+port+"/", http.StatusUnauthorized)

	open := newArchive(t, nil)
	out, err := open.command("serve", "--listen", "0.0.0.0:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "other machines could read the page, and no token is set") {
		t.Errorf("without a token: %v\n%s", err, out)
	}
}

// A socket serves a reverse proxy; one of a process that died is taken over, and what is no socket stays.
func TestServeOnSocket(t *testing.T) {
	t.Parallel()
	a := newArchive(t, nil)
	path := a.path("page.sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := a.command("serve", "--listen", "unix:"+path).CombinedOutput(); err == nil || !strings.Contains(string(out), "it is there, and no socket") {
		t.Errorf("a file is there: %v\n%s", err, out)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // a socket on which nobody answers
	a.servePage("--listen", "unix:"+path)
	client := onSocket(path)
	fetchPage(t, client, "http://localhost/", http.StatusOK)
	fetchPage(t, client, "http://evil.example/", http.StatusMisdirectedRequest)
}
