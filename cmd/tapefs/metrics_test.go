package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/cmd/tapefs/metrics"
)

// promtool finds nothing wrong with the metrics and the alert rules; page, rules and dashboard name metrics that there are, and the
// page names all of them.
func TestMetrics(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	path := filepath.Join(t.TempDir(), "tapefs.prom")
	err := metrics.WriteFile(path, metrics.Snapshot{At: now, Version: "1", Runs: []metrics.Run{{Kind: "archive", Started: now, Ended: now}},
		Owed: []metrics.Copies{{Pool: "main"}}, Damaged: []metrics.Copies{{Pool: "main"}}, Tapes: []metrics.Tapes{{Pool: "main", State: "open"}},
		Drives: []metrics.Drive{{Serial: "1"}}, Sources: []metrics.Source{{Name: "photos"}}, Queue: &metrics.Queue{Readers: 1, Oldest: now}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) gauge$`).FindAllSubmatch(text, -1) {
		known[string(m[1])] = true
	}
	if len(known) < 20 {
		t.Fatalf("%d metrics in\n%s", len(known), text)
	}

	name := regexp.MustCompile(`\btapefs_[a-z_]+`)
	for _, file := range []string{"metrics.md", "metrics/alerts.yml", "metrics/dashboard.json"} {
		page, err := os.ReadFile(filepath.Join("../../docs", file))
		if err != nil {
			t.Fatal(err)
		}
		named := map[string]bool{}
		for _, m := range name.FindAllString(string(page), -1) {
			named[m] = true
			if !known[m] && m != "tapefs_" {
				t.Errorf("%s names %s, which there is not", file, m)
			}
		}
		for m := range known {
			if file == "metrics.md" && !named[m] {
				t.Errorf("%s does not name %s", file, m)
			}
		}
		if filepath.Ext(file) == ".json" && !json.Valid(page) {
			t.Errorf("%s is no JSON", file)
		}
	}

	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		return
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	if out, err := exec.Command(promtool, "check", "rules", "../../docs/metrics/alerts.yml").CombinedOutput(); err != nil || !strings.Contains(string(out), "9 rules found") {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}
