package catalog_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// A changed mode is journalled for each name of the inode, is news for a mount, and makes no version.
func TestUpdateFiles(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a", "b", "c")
	files := make([]catalog.Fetched, 3)
	for i, v := range o.Versions[1:] {
		files[i] = catalog.Fetched{Version: v.ID, Size: 5, Nlink: 1, Meta: catalog.Meta{Mode: v.Mode, Owner: v.Owner, MTime: v.MTime}}
	}
	files[0].Nlink, files[1].Nlink, files[1].Inode = 2, 2, files[0].Version // b is a further name of a
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, files, time.Now()))
	mark := must(l.db.NewsMark(ctx))(t)
	before := len(l.changes(t))
	change := catalog.FileMeta{ID: files[1].Version, Mode: 0o4600, Owner: catalog.Owner{UID: 7, User: "seven"}}
	check(t, l.db.UpdateFiles(ctx, l.run.ID, []catalog.FileMeta{change, change, {ID: l.source.Root, Mode: 0o700}}))
	for i, mode := range []uint32{0o4600, 0o4600, 0o644} {
		v := must(l.db.Get(ctx, files[i].Version))(t)
		if v.Mode != mode || (v.Owner.User == "seven") != (i < 2) || v.Size != 5 || !v.Current {
			t.Errorf("%s: %+v", v.Name, v)
		}
	}
	if v := must(l.db.Get(ctx, l.source.Root))(t); v.Mode == 0o700 {
		t.Error("a directory was changed")
	}
	if got := l.changes(t)[before:]; !slices.Equal(got, []string{"metadata", "metadata"}) {
		t.Errorf("journal: %q", got)
	}
	news, _, err := l.db.NewsSince(ctx, mark)
	check(t, err)
	if !slices.Equal(news.Files, []catalog.ID{files[0].Version, files[0].Version}) {
		t.Errorf("news: %+v", news)
	}
	if list := must(l.db.Versions(ctx, l.source.Root, "b"))(t); len(list) != 1 {
		t.Errorf("versions: %+v", list)
	}
}

// A manifest that was written before a mode changed does not undo the change, in whichever order tapes are read.
func TestRebuildKeepsNewerModes(t *testing.T) {
	ctx := context.Background()
	for _, newestFirst := range []bool{false, true} {
		l := newLife(t)
		root := l.source.Root
		old := catalog.Version{ID: 100, Parent: root, Inode: 100, Data: 100, Name: "a", Kind: catalog.File, Mode: 0o644, Size: 5, State: catalog.Present, Since: time.Unix(1, 0)}
		now := old
		now.Mode, now.Owner = 0o600, catalog.Owner{UID: 3, User: "three"}
		first := func() {
			r := l.db.Rebuild(l.run.ID)
			check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Upto: 4, Name: "m1", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2, 0)}))
			check(t, r.Node(ctx, &old))
			check(t, r.EndManifest(ctx))
		}
		second := func() {
			r := l.db.Rebuild(l.run.ID)
			check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[1].ID, Seq: 1, Upto: 900, Name: "m2", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(3, 0)}))
			check(t, r.Change(ctx, catalog.Change{ID: 900, At: time.Unix(3, 0), Kind: "metadata", Version: 100}, &now))
			check(t, r.EndManifest(ctx))
			check(t, r.Finish(ctx)) // no tape that was read has its bytes: it is hidden until one does
		}
		if newestFirst {
			second()
			first()
		} else {
			first()
			second()
		}
		if v := must(l.db.Get(ctx, 100))(t); v.Mode != 0o600 || v.Owner.User != "three" {
			t.Errorf("newest first %v: %+v", newestFirst, v)
		}
	}
}
