package catalog

import (
	"path/filepath"
	"testing"
)

func TestEnsureDirsMakesTreesAtOnce(t *testing.T) {
	ctx := t.Context()
	db, err := Create(ctx, filepath.Join(t.TempDir(), "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	run, err := db.StartRun(ctx, "archive", nil)
	if err != nil {
		t.Fatal(err)
	}
	meta := func(sec int64) Meta { return Meta{Mode: 0o755, Owner: Owner{UID: 1, User: "u"}, MTime: Time{Sec: sec}} }
	ids, err := db.EnsureDirs(ctx, run.ID, []NewDir{{Root, "a", meta(1)}, {-1, "b", meta(2)}, {-2, "c", meta(3)}, {-1, "d", meta(4)}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/a", "/a/b", "/a/b/c", "/a/d"} {
		if path, err := db.Path(ctx, ids[i]); err != nil || path != want {
			t.Errorf("directory %d is %q, %v, want %s", i, path, err, want)
		}
	}
	again, err := db.EnsureDirs(ctx, run.ID, []NewDir{{Root, "a", meta(1)}, {-1, "b", meta(20)}, {ids[1], "new", meta(5)}})
	if err != nil {
		t.Fatal(err)
	}
	if again[0] != ids[0] || again[1] != ids[1] {
		t.Errorf("directories have new ids: %v, were %v", again, ids)
	}
	if v, err := db.Get(ctx, ids[1]); err != nil || v.MTime.Sec != 20 {
		t.Errorf("b: %+v, %v", v, err)
	}
	var changes []string
	if err := db.Changes(ctx, 0, func(c *Change) error { changes = append(changes, c.Kind); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(changes) != 6 || changes[4] != "metadata" {
		t.Errorf("journalled: %v", changes)
	}
	if _, err := db.EnsureDirs(ctx, run.ID, []NewDir{{Root, "x", meta(1)}, {-2, "y", meta(1)}}); err == nil {
		t.Error("a parent that comes later was accepted")
	}
	if _, err := db.Resolve(ctx, "/x"); err == nil {
		t.Error("half of a refused list was recorded")
	}
}
