package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Bounds of a room below archiver, and of the types of archiver itself.
const (
	maxRoomLines   = 2500
	maxTypeMethods = 25
	maxTypeFields  = 15
)

// largerThanBounds are the types that are to be divided, with the methods and fields that they have. None may grow.
var largerThanBounds = map[string]struct{ methods, fields int }{
	"archiver.planner":             {25, 26},
	"archiver/job.Env":             {29, 11},
	"archiver/manifest.builder":    {25, 21},
	"archiver/rebuild.rebuilder":   {39, 12},
	"archiver/rebuild.survey":      {6, 19},
	"archiver/restore.restoration": {49, 20},
}

// roomSize is what one package holds, without its tests.
type roomSize struct {
	lines   int
	methods map[string]int // by type
	fields  map[string]int // by struct
	over40  int            // functions with more than 40 lines
	over80  int
}

// A room can be read in one sitting, and a type of it can be held in mind. With -v it prints what each package holds.
func TestRoomsStaySmall(t *testing.T) {
	names := slices.Sorted(maps.Keys(mayImport))
	var lines, over40, over80 int
	for _, room := range names {
		s := measureRoom(t, filepath.Join("../..", room))
		lines, over40, over80 = lines+s.lines, over40+s.over40, over80+s.over80
		methods, methodsOf := largestOf(s.methods)
		fields, fieldsOf := largestOf(s.fields)
		t.Logf("%-22s %6d lines; methods %3d %-16s fields %3d %-16s over 40 lines %3d, over 80 %2d", room, s.lines, methods, methodsOf, fields, fieldsOf, s.over40, s.over80)
		if room != "archiver" && !strings.HasPrefix(room, "archiver/") {
			continue
		}
		if room != "archiver" && s.lines > maxRoomLines {
			t.Errorf("%s has %d lines, more than %d", room, s.lines, maxRoomLines)
		}
		for name, n := range s.methods {
			if name == "Archiver" { // the facade has a method for all that can be asked
				continue
			}
			if most := max(maxTypeMethods, largerThanBounds[room+"."+name].methods); n > most {
				t.Errorf("%s: %s has %d methods, more than %d", room, name, n, most)
			}
		}
		for name, n := range s.fields { // exported ones are options, records and results, which list what there is
			if most := max(maxTypeFields, largerThanBounds[room+"."+name].fields); !ast.IsExported(name) && n > most {
				t.Errorf("%s: %s has %d fields, more than %d", room, name, n, most)
			}
		}
	}
	t.Logf("%d packages, %d lines, functions over 40 lines %d, over 80 %d", len(names), lines, over40, over80)
}

func largestOf(counts map[string]int) (n int, name string) {
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		if counts[k] > n {
			n, name = counts[k], k
		}
	}
	return n, name
}

func measureRoom(t *testing.T, dir string) roomSize {
	t.Helper()
	s := roomSize{methods: map[string]int{}, fields: map[string]int{}}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no Go files: %v", dir, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s.lines += bytes.Count(text, []byte("\n"))
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		s.add(set, file)
	}
	return s
}

func (s *roomSize) add(set *token.FileSet, file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			switch long := set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1; {
			case long > 80:
				s.over80++
				s.over40++
			case long > 40:
				s.over40++
			}
			if n.Recv != nil {
				s.methods[strings.TrimPrefix(receiverOf(n.Recv.List[0].Type), "*")]++
			}
		case *ast.TypeSpec:
			if fields, ok := n.Type.(*ast.StructType); ok {
				s.fields[n.Name.Name] += fields.Fields.NumFields()
			}
		}
		return true
	})
}

// receiverOf is a method's receiver type, without its type parameters.
func receiverOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiverOf(e.X)
	case *ast.IndexExpr:
		return receiverOf(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
