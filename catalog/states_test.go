package catalog

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestStatesInTexts(t *testing.T) {
	for _, c := range []struct {
		text string
		is   int
	}{
		{sqlRoot, int(Root)},
		{sqlFile, int(File)}, {sqlDirectory, int(Directory)}, {sqlSymlink, int(Symlink)},
		{sqlPlanned, int(Planned)}, {sqlPresent, int(Present)}, {sqlVoid, int(Void)}, {sqlForgotten, int(Forgotten)},
		{sqlFetching, int(Fetching)}, {sqlSynced, int(Synced)}, {sqlReleased, int(Released)},
		{sqlObjectPlanned, int(ObjectPlanned)}, {sqlObjectPacked, int(ObjectPacked)},
		{sqlObjectSuperseded, int(ObjectSuperseded)}, {sqlObjectDropped, int(ObjectDropped)},
		{sqlOwed, int(Owed)}, {sqlWriting, int(Writing)}, {sqlWritten, int(Written)}, {sqlDurable, int(Durable)},
		{sqlCopyDamaged, int(CopyDamaged)}, {sqlCopyDropped, int(CopyDropped)},
		{sqlPartWriting, int(PartWriting)}, {sqlPartWritten, int(PartWritten)}, {sqlPartDurable, int(PartDurable)},
		{sqlPartAbandoned, int(PartAbandoned)}, {sqlPartDamaged, int(PartDamaged)}, {sqlPartLost, int(PartLost)},
		{sqlManifestWritten, ManifestWritten}, {sqlManifestDurable, ManifestDurable}, {sqlManifestLost, ManifestLost},
	} {
		if n, err := strconv.Atoi(c.text); err != nil || n != c.is {
			t.Errorf("a text says %s, and the constant is %d", c.text, c.is)
		}
	}
}

// bareStates are numbers where SQL compares or sets a state or a kind.
var bareStates = []*regexp.Regexp{
	regexp.MustCompile(`\b(state|kind)\b\s*(=|<>|<=|>=|<|>|IN\b|NOT IN\b|IS\b|IS NOT\b)\s*\(?\s*[0-9]`),
	regexp.MustCompile(`[0-9]\s*(=|<>|<=|>=|<|>)\s*(\w+\.)?(state|kind)\b`),
	regexp.MustCompile(`\b(state|kind),\s*[0-9]+\)`),                  // coalesce(b.state, 2)
	regexp.MustCompile(`\b(state|kind)\s+WHEN\s+[0-9]`),               // CASE v.state WHEN 2
	regexp.MustCompile(`\b[0-9]\s+ELSE\s+(\w+\.)?(state|kind)\s+END`), // CASE … THEN 2 ELSE v.state END
}

var insertText = regexp.MustCompile(`(?s)INSERT INTO \w+ \(([^)]*)\)\s*(?:VALUES\s*\(|SELECT (?:DISTINCT )?)(.*)`)

// bareIn finds numbers that stand for a state in a text of SQL.
func bareIn(text string) string {
	for _, r := range bareStates {
		if found := r.FindString(text); found != "" {
			return found
		}
	}
	if m := insertText.FindStringSubmatch(text); m != nil {
		columns, values := strings.Split(m[1], ","), splitValues(m[2])
		for i, c := range columns {
			if c = strings.TrimSpace(c); (c == "state" || c == "kind") && i < len(values) {
				if _, err := strconv.Atoi(values[i]); err == nil {
					return "INSERT of " + c + " " + values[i]
				}
			}
		}
	}
	return ""
}

// splitValues splits a list at its commas, up to the bracket or the word that ends it.
func splitValues(text string) (values []string) {
	depth, from := 0, 0
	for i, r := range text {
		end := depth == 0 && (r == ')' || strings.HasPrefix(text[i:], "FROM ") || strings.HasPrefix(text[i:], "WHERE "))
		switch {
		case end || depth == 0 && r == ',':
			values = append(values, strings.TrimSpace(text[from:i]))
			from = i + 1
		case r == '(':
			depth++
		case r == ')':
			depth--
		}
		if end {
			return values
		}
	}
	return values
}

// sqlText puts together what strings an expression adds up; what is no literal stands as a name.
func sqlText(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, e.Kind == token.STRING && err == nil
	case *ast.BinaryExpr:
		x, okX := sqlText(e.X)
		y, okY := sqlText(e.Y)
		return x + y, e.Op == token.ADD && (okX || okY)
	case *ast.Ident:
		return "@" + e.Name, false
	}
	return "@", false
}

// No query says a state by its number: whoever reads one need not know them by heart, nor whoever changes one.
func TestNoBareStates(t *testing.T) {
	for text, bare := range map[string]bool{
		"SELECT 1 FROM copy c WHERE c.state = 3":                             true,
		"SELECT 1 FROM copy c WHERE c.state NOT IN (3, 4)":                   true,
		"SELECT coalesce(b.state, 2) = @sqlReleased":                         true,
		"INSERT INTO copy (object, pool, state) VALUES (?, ?, 0)":            true,
		"INSERT INTO copy (object, pool, state) SELECT f(1, 2), 1, 0 FROM x": true,
		"INSERT INTO copy (object, pool, state) VALUES (1, 1, @sqlOwed)":     false,
		"UPDATE version SET state = CASE WHEN ?1 THEN 2 ELSE state END":      true,
		"SELECT c.state < @sqlDurable AND t.state = 'open' AND k.kind = ?":   false,
	} {
		if found := bareIn(text); (found != "") != bare {
			t.Errorf("%s: found %q", text, found)
		}
	}
	files, texts := 0, 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "tapebackup" || d.Name() == "testdata") { // the former reads another program's database
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text, ok := sqlText(e)
			if !ok {
				return true
			}
			texts++
			if found := bareIn(text); found != "" {
				t.Errorf("%s: %q: use a constant", set.Position(e.Pos()), found)
			}
			return false
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 || texts < 1000 {
		t.Errorf("only %d texts in %d files were looked at", texts, files)
	}
}
