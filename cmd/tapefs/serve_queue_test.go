package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The queue names the file that a reader waits for, the program and the user, in the mount's report and on the page. The reader waits
// for a tape that is outside the library until the test is over.
func TestServeQueue(t *testing.T) {
	t.Parallel()
	src := t.TempDir()
	writeRandom(t, src+"/film.mkv", 5<<20, 4)
	writeRandom(t, src+"/secret.mkv", 5<<20, 5)
	if err := os.Chmod(src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(src+"/secret.mkv", 0o600); err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, func(text string) string {
		return strings.Replace(text, "\nmount:\n", "\nmount:\n  offline_wait: 30m\n", 1)
	}, "--slots", "3", "--drives", "1", "--source", "films="+src)
	a.run("archive")
	if err := os.RemoveAll(src); err != nil {
		t.Fatal(err)
	}
	a.run("tape", "unload", "VT0001L8")
	a.run("virtual", "fault", a.path("library"), "wrong-barcode=1:XX0001L8") // as if somebody had changed the tapes
	dir, socket := a.path("mnt"), a.path("page.sock")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a.run("mount", "--daemon", "--listen", "unix:"+socket, dir)
	for _, name := range []string{"film.mkv", "secret.mkv"} {
		cmd := exec.Command("head", "-c", "10", filepath.Join(dir, "films", name))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait() // it was killed
		})
	}
	waiting := regexp.MustCompile(`(?m)^ +/films/(film|secret)\.mkv  head  user \d+$`)
	var queue []byte
	for deadline := time.Now().Add(time.Minute); len(waiting.FindAll(queue, -1)) < 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the queue names no reader:\n%s", queue)
		}
		var err error
		if queue, err = os.ReadFile(filepath.Join(dir, ".tapefs/queue")); err != nil {
			t.Fatal(err)
		}
	}
	metrics := fetchPage(t, onSocket(socket), "http://localhost/metrics", http.StatusOK)
	if !regexp.MustCompile(`(?m)^tapefs_queue_readers 2$`).MatchString(metrics) || !regexp.MustCompile(`(?m)^tapefs_queue_oldest_wait_seconds [0-9.e+-]*[1-9]`).MatchString(metrics) {
		t.Errorf("the metrics count no reader:\n%s", metrics)
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	live := fetchPage(t, onSocket(socket), "http://localhost/live", http.StatusOK)
	if !strings.Contains(live, `/films/film.mkv <span class="state">by head, user`) {
		t.Errorf("the page names no reader:\n%s", live)
	}
	if strings.Contains(live, "secret.mkv") {
		t.Errorf("the page names what not everybody may read:\n%s", live)
	}
}
