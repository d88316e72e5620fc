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

// module is the path under which the program can be installed by go install.
const module = "github.com/tapefs/tapefs"

// mayImport says what each room may import, and with it what that may import: imports run one way.
var mayImport = map[string]string{
	"catalog":            "",
	"catalog/owners":     "",
	"catalog/tapebackup": "",
	"crypto":             "",
	"changer/lto":        "",
	"changer":            "changer/lto",
	"changer/virtual":    "changer/lto",

	"fs/recall/beneath":   "",
	"fs/recall/blocksums": "",
	"fs/recall/cache":     "catalog changer",
	"fs/recall/motion":    "",
	"fs/recall":           "fs/recall/beneath fs/recall/blocksums fs/recall/cache fs/recall/motion crypto",
	"fs":                  "fs/recall catalog/owners",

	"archiver/extsort":       "",
	"archiver/localfs":       "catalog fs/recall/beneath fs/recall/blocksums",
	"archiver/pack":          "catalog crypto fs/recall/beneath",
	"archiver/job":           "changer catalog crypto",
	"archiver/restore":       "archiver/extsort archiver/job archiver/localfs catalog/owners fs/recall",
	"archiver/removal":       "archiver/job archiver/localfs",
	"archiver/volume":        "archiver/job archiver/pack",
	"archiver/manifest":      "archiver/volume",
	"archiver/verify":        "archiver/manifest fs/recall",
	"archiver":               "archiver/extsort archiver/job archiver/localfs archiver/pack fs/recall catalog/owners archiver/restore archiver/volume archiver/manifest archiver/verify archiver/removal archiver/rebuild archiver/safe archiver/spool",
	"archiver/rebuild":       "archiver/localfs archiver/manifest",
	"archiver/source":        "archiver/extsort archiver/job archiver/localfs catalog/owners",
	"archiver/diff":          "archiver/pack archiver/source",
	"archiver/safe":          "archiver/diff",
	"archiver/pack/packtest": "catalog crypto",
	"archiver/spool":         "archiver/diff archiver/manifest",

	"cmd/tapefs/inventory": "catalog crypto cmd/tapefs/ui",
	"cmd/tapefs/manual":    "",
	"cmd/tapefs/metrics":   "",
	"cmd/tapefs/paper":     "cmd/tapefs/ui",
	"cmd/tapefs/web":       "catalog cmd/tapefs/ui",
	"cmd/tapefs/ui":        "",
	"cmd/tapefs/config":    "cmd/tapefs/ui archiver",
	"cmd/tapefs":           "cmd/tapefs/config cmd/tapefs/inventory cmd/tapefs/manual cmd/tapefs/metrics cmd/tapefs/paper cmd/tapefs/web fs archiver changer/virtual catalog/tapebackup",
}

// allowed are the rooms that one may depend on.
func allowed(room string) []string {
	var all []string
	for _, next := range strings.Fields(mayImport[room]) {
		for _, dep := range append(allowed(next), next) {
			if !slices.Contains(all, dep) {
				all = append(all, dep)
			}
		}
	}
	slices.Sort(all)
	return all
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
		room := strings.TrimPrefix(pkg.ImportPath, module+"/")
		if _, ok := mayImport[room]; !ok {
			t.Errorf("%s is not one of the rooms", room)
		}
		var deps []string
		for _, dep := range pkg.Deps {
			if dep, ours := strings.CutPrefix(dep, module+"/"); ours {
				deps = append(deps, dep)
			}
		}
		t.Logf("%-20s %s", room, strings.Join(deps, " "))
		for _, dep := range deps {
			if !slices.Contains(allowed(room), dep) {
				t.Errorf("%s must not depend on %s", room, dep)
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
