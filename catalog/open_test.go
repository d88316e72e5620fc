package catalog_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

func TestOpen(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	path := filepath.Join(dir, "odd %? name#.db")
	db, err := catalog.Create(ctx, path)
	check(t, err)
	uuid := db.UUID()
	check(t, db.Close())
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("files beside a new catalog: %v, %v", entries, err)
	}
	before, err := os.ReadFile(path)
	check(t, err)
	if _, err := catalog.Create(ctx, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a catalog was made over another: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("a refused Create changed the file: %v", err)
	}
	ro, err := catalog.OpenReadOnly(ctx, path)
	check(t, err)
	defer ro.Close()
	if ro.UUID() != uuid || len(uuid) != 36 || uuid[14] != '4' {
		t.Errorf("uuid %s, want %s", ro.UUID(), uuid)
	}
	root := must(ro.Get(ctx, catalog.Root))(t)
	if root.Parent != catalog.Root || root.Name != "" || root.Kind != catalog.Directory || !root.Current {
		t.Errorf("root: %+v", root)
	}
	seen := must(ro.DataVersion(ctx))(t)
	if again := must(ro.DataVersion(ctx))(t); again != seen {
		t.Errorf("the data version went from %d to %d by itself", seen, again)
	}
	if _, err := ro.EnsurePool(ctx, "x"); err == nil {
		t.Error("a catalog opened for reading was changed")
	}
	rw, err := catalog.Open(ctx, path)
	check(t, err)
	defer rw.Close()
	must(rw.EnsurePool(ctx, "x"))(t)
	if after := must(ro.DataVersion(ctx))(t); after == seen {
		t.Error("another handle's commit does not show in the data version")
	}
	if pools := must(ro.Pools(ctx))(t); len(pools) != 1 {
		t.Errorf("a reader sees %v", pools)
	}
}

func TestSnapshot(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	l.plan(t, "01", nil, "a")
	path := filepath.Join(t.TempDir(), "copy.db")
	check(t, l.db.Snapshot(ctx, path))
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode of a copy: %v, %v", info, err)
	}
	if err := l.db.Snapshot(ctx, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a copy was made over a file: %v", err)
	}
	sound(t, path)
	db, err := catalog.Open(ctx, path)
	check(t, err)
	defer db.Close()
	if db.UUID() != l.db.UUID() {
		t.Error("a copy has another identity")
	}
	// Ids go on where they were: none is given twice.
	last := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "next", catalog.Meta{}))(t)
	if id := must(db.EnsureDir(ctx, l.run.ID, l.source.Root, "next", catalog.Meta{}))(t); id != last {
		t.Errorf("the copy gives id %d, the catalog %d", id, last)
	}
	if err := l.db.Snapshot(ctx, filepath.Join(t.TempDir(), "no", "folder")); err == nil {
		t.Error("a copy was made in a folder that is not there")
	}
}

// What is no catalog is refused with a word on it and stays as it was.
func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	foreign := filepath.Join(dir, "foreign")
	h := raw(t, foreign)
	_, err := h.Exec(`CREATE TABLE x (y)`)
	check(t, err)
	check(t, h.Close())
	pipe, loop := filepath.Join(dir, "pipe"), filepath.Join(dir, "loop")
	check(t, unix.Mkfifo(pipe, 0o600))
	check(t, os.Symlink("loop", loop))
	for _, test := range []struct{ path, says string }{
		{filepath.Join(dir, "missing"), "no such file"},
		{dir, "not a file"},
		{pipe, "not a file"},
		{loop, "too many levels"},
		{write("empty", ""), "not a catalog of tapefs"},
		{write("text", strings.Repeat("no database\n", 1000)), "not a catalog of tapefs"},
		{foreign, "not a catalog of tapefs"},
	} {
		var was, is []byte
		st, err := os.Stat(test.path)
		regular := err == nil && st.Mode().IsRegular()
		if regular {
			was, _ = os.ReadFile(test.path)
		}
		for _, open := range []func(context.Context, string) (*catalog.DB, error){catalog.Open, catalog.OpenReadOnly} {
			db, err := open(ctx, test.path)
			if err == nil {
				db.Close()
				t.Errorf("%s was opened", test.path)
			} else if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.path) {
				t.Errorf("%s: %v, want %q", test.path, err, test.says)
			} else if missing := errors.Is(err, fs.ErrNotExist); catalog.IsCorrupt(err) == missing {
				t.Errorf("%s: %v does not say what a rebuild is for", test.path, err)
			}
		}
		if regular {
			is, _ = os.ReadFile(test.path)
		}
		if string(is) != string(was) {
			t.Errorf("%s was changed", test.path)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening a missing catalog made one: %v", err)
	}
	if _, err := catalog.Create(ctx, filepath.Join(dir, "no", "folder.db")); err == nil {
		t.Error("a catalog was made in a folder that is not there")
	}
}
