package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// onSocket is a client for a page on a unix socket.
func onSocket(path string) *http.Client {
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", path)
	}}}
}

// fileLinks are the addresses of a file's versions, the newest first.
func fileLinks(t *testing.T, client *http.Client, base, path string) []string {
	t.Helper()
	body := fetchPage(t, client, base+"/entry?"+url.Values{"path": {path}}.Encode(), http.StatusOK)
	var links []string
	for _, m := range regexp.MustCompile(`<a href="(/file/[^"]*)\?save"`).FindAllStringSubmatch(body, -1) {
		links = append(links, base+html.UnescapeString(m[1]))
	}
	return links
}

// A film is played from the mount's page by ranges, and no more of it is called from tape than somebody watches.
func TestServeRanges(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	const size = 96 << 20
	writeRandom(t, src+"/film.mp4", size, 7)
	film, err := os.ReadFile(src + "/film.mp4")
	if err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, nil, "--slots", "2", "--drives", "1", "--tape-size", "1GB", "--source", "films="+src)
	a.run("archive")
	if err := os.RemoveAll(src); err != nil { // a source that is read in place would answer instead of the tape
		t.Fatal(err)
	}
	dir, socket := a.path("mnt"), a.path("page.sock")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a.run("mount", "--daemon", "--listen", "unix:"+socket, dir)
	client := onSocket(socket)
	links := fileLinks(t, client, "http://localhost", "/films/film.mp4")
	if len(links) != 1 {
		t.Fatalf("the file has the links %v", links)
	}
	ask := func(method, ranges string, want int) []byte {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, links[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != want {
			t.Fatalf("%s %s: %s, %v", method, ranges, answer.Status, err)
		}
		return body
	}
	cached := func() int64 {
		t.Helper()
		var s struct{ Cache folderJSON }
		decode(t, a.run("status", "--json"), &s)
		return s.Cache.Bytes
	}
	if ask(http.MethodHead, "", http.StatusOK); cached() != 0 {
		t.Error("asking how large it is called it from tape")
	}
	for _, at := range [][2]int{{0, 4095}, {70 << 20, 70<<20 + 99_999}, {size - 10, size - 1}} {
		if got := ask(http.MethodGet, fmt.Sprintf("bytes=%d-%d", at[0], at[1]), http.StatusPartialContent); !bytes.Equal(got, film[at[0]:at[1]+1]) {
			t.Errorf("bytes %v are others", at)
		}
	}
	if n := cached(); n == 0 || n > size/2 {
		t.Errorf("three looks at a film of %d bytes called %d from tape", size, n)
	}
	ask(http.MethodGet, fmt.Sprintf("bytes=%d-", size), http.StatusRequestedRangeNotSatisfiable)
	if got := ask(http.MethodGet, "", http.StatusOK); !bytes.Equal(got, film) {
		t.Error("the whole film is another")
	}

	// Another process gets its bytes from the mount, and says so when there is none.
	other := a.servePage()
	link := strings.Replace(links[0], "http://localhost", other, 1)
	if got := fetchPage(t, http.DefaultClient, link, http.StatusOK); got != string(film) {
		t.Error("through another process the film is another")
	}
	a.unmountOnly(dir)
	if body := fetchPage(t, http.DefaultClient, link, http.StatusServiceUnavailable); !strings.Contains(body, "no mount is running") {
		t.Errorf("without a mount:\n%s", body)
	}
}

// unmountOnly ends the mount and waits until its process is gone; others of this archive go on.
func (a *archive) unmountOnly(dir string) {
	a.t.Helper()
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		a.t.Fatalf("umount: %v\n%s", err, out)
	}
	for deadline := time.Now().Add(time.Minute); anyProcess(func(args []string) bool { return slices.Contains(args, dir) }); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			a.t.Fatal("the mount's process does not end")
		}
	}
}

