package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReliabilityPage: each test that docs/reliability.md names as evidence exists.
func TestReliabilityPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("grep", "-rhoE", "--include=*_test.go", "^func Test[A-Za-z0-9_]+", ".")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		known[strings.TrimSpace(strings.TrimPrefix(line, "func "))] = true
	}
	scripts, err := filepath.Glob("../../testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range scripts {
		known[strings.TrimSuffix(filepath.Base(file), ".txtar")] = true
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || cells[1] == " fault " || strings.HasPrefix(cells[1], " ---") {
			continue
		}
		rows++
		for _, name := range regexp.MustCompile(`[A-Za-z0-9_]+`).FindAllString(cells[4], -1) {
			if !known[name] {
				t.Errorf("no test is called %s, which is to show: %s", name, strings.TrimSpace(cells[1]))
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows were read", rows)
	}
}

// TestLinksBetweenPages: what a page of README or docs links to is there.
func TestLinksBetweenPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(err, pages)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if !exists(filepath.Join(filepath.Dir(page), m[1])) {
				t.Errorf("%s links to %s, which is not there", filepath.Base(page), m[1])
			}
		}
	}
}

// TestMessagesPage: each message that docs/messages.md explains is one that the program prints.
func TestMessagesPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(page), "\n## In the mount\n") // what follows is what libc says of errno
	if !ok {
		t.Fatal("the part about the mount is missing")
	}
	found := regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(before, -1)
	if len(found) < 20 {
		t.Fatalf("%d messages were read", len(found))
	}
	for _, m := range found {
		cmd := exec.Command("grep", "-rqF", "--include=*.go", "--exclude=*_test.go", "--", m[1], "cmd", "archiver", "changer", "catalog", "crypto", "fs")
		cmd.Dir = "../.."
		if err := cmd.Run(); err != nil {
			t.Errorf("nothing prints %q", m[1])
		}
	}
}
