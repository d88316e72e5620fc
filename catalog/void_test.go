package catalog_test

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// What has its bytes from a member that turned out void, or to be something else than what was summed, is void, too: it is archived again.
func TestVoidMemberTakesItsLinks(t *testing.T) {
	for what, c := range map[string]struct {
		void bool
		sum  []byte
		lost bool
	}{
		"as it was summed": {sum: sum},
		"void":             {void: true, lost: true},
		"other bytes":      {sum: bytes.Repeat([]byte{8}, 32), lost: true},
	} {
		ctx := context.Background()
		l := newLife(t)
		fetched := func(b catalog.Batch, f catalog.Fetched) {
			f.Size, f.Meta = 5, catalog.Meta{Mode: 0o644, MTime: catalog.Time{Sec: 10, Nsec: 7}}
			check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{f}, time.Now()))
			check(t, l.db.SetBatchState(ctx, b.ID, catalog.Synced, 5))
		}
		b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "first")
		first := o.Versions[1].ID
		fetched(b, catalog.Fetched{Version: first, SHA256: sum})
		b2, o2 := l.plan(t, "02", nil, "equal")
		equal := o2.Versions[1].ID
		fetched(b2, catalog.Fetched{Version: equal, Same: first})

		owed := must(l.db.OwedCopies(ctx, l.pools[0].ID))(t)
		p := must(l.db.AddCopyPart(ctx, catalog.CopyPart{Copy: owed[0].ID, Tape: l.tapes[0].ID, Name: "tapefs/k/01"}))(t)
		salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
		packing := &catalog.Packing{Object: o.Object.ID, Salt: salt, PlainSize: 3000, SealedSize: 3016, Members: []catalog.PackedMember{
			{Member: catalog.Member{Version: o.Versions[0].ID, Data: -1}},
			{Member: catalog.Member{Version: first, Header: 1024, Data: 1536}, Void: c.void, SHA256: c.sum}}}
		check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, StartBlock: 5, Part: catalog.Part{Size: 3016, SHA256: sum, Sums: sum}}, packing))
		v := must(l.db.Get(ctx, equal))(t)
		if lost := v.State == catalog.Void; lost != c.lost || lost != slices.Contains(packing.Voided, equal) {
			t.Errorf("%s: state %d, voided %v", what, v.State, packing.Voided)
		}
	}
}