// Names of any bytes are shown as text and lead to their files; what could run in a browser is only saved.
func TestServeNames(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	files := map[string]string{"<img src=x onerror=alert(1)>.txt": "tag", "new\nline\x1b[31m.txt": "control", "bad\xff.txt": "bytes", "100%25 #1?.txt": "escapes",
		"\u202egnp.exe": "direction", "page.html": "<script>document.title='x'</script>", "drawing.svg": "<svg/>"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	a := newArchive(t, nil, "--source", "odd="+src)
	a.run("archive")
	dir, socket := a.path("mnt"), a.path("page.sock")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a.run("mount", "--daemon", "--listen", "unix:"+socket, dir)
	client := onSocket(socket)
	list := fetchPage(t, client, "http://localhost/browse?path=/odd", http.StatusOK)
	for _, bad := range []string{"<img", "\x1b", "\xff", "\u202e"} {
		if strings.Contains(list, bad) {
			t.Errorf("the page holds %q:\n%s", bad, list)
		}
	}
	links := regexp.MustCompile(`<a href="(/entry[^"]*)"`).FindAllStringSubmatch(list, -1)
	if len(links) != len(files) {
		t.Fatalf("%d files are listed, not %d:\n%s", len(links), len(files), list)
	}
	for name, text := range files {
		got := fileLinks(t, client, "http://localhost", "/odd/"+name)
		if len(got) != 1 {
			t.Errorf("%q has the links %v", name, got)
			continue
		}
		answer, err := client.Get(got[0])
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(body) != text {
			t.Errorf("%q has %q, %v", name, body, err)
		}
		ext := filepath.Ext(name)
		if inline := strings.HasPrefix(answer.Header.Get("Content-Disposition"), "inline"); inline != (ext == ".txt") {
			t.Errorf("%q is sent as %s", name, answer.Header.Get("Content-Disposition"))
		}
		if !strings.HasSuffix(answer.Header.Get("Content-Security-Policy"), "; sandbox") {
			t.Errorf("%q is sent with the policy %s", name, answer.Header.Get("Content-Security-Policy"))
		}
	}
	if body := fetchPage(t, client, "http://localhost/search?q="+url.QueryEscape("100%25 #1"), http.StatusOK); strings.Count(body, "/entry?") != 1 {
		t.Errorf("the search finds:\n%s", body)
	}
	if body := fetchPage(t, client, "http://localhost/search?q="+url.QueryEscape("_"), http.StatusOK); strings.Contains(body, "/entry?") {
		t.Errorf("a pattern of SQL is a pattern:\n%s", body)
	}
}

// Without the token a visitor reads what modes let anybody read; with it, everything. Old versions and old trees are shown.
func TestServeReaders(t *testing.T) {
	t.Parallel()
	src, secrets := t.TempDir(), t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(src+"/closed", 0o700); err != nil {
		t.Fatal(err)
	}
	write("closed/inside.txt", "inside", 0o644)
	write("private.txt", "private", 0o600)
	write("open.txt", "first", 0o644)
	if err := os.Chmod(src, 0o755); err != nil {
		t.Fatal(err)
	}
	token := secrets + "/token"
	if err := os.WriteFile(token, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "\nweb:\n", "\nweb:\n  token_file: "+token+"\n", 1)
	}, "--source", "docs="+src)
	a.run("archive")
	var before struct{ Versions []versionJSON }
	decode(t, a.run("info", "--json", "/docs/open.txt"), &before)
	write("open.txt", "second state", 0o644)
	a.run("archive")

	at := a.servePage()
	trusted := &http.Client{Transport: bearer("0123456789abcdef")}
	for path, want := range map[string]int{"/docs": http.StatusOK, "/docs/closed": http.StatusForbidden, "/docs/closed/none": http.StatusForbidden, "/docs/none": http.StatusNotFound} {
		fetchPage(t, http.DefaultClient, at+"/browse?path="+path, want)
	}
	fetchPage(t, http.DefaultClient, at+"/entry?path=/docs/private.txt", http.StatusForbidden)
	fetchPage(t, http.DefaultClient, at+"/entry?path=/docs/closed/inside.txt", http.StatusForbidden)
	for _, path := range []string{"/docs/private.txt", "/docs/closed/inside.txt"} {
		links := fileLinks(t, trusted, at, path)
		if len(links) != 1 {
			t.Fatalf("with the token %s has the links %v", path, links)
		}
		fetchPage(t, http.DefaultClient, links[0], http.StatusForbidden) // also by its number
	}
	if body := fetchPage(t, http.DefaultClient, at+"/search?q=txt", http.StatusOK); strings.Count(body, "/entry?") != 1 {
		t.Errorf("without the token the search finds:\n%s", body)
	}
	if body := fetchPage(t, trusted, at+"/search?q=txt", http.StatusOK); strings.Count(body, "/entry?") != 3 {
		t.Errorf("with the token the search finds:\n%s", body)
	}
	if links := fileLinks(t, http.DefaultClient, at, "/docs/open.txt"); len(links) != 2 {
		t.Errorf("the two versions have the links %v", links)
	}
	then := url.QueryEscape(before.Versions[0].Since.Format("2006-01-02T15:04:05.999999999Z07:00"))
	if body := fetchPage(t, http.DefaultClient, at+"/browse?path=/docs&at="+then, http.StatusOK); !strings.Contains(body, ">5 B<") || strings.Contains(body, ">12 B<") {
		t.Errorf("the tree as it was:\n%s", body)
	}
	fetchPage(t, http.DefaultClient, at+"/browse?path=/docs&at=yesterdayish", http.StatusBadRequest)
}

// bearer shows a token with every request.
type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}
