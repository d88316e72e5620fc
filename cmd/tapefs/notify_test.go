package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNotifyHangs: a command that does not end is killed with what it started, logged, and left alone for a while; a higher level,
// such as more damage, is news; what is over is forgotten.
func TestNotifyHangs(t *testing.T) {
	dir := t.TempDir()
	var log strings.Builder
	pid := filepath.Join(dir, "pid")
	n := &notifier{argv: []string{"sh", "-c", "sleep 600 & echo $! >" + pid + "; wait"}, dir: dir, timeout: 100 * time.Millisecond,
		log: slog.New(slog.NewTextHandler(&log, nil))}
	all := func(string) bool { return true }
	damage := func(copies int64) []condition {
		return []condition{{Event: eventDamage, key: "damage/main", level: copies, Message: "damaged"}}
	}
	n.tell(t.Context(), damage(1), all)
	if !strings.Contains(log.String(), "no end after 100ms") {
		t.Errorf("log: %s", &log)
	}
	child, err := os.ReadFile(pid)
	if err == nil {
		stat, _ := os.ReadFile("/proc/" + strings.TrimSpace(string(child)) + "/stat")
		if len(stat) > 0 && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("what it started lives: %s", stat)
		}
	}
	log.Reset()
	n.tell(t.Context(), damage(1), all)
	if log.Len() > 0 {
		t.Errorf("it was run again at once: %s", &log)
	}
	out := filepath.Join(dir, "out")
	n.argv = []string{"sh", "-c", "cat >>" + out}
	lines := func(want int) {
		t.Helper()
		b, _ := os.ReadFile(out)
		if got := strings.Count(string(b), "\n"); got != want {
			t.Errorf("told %d times, want %d:\n%s", got, want, b)
		}
	}
	n.tell(t.Context(), damage(1), all)
	lines(0) // not yet: it failed just now
	n.tell(t.Context(), nil, all)
	for i, step := range []struct {
		copies int64
		want   int
	}{{1, 1}, {1, 1}, {3, 2}, {2, 2}, {3, 3}} {
		n.tell(t.Context(), damage(step.copies), all)
		t.Logf("step %d", i)
		lines(step.want)
	}
	n.tell(t.Context(), nil, func(key string) bool { return strings.HasPrefix(key, "tape/") })
	n.tell(t.Context(), damage(3), all)
	lines(3) // not looked at in between is not over
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	n.tell(ended, damage(9), all)
	lines(3)
	if err := os.WriteFile(filepath.Join(dir, "notified.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.tell(t.Context(), damage(3), all)
	lines(4)
}

// TestRetryLater: a notify command that failed is left alone for a while, and not for the years that a clock was ahead then.
func TestRetryLater(t *testing.T) {
	now := time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC)
	for retry, want := range map[time.Time]bool{now.Add(time.Minute): true, now.Add(notifyRetry): true, now: false, now.Add(-time.Minute): false, now.AddDate(50, 0, 0): false} {
		if got := retryLater(retry, now); got != want {
			t.Errorf("%s: %v; want %v", retry, got, want)
		}
	}
}
