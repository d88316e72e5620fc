package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A log is searched by its keys, so that one thing has one key: an error is "err" in every line, and a key is one word of small letters.
func TestLogKeys(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, arg := range logPairs(call) {
				lit, ok := arg.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				key, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				found++
				if key == "error" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") != "" {
					t.Errorf("%s: the log key %q; an error is \"err\", and keys are words of small letters", set.Position(lit.Pos()), key)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 100 {
		t.Errorf("only %d keys were found", found)
	}
}

// logPairs are the keys that a call of a slog.Logger is given.
func logPairs(call *ast.CallExpr) (keys []ast.Expr) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	logger := sel.X
	if inner, ok := logger.(*ast.SelectorExpr); ok {
		logger = inner.Sel
	}
	name, ok := logger.(*ast.Ident)
	if !ok || strings.ToLower(name.Name) != "log" && name.Name != "logger" {
		return nil
	}
	switch sel.Sel.Name {
	case "Debug", "Info", "Warn", "Error":
	default:
		return nil
	}
	for i := 1; i < len(call.Args); i += 2 {
		keys = append(keys, call.Args[i])
	}
	return keys
}
