package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// otherVerbs begin the names of failpoints that archive does not pass: tests of those verbs meet them.
var otherVerbs = []string{"rebuild-", "repack-", "erase-", "restore-", "verify-", "import-", "removal-"}

func ofOtherVerb(point string) bool {
	return slices.ContainsFunc(otherVerbs, func(verb string) bool { return strings.HasPrefix(point, verb) })
}

// failpointsOfArchive are those that the rounds of TestTorture kill archive at.
func failpointsOfArchive(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(failpoints(t), ofOtherVerb)
}

// failpoints are the names of all that the program has, sorted. Each is given as a literal and in one place.
func failpoints(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir("../..", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			called := call.Fun
			if of, ok := called.(*ast.SelectorExpr); ok { // job.Failpoint
				called = of.Sel
			}
			if name, ok := called.(*ast.Ident); !ok || !strings.EqualFold(name.Name, "failpoint") {
				return true
			}
			literal, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: a failpoint whose name is computed: nobody knows where it is", file)
				return true
			}
			name, err := strconv.Unquote(literal.Value)
			if err != nil || slices.Contains(names, name) {
				t.Errorf("%s: failpoint %s is in two places: a kill there does not say where it came", file, literal.Value)
			}
			names = append(names, name)
			return true
		})
		return nil
	})
	if err != nil || len(names) < 10 {
		t.Fatalf("failpoints of the program: %q, %v", names, err)
	}
	slices.Sort(names)
	return names
}

// Every failpoint of the program has a test that kills at it: a round of TestTorture, or a test of another verb that
// names it.
func TestEveryFailpointIsMet(t *testing.T) {
	var rounds []string
	for _, k := range (&tortured{t: t, root: true}).troubles() {
		rounds = append(rounds, k.name)
	}
	var tests strings.Builder
	for _, pattern := range []string{"../../archiver/*_test.go", "../../archiver/*/*_test.go", "../../catalog/*_test.go", "../../testdata/script/*.txtar", "*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	for _, name := range failpoints(t) {
		switch {
		case slices.Contains(rounds, "failpoint "+name):
		case ofOtherVerb(name) && regexp.MustCompile(`(?m)(?:TAPEFS_FAILPOINT=|["\s])`+name+`["\s;]`).MatchString(tests.String()):
		default:
			t.Errorf("nothing kills at failpoint %q", name)
		}
	}
	for _, name := range needNewTape {
		if !slices.Contains(rounds, "failpoint "+name) {
			t.Errorf("the program has no failpoint %q", name)
		}
	}
	// What the archive has to survive beside them, by the beginning of the kind's name.
	for _, want := range []string{"kill tapefs", "kill rsync", "kill ltfs", "kill mkltfs", "kill all", "end of tape", "write error", "read error",
		"index not written", "cartridge yanked", "robot stuck", "spool's disk full", "catalog's disk full", "two at once", "SIGTERM",
		"write error told by close", "write error that sticks", "write error for good", "bytes lost", "bytes wrong", "spoilt object", "spoilt manifest",
		"spoilt mac", "spoilt snapshot", "sync lies", "unmount lies",
		"end of tape, and no sync", "killed volume needs ltfsck", "mt eod fails", "second pool late", "content changed", "spool lost",
		"spool rotten", "older catalog", "kill repack", "kill heal", "kill forget", "kill rebuild", "catalog lost", "kill restore", "kill verify"} {
		if !slices.ContainsFunc(rounds, func(name string) bool { return strings.HasPrefix(name, want) }) {
			t.Errorf("no round has %q", want)
		}
	}
}

var faultsInHelp = regexp.MustCompile(`(?m)^  ([a-z-]+)`)

// Every fault that the virtual library knows is set by a trouble of TestTorture.
func TestEveryFaultIsDrawn(t *testing.T) {
	help, err := exec.Command("tapefs", "virtual", "fault", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	var set strings.Builder
	files, err := filepath.Glob("torture_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				set.WriteString(literal.Value + "\n")
			}
			return true
		})
	}
	kinds := faultsInHelp.FindAllSubmatch(help, -1)
	if len(kinds) < 30 {
		t.Fatalf("the help lists %d faults:\n%s", len(kinds), help)
	}
	for _, kind := range kinds {
		if !regexp.MustCompile(`(?m)^"` + string(kind[1]) + `["=]`).MatchString(set.String()) {
			t.Errorf("no round has fault %s", kind[1])
		}
	}
}
