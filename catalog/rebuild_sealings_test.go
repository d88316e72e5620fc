package catalog_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Tapes of older programs may hold two sealings under one object id, in manifests of whatever order. The one that is whole on
// tape is the object, the newest of several.
func TestRebuildChoosesSealing(t *testing.T) {
	ctx := context.Background()
	for name, test := range map[string]struct {
		first, second, third catalog.PartState // what was found of the parts: two of the first sealing, and that of the second
		want                 byte
	}{
		"both are whole":              {catalog.PartDurable, catalog.PartDurable, catalog.PartDurable, 2},
		"the older one lacks a part":  {catalog.PartDurable, catalog.PartLost, catalog.PartDurable, 2},
		"the newer one is damaged":    {catalog.PartDurable, catalog.PartDurable, catalog.PartDamaged, 1},
		"the newer one is not there":  {catalog.PartDurable, catalog.PartDurable, catalog.PartLost, 1},
		"neither of the two is whole": {catalog.PartDamaged, catalog.PartDurable, catalog.PartDamaged, 2},
	} {
		for _, newestFirst := range []bool{false, true} {
			l := newLife(t)
			tape := l.tapes[0]
			oid := "0123456789ab00000000000000000001"
			taken := func(seq int, salt byte, sizes ...int64) {
				r := l.db.Rebuild(l.run.ID)
				check(t, r.StartManifest(ctx, catalog.Manifest{Tape: tape.ID, Seq: seq, Upto: int64(seq), Name: "m", MAC: bytes.Repeat([]byte{byte(seq)}, 32), Previous: make([]byte, 32), Written: time.Unix(int64(seq), 0)}))
				var parts []catalog.Part
				var sealed int64
				for i, n := range sizes {
					parts = append(parts, part(i, n, salt))
					sealed += n
				}
				o := &catalog.Object{OID: oid, Fingerprint: l.key.Fingerprint, Salt: bytes.Repeat([]byte{salt}, 8), PartSize: catalog.ExtentSize, PlainSize: sealed - 16, SealedSize: sealed,
					State: catalog.ObjectPacked, Created: time.Unix(1, 0)}
				check(t, r.Sealing(ctx, o, "src", parts))
				v := catalog.Version{ID: 100, Parent: l.source.Root, Inode: 100, Data: 100, Name: "a", Kind: catalog.File, Mode: 0o644, Size: 5, State: catalog.Present, Since: time.Unix(1, 0)}
				check(t, r.Member(ctx, oid, catalog.Member{Version: 100, Header: 0, Data: 512}, &v))
				for i, n := range sizes {
					check(t, r.CopyPart(ctx, catalog.RebuiltPart{OID: oid, Pool: "main", Number: i, Volume: "main", Barcode: tape.Barcode, Name: "p", Size: n, StartBlock: int64(100*seq + i), State: catalog.PartWritten}))
				}
				check(t, r.EndManifest(ctx))
			}
			first := func() { taken(1, 1, catalog.ExtentSize, 1000) }
			second := func() { taken(2, 2, 3000) }
			if newestFirst {
				second()
				first()
			} else {
				first()
				second()
			}
			r := l.db.Rebuild(l.run.ID)
			check(t, r.ReadTape(ctx, tape.ID, 7, 1, 1, 0, time.Now()))
			check(t, l.db.TapeFiles(ctx, tape.ID, func(p catalog.CopyPart) error {
				state := map[int64]catalog.PartState{100: test.first, 101: test.second, 200: test.third}[p.StartBlock]
				if state != catalog.PartDurable {
					return r.MarkPart(ctx, p.ID, state)
				}
				return nil
			}))
			check(t, r.Finish(ctx))
			check(t, l.db.Rebuild(l.run.ID).Finish(ctx)) // once more changes nothing
			o := must(l.db.Locate(ctx, 100))(t).Object
			if o.OID != oid || len(o.Salt) == 0 || o.Salt[0] != test.want {
				t.Errorf("%s, newest first %v: sealing %x of %s", name, newestFirst, o.Salt, o.OID)
			}
		}
	}
}
