package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// chromium is a browser without a screen. Each call is one visit, with a profile of its own.
type chromium struct {
	t       *testing.T
	program string
}

// newChromium finds the browser. It is large: make browser, which .ci/run calls, installs it and runs the test.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	if os.Getenv("TAPEFS_BROWSER") == "" {
		t.Skip("make browser")
	}
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	return &chromium{t, program}
}

// visit opens a page, lets so much of the page's own time pass, and returns what the page became and what the browser complained of.
func (c *chromium) visit(address string, passes time.Duration, args ...string) (page, complaints string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Minute)
	defer cancel()
	args = append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
		"--user-data-dir=" + c.t.TempDir(), "--enable-logging=stderr", fmt.Sprintf("--virtual-time-budget=%d", passes.Milliseconds())}, args...)
	cmd := exec.CommandContext(ctx, c.program, append(args, address)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("chromium %s: %v\n%s", address, err, stderr.String())
	}
	var said []string
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			said = append(said, line)
		}
	}
	return stdout.String(), strings.Join(said, "")
}

// shoot takes a picture of a page, into the folder that TAPEFS_SCREENSHOTS names, if it names one.
func (c *chromium) shoot(address, name, size string) {
	c.t.Helper()
	folder := os.Getenv("TAPEFS_SCREENSHOTS")
	if folder == "" {
		return
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		c.t.Fatal(err)
	}
	file := filepath.Join(folder, name)
	c.visit(address, time.Second, "--window-size="+size, "--screenshot="+file)
	if info, err := os.Stat(file); err != nil || info.Size() == 0 {
		c.t.Errorf("no picture: %v", err)
	}
}

// TestBrowser shows every page to a browser, which must complain of nothing; the first one renews itself. A foreign page that sends a
// form to ours changes nothing.
func TestBrowser(t *testing.T) {
	c := newChromium(t)
	src := t.TempDir()
	for i, name := range []string{"2019/beach.jpg", "2019/boat.jpg", "2024/<b>bold.jpg"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		writeRandom(t, filepath.Join(src, name), 3<<20, byte(i))
	}
	a := newArchive(t, func(text string) string {
		return strings.NewReplacer("    # include: [\"*\"]\n", "    include: [\"VT000*\"]\n", "\npools:\n", "\npools:\n  vault:\n    include: [\"VT001*\"]\n    format_blank: true\n",
			"    # copies: [main]\n", "    copies: [main, vault]\n").Replace(text)
	}, "--slots", "16", "--drives", "2", "--tape-size", "100MB", "--source", "photos="+src)
	for i := range 4 {
		writeRandom(t, filepath.Join(src, "2019", fmt.Sprintf("new%d.jpg", i)), int64(2+3*i)<<20, byte(10+i))
		a.run("archive")
	}
	page, err := url.Parse(a.servePage())
	if err != nil {
		t.Fatal(err)
	}
	// What the browser asks for, and with which answers, is seen on its way.
	var renewed, refused atomic.Int32
	proxy := httputil.NewSingleHostReverseProxy(page)
	proxy.ModifyResponse = func(answer *http.Response) error {
		if answer.Request.URL.Path == "/live" {
			renewed.Add(1)
		}
		if answer.Request.Method == http.MethodPost && answer.StatusCode == http.StatusForbidden {
			refused.Add(1)
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	defer server.Close()

	for path, want := range map[string]string{"/": "VT0001L8", "/runs": "<circle", "/runs/1": "run", "/tapes": "Tapes that will be needed", "/browse?path=/photos/2024": "&lt;b&gt;bold",
		"/entry?path=/photos/2019/beach.jpg": "SHA-256", "/search?q=beach": "beach.jpg", "/basket": "Nothing is in it", "/login": "token"} {
		got, complaints := c.visit(server.URL+path, 2*time.Second, "--dump-dom")
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %q:\n%s", path, want, got)
		}
		if complaints != "" {
			t.Errorf("%s: the browser says:\n%s", path, complaints)
		}
	}
	renewed.Store(0)
	if got, complaints := c.visit(server.URL+"/", 20*time.Second, "--dump-dom"); renewed.Load() == 0 || !strings.Contains(got, `id="library"`) || complaints != "" {
		t.Errorf("the first page was renewed %d times:\n%s%s", renewed.Load(), complaints, got)
	}
	port := server.Listener.Addr().(*net.TCPAddr).Port
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form id="f" method="post" action="http://127.0.0.1:%d/import"></form><script>document.getElementById("f").submit()</script>`, port)
	}))
	defer foreign.Close()
	c.visit(strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1), 3*time.Second, "--dump-dom")
	if refused.Load() != 1 {
		t.Errorf("a foreign page's form was refused %d times", refused.Load())
	}
	c.shoot(server.URL+"/", "library.png", "1000,720")
	c.shoot(server.URL+"/runs", "runs.png", "1000,1150")
	c.shoot(server.URL+"/browse?path=/photos/2019", "files.png", "500,560")
}
