package catalog_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Two pasts gave one number to two files, and in the second one a file has the bytes of its own one of them under another name: the
// change that tells of that names the number which that file has now.
func TestRebuildTranslatesWhereMovedBytesAre(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	file := func(id catalog.ID, name string, sum byte) catalog.Version {
		return catalog.Version{ID: id, Parent: l.source.Root, Inode: id, Data: id, Name: name, Kind: catalog.File, Mode: 0o644, Size: 5,
			SHA256: bytes.Repeat([]byte{sum}, 32), State: catalog.Present, Since: time.Unix(1, 0)}
	}
	read := func(tape int, records func(r *catalog.Rebuild)) {
		r := l.db.Rebuild(l.run.ID)
		check(t, r.StartManifest(ctx, catalog.Manifest{Tape: l.tapes[tape].ID, Seq: 1, Upto: 900, Name: "m", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(2, 0)}))
		records(r)
		check(t, r.EndManifest(ctx))
	}
	one := file(100, "one", 1)
	read(0, func(r *catalog.Rebuild) { check(t, r.Node(ctx, &one)) })
	other, moved := file(100, "other", 2), file(101, "another", 2)
	moved.Data = 100
	read(1, func(r *catalog.Rebuild) {
		check(t, r.Node(ctx, &other))
		check(t, r.Change(ctx, catalog.Change{ID: 900, At: time.Unix(3, 0), Kind: "moved", Version: 101, Detail: `{"from":100,"before":"0123456789ab"}`}, &moved))
	})
	if other.ID == 100 || moved.Data != other.ID {
		t.Fatalf("the other file has number %d, and what has its bytes says %d", other.ID, moved.Data)
	}
	detail := ""
	check(t, l.db.Changes(ctx, 899, func(c *catalog.Change) error { detail = c.Detail; return nil }))
	if want := fmt.Sprintf(`{"from":%d,"before":"0123456789ab"}`, other.ID); detail != want {
		t.Errorf("the change says %s, want %s", detail, want)
	}
}
