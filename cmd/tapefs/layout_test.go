package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayImport is the rule of the rooms: imports run one way.
var mayImport = map[string][]string{
	"tapefs/catalog":             {},
	"tapefs/catalog/owners":      {},
	"tapefs/catalog/tapebackup":  {},
	"tapefs/crypto":              {},
	"tapefs/changer/lto":         {},
	"tapefs/changer":             {"tapefs/changer/lto"},
	"tapefs/changer/virtual":     {"tapefs/changer/lto"},
	"tapefs/fs/recall/beneath":   {},
	"tapefs/fs/recall/blocksums": {},
	"tapefs/fs/recall":           {"tapefs/fs/recall/beneath", "tapefs/fs/recall/blocksums", "tapefs/changer", "tapefs/changer/lto", "tapefs/catalog", "tapefs/crypto"},
	"tapefs/fs":                  {"tapefs/fs/recall", "tapefs/fs/recall/beneath", "tapefs/fs/recall/blocksums", "tapefs/changer", "tapefs/changer/lto", "tapefs/catalog", "tapefs/catalog/owners", "tapefs/crypto"},
	"tapefs/archiver/extsort":    {},
	"tapefs/archiver":            {"tapefs/archiver/extsort", "tapefs/fs/recall", "tapefs/fs/recall/beneath", "tapefs/fs/recall/blocksums", "tapefs/changer", "tapefs/changer/lto", "tapefs/catalog", "tapefs/catalog/owners", "tapefs/crypto"},
	"tapefs/cmd/tapefs/manual":   {},
	"tapefs/cmd/tapefs": {"tapefs/cmd/tapefs/manual", "tapefs/fs", "tapefs/archiver", "tapefs/archiver/extsort", "tapefs/fs/recall", "tapefs/fs/recall/beneath", "tapefs/fs/recall/blocksums", "tapefs/changer",
		"tapefs/changer/virtual", "tapefs/changer/lto", "tapefs/catalog", "tapefs/catalog/owners", "tapefs/catalog/tapebackup", "tapefs/crypto"},
}

func TestImportsRunOneWay(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Deps", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	seen := 0
	for {
		var pkg struct {
			ImportPath string
			Deps       []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		allowed, ok := mayImport[pkg.ImportPath]
		if !ok {
			t.Errorf("%s is not one of the rooms", pkg.ImportPath)
		}
		for _, dep := range pkg.Deps {
			if strings.HasPrefix(dep, "tapefs/") && !slices.Contains(allowed, dep) {
				t.Errorf("%s must not depend on %s", pkg.ImportPath, dep)
			}
		}
	}
	if seen != len(mayImport) {
		t.Errorf("go list found %d packages, the rooms are %d", seen, len(mayImport))
	}
}

func TestTopLevel(t *testing.T) {
	rooms := []string{"cmd", "fs", "archiver", "changer", "catalog", "crypto", "testdata"}
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".go" {
			t.Errorf("%s: no Go files at the top", e.Name())
		}
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || slices.Contains(rooms, e.Name()) {
			continue
		}
		filepath.WalkDir(filepath.Join("../..", e.Name()), func(path string, d os.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".go" {
				t.Errorf("%s: Go folders at the top are %s", path, strings.Join(rooms, ", "))
			}
			return nil
		})
	}
}
