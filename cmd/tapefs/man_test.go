package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/cmd/tapefs/manual"
)

// asRead undoes the roff of a manual page, as far as words go.
func asRead(page string) string {
	text := strings.NewReplacer(`\fB`, "", `\fI`, "", `\fR`, "", `\-`, "-", `\&`, "", `\e`, `\`, `\(aq`, "'", `\(ga`, "`", `\(ha`, "^", `\(ti`, "~",
		`\(dq`, `"`).Replace(page)
	return strings.Join(strings.Fields(text), " ")
}

// Everything that a command's help says stands in its manual page: arguments, flags, examples and exit codes.
func TestManualPagesSayWhatHelpSays(t *testing.T) {
	pages, err := manualPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, p := range pages {
		texts[p.File()] = asRead(p.String())
	}
	parser, err := newParser(t.Context(), &cli{}, nil, nil, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	has := func(page string, words ...string) {
		t.Helper()
		text, ok := texts[page]
		if !ok {
			t.Fatalf("there is no page %s", page)
		}
		for _, w := range words {
			if !strings.Contains(text, asRead(w)) {
				t.Errorf("%s does not say: %s", page, w)
			}
		}
	}
	for _, node := range parser.Model.Children {
		has("tapefs.1", node.Name, node.Help)
	}
	for _, flag := range parser.Model.Flags {
		has("tapefs.1", "--"+flag.Name, flag.Help)
	}
	has("tapefs.1", exitMeanings...)
	for _, leaf := range parser.Model.Leaves(true) {
		words := commandWords(leaf)
		top, _, _ := strings.Cut(words, " ")
		if top == "help" || top == "version" {
			continue
		}
		page := "tapefs-" + top + ".1"
		has(page, "tapefs "+words, leaf.Help)
		for _, arg := range leaf.Positional {
			if top != "virtual" { // which has a help of its own
				has(page, arg.Summary(), arg.Help)
			}
		}
		for _, flag := range leaf.Flags {
			if !flag.Hidden {
				has(page, "--"+flag.Name, strings.ReplaceAll(flag.Help, "`", ""))
			}
		}
		if top == "virtual" {
			continue
		}
		for _, e := range commandHelps[words].examples {
			has(page, "tapefs "+e[0], e[1])
		}
		has(page, commandHelps[words].exitList()...)
	}
	has("tapefs-virtual.1", "slow-load=DURATION")
	for _, path := range configKeyPaths() {
		has("tapefs.yaml.5", path)
	}
}

// Each key of the configuration has words of its own, or shares those of the keys it stands with.
func TestEveryKeyIsExplained(t *testing.T) {
	keys, err := configTemplateKeys()
	if err != nil {
		t.Fatal(err)
	}
	bare := []string{"library.drives.serial", "library.drives.proved.serial", "library.programs.mtx"} // the section above says it
	for _, e := range keys.Entries {
		if e.Text == "" && !slices.Contains(bare, e.Keys[0].String()) {
			t.Errorf("nothing explains %s", e.Keys[0])
		}
	}
}

// docs/configuration.md is what the template says. TAPEFS_UPDATE=1 writes it anew.
func TestConfigurationPage(t *testing.T) {
	keys, err := configTemplateKeys()
	if err != nil {
		t.Fatal(err)
	}
	want := keys.Markdown("Every configuration key", "Made from the comments of the file that `tapefs init` writes; `make docs` makes it anew. "+
		"`tapefs config check` says what is wrong with yours, and where; `tapefs config show` how it is understood. `tapefs config schema` prints a JSON schema of it for editors: save what it prints, and begin the configuration with the line `# yaml-language-server: $schema=FILE`.")
	const page = "../../docs/configuration.md"
	if os.Getenv("TAPEFS_UPDATE") != "" {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/configuration.md is not what config.yaml.tmpl says; make docs writes it anew")
	}
}

// The pages are good roff: mandoc, which is stricter than groff, has nothing to say against them. They carry no date, so that
// two builds give the same bytes.
func TestManualPagesAreGoodRoff(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	if code := run(t.Context(), []string{"man", dir}, nil, &bytes.Buffer{}, &bytes.Buffer{}); code != 0 {
		t.Fatalf("tapefs man ends with %d", code)
	}
	files, err := filepath.Glob(filepath.Join(dir, "man?", "*"))
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	out, err := exec.Command(mandoc, append([]string{"-T", "lint", "-W", "warning"}, files...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "missing date") {
			t.Error(line)
		}
	}
	if len(out) == 0 { // each page has no date
		t.Errorf("mandoc says nothing: %v", err)
	}
}

// What looks like a request, or like typography, stays what it is.
func TestManualPageEscapes(t *testing.T) {
	keys := manual.ParseTemplate("# One.\n\n# `a'b` is ~/x^2 \\n.\n# .so no request --at all-round\nkey: \"v\"\n",
		func(path []string) bool { return path[0] == "key" }, func([]string) bool { return false })
	page := keys.Page("x", "y", nil, []string{"z(1)"}).String()
	for _, line := range []string{".SH \"DESCRIPTION\"\nOne.\n", `\fBkey\fR: \(dqv\(dq`,
		`\fBa\(aqb\fR is \(ti/x\(ha2 \en. .so no request \-\-at all-round`, ".BR z (1)\n"} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %q:\n%s", line, page)
		}
	}
}
