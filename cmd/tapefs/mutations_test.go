package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// mutation is a small change to the program that a short test must notice. testdata/mutations/README.md has the form.
type mutation struct {
	name  string
	file  string // of the change, from the root of the repository
	old   string
	new   string
	pkg   string // of the test
	tests string // for -run
}

// readMutation reads one file of testdata/mutations.
func readMutation(path string) (mutation, error) {
	m := mutation{name: strings.TrimSuffix(filepath.Base(path), ".txtar")}
	a, err := txtar.ParseFile(path)
	if err != nil {
		return m, err
	}
	head := regexp.MustCompile(`(?m)^(file|test): *(\S.*)$`)
	for _, l := range head.FindAllStringSubmatch(string(a.Comment), -1) {
		if l[1] == "file" {
			m.file = l[2]
			continue
		}
		m.pkg, m.tests, _ = strings.Cut(l[2], " ")
	}
	for _, f := range a.Files {
		switch f.Name {
		case "old":
			m.old = strings.TrimSuffix(string(f.Data), "\n")
		case "new":
			m.new = strings.TrimSuffix(string(f.Data), "\n")
		}
	}
	if m.file == "" || m.pkg == "" || m.tests == "" || m.old == "" || m.old == m.new {
		return m, fmt.Errorf("%s: wants lines file: and test: PACKAGE REGEXP, and the files old and new, which differ", path)
	}
	return m, nil
}

func mutations(t *testing.T) (all []mutation) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/mutations/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no mutations: %v", err)
	}
	for _, f := range files {
		m, err := readMutation(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// mutated is the file with the change in it. A text that is not there, or more than once, is a stale entry.
func (m *mutation) mutated() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join("../..", m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("its old text is in %s %d times, not once: bring testdata/mutations/%s.txtar up to date", m.file, n, m.name)
	}
	return bytes.Replace(text, []byte(m.old), []byte(m.new), 1), nil
}

// Every mutation fits the program as it is. What its test says about it is asked by make mutations.
func TestMutationsFit(t *testing.T) {
	for _, m := range mutations(t) {
		if _, err := m.mutated(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// TestMutations applies each mutation and wants its test to fail. TAPEFS_MUTATIONS says which: all; changed, those whose file
// or list entry differs from the commit TAPEFS_BASE, a sample when there is no such commit; else those with that text in their names.
func TestMutations(t *testing.T) {
	which := os.Getenv("TAPEFS_MUTATIONS")
	if which == "" {
		t.Skip("builds the program once for each mutation: make mutations")
	}
	chosen := choose(t, mutations(t), which, os.Getenv("TAPEFS_BASE"))
	t.Logf("%d mutations", len(chosen))
	survived := 0
	for _, m := range chosen {
		began := time.Now()
		out, killed, err := m.run(t)
		took := time.Since(began).Round(100 * time.Millisecond)
		switch {
		case err != nil:
			t.Errorf("%-40s FAILED after %v: %v\n%s", m.name, took, err, out)
		case killed:
			t.Logf("%-40s killed in %v", m.name, took)
		default:
			survived++
			t.Errorf("%-40s SURVIVED %s -run '%s' in %v", m.name, m.pkg, m.tests, took)
		}
	}
	t.Logf("%d killed, %d survived", len(chosen)-survived, survived)
}

const (
	mutationSample = 5  // how many are tried where nobody can say what changed
	mutationsMost  = 10 // how many of those that changed: each takes a build and a test, and make mutations tries all
)

// sample takes at most n entries, spread over the whole list.
func sample(all []mutation, n int) (some []mutation) {
	n = min(n, len(all))
	for i := range n {
		some = append(some, all[i*len(all)/n])
	}
	return some
}

func choose(t *testing.T, all []mutation, which, base string) (chosen []mutation) {
	t.Helper()
	if which == "all" {
		return all
	}
	if which != "changed" {
		for _, m := range all {
			if strings.Contains(m.name, which) {
				chosen = append(chosen, m)
			}
		}
		if len(chosen) == 0 {
			t.Fatalf("no mutation has %q in its name", which)
		}
		return chosen
	}
	cmd := exec.Command("git", "diff", "--name-only", base, "--")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if base == "" || err != nil {
		t.Logf("nothing to compare with (base %q, %v): a fixed sample", base, err)
		return sample(all, mutationSample)
	}
	changed := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, m := range all {
		if slices.Contains(changed, m.file) || slices.Contains(changed, "testdata/mutations/"+m.name+".txtar") {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) > mutationsMost {
		t.Logf("%d of the %d mutations whose files changed", mutationsMost, len(chosen))
		chosen = sample(chosen, mutationsMost)
	}
	return chosen
}

// mutationLimit bounds the build and the test of one mutation, on a slow machine.
const mutationLimit = 10 * time.Minute

// run tests the program with the change laid over the checkout, which stays as it is. Killed: the test failed.
func (m *mutation) run(t *testing.T) (out string, killed bool, err error) {
	t.Helper()
	text, err := m.mutated()
	if err != nil {
		return "", false, err
	}
	dir := t.TempDir()
	file := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return "", false, err
	}
	real, err := filepath.Abs(filepath.Join("../..", m.file))
	if err != nil {
		return "", false, err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {real: file}})
	if err != nil {
		return "", false, err
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), mutationLimit)
	defer cancel()
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-vet=off"}, args...)...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+list)) // TestMain builds the program, too
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// Built first: what does not compile is no mutation that a test noticed.
	if out, err := run("-run", "^$", m.pkg); err != nil {
		return out, false, fmt.Errorf("it does not build: %w", err)
	}
	out, err = run("-count=1", "-timeout", "5m", "-v", "-run", m.tests, m.pkg)
	if ctx.Err() != nil {
		return out, false, ctx.Err()
	}
	if !strings.Contains(out, "--- ") {
		return out, false, fmt.Errorf("no test ran: %v", err)
	}
	return out, err != nil, nil
}
