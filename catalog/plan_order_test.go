package catalog_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// New directories get their ids between those of the members, in the order in which the members lie on tape, so that a
// tree that is walked in the order of ids is read forwards.
func TestBatchGivesIDsInOrderOfMembers(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	at := func(parent catalog.ID, name string) catalog.NewVersion {
		return catalog.NewVersion{Parent: parent, Name: name, Kind: catalog.File, Size: 5, Meta: catalog.Meta{Mode: 0o644}}
	}
	dir := func(id catalog.ID) catalog.NewVersion { return catalog.NewVersion{Existing: id} }
	dirs := []catalog.NewDir{{Parent: catalog.Root, Name: "top"}, {Parent: -1, Name: "one"}, {Parent: -1, Name: "empty"}, {Parent: -1, Name: "two"}}
	objects := []catalog.NewObject{
		{OID: "01", Key: l.key.ID, PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{dir(-1), dir(-4), at(-4, "film")}},
		{OID: "02", Key: l.key.ID, PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{dir(-1), at(-1, "a"), dir(-2), at(-2, "b"), at(-1, "c")}},
	}
	_, ids, err := l.db.AddBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "d"}, dirs, objects)
	check(t, err)
	for i, want := range []string{"/top", "/top/one", "/top/empty", "/top/two"} {
		if path := must(l.db.Path(ctx, ids[i]))(t); path != want {
			t.Errorf("directory %d is %s, want %s", i, path, want)
		}
	}
	top, one, empty, two := ids[0], ids[1], ids[2], ids[3]
	if two != top+1 || one != top+4 || empty != top+7 {
		t.Errorf("ids are not in the order of the members: top %d, two %d, one %d, empty %d", top, two, one, empty)
	}

	_, _, err = l.db.AddBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "e"}, dirs[:1],
		[]catalog.NewObject{{OID: "03", Key: l.key.ID, PartSize: catalog.ExtentSize, Members: []catalog.NewVersion{at(-2, "x")}}})
	if !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a directory that the batch does not have: %v", err)
	}
}
