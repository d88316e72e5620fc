package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// spooled is a life with one synced batch of one object, owed to both pools.
func spooled(t *testing.T) (*life, catalog.Batch, catalog.PlannedObject) {
	t.Helper()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID, l.pools[1].ID}, "a")
	l.fetch(t, b, o)
	return l, b, o
}

// owed is the one copy that a pool is owed.
func (l *life) owed(t *testing.T, pool int) catalog.OwedCopy {
	t.Helper()
	list := must(l.db.OwedCopies(context.Background(), l.pools[pool].ID))(t)
	if len(list) != 1 {
		t.Fatalf("owed to %s: %+v", l.pools[pool].Name, list)
	}
	return list[0]
}

func (l *life) begin(t *testing.T, pool, number int) catalog.CopyPart {
	t.Helper()
	return must(l.db.AddCopyPart(context.Background(), catalog.CopyPart{Copy: l.owed(t, pool).ID, Number: number, Tape: l.tapes[pool].ID, Name: "p"}))(t)
}

// part is a part of a size, with sums made of a byte.
func part(number int, size int64, b byte) catalog.Part {
	n := int((size + catalog.ExtentSize - 1) / catalog.ExtentSize)
	return catalog.Part{Number: number, Size: size, SHA256: bytes.Repeat([]byte{b}, 32), Sums: bytes.Repeat([]byte{b}, 32*n)}
}

func packingOf(o catalog.PlannedObject, salt []byte, sealed int64) *catalog.Packing {
	k := &catalog.Packing{Object: o.ID, Salt: salt, PlainSize: sealed - 16, SealedSize: sealed}
	for i, v := range o.Versions {
		m := catalog.PackedMember{Member: catalog.Member{Version: v.ID, Header: int64(i) * 1024, Data: -1}}
		if v.Kind == catalog.File {
			m.Data, m.SHA256 = m.Header+512, sum
		}
		k.Members = append(k.Members, m)
	}
	return k
}

func (l *life) copyState(t *testing.T, object int64, pool int) catalog.CopyState {
	t.Helper()
	for _, c := range must(l.db.ObjectCopies(context.Background(), object))(t) {
		if c.Pool == l.pools[pool].ID {
			return c.State
		}
	}
	t.Fatalf("object %d has no copy for %s", object, l.pools[pool].Name)
	return 0
}

func (l *life) wantCopy(t *testing.T, object int64, pool int, want catalog.CopyState) {
	t.Helper()
	if got := l.copyState(t, object, pool); got != want {
		t.Errorf("copy in %s has state %d, want %d", l.pools[pool].Name, got, want)
	}
}

func TestPartsOfTwoAndTheirStates(t *testing.T) {
	ctx := context.Background()
	l, b, o := spooled(t)
	const full = 2 * catalog.ExtentSize // the part size of plan
	l.wantCopy(t, o.ID, 0, catalog.Owed)
	first := l.begin(t, 0, 0)
	l.wantCopy(t, o.ID, 0, catalog.Writing)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: first.ID, StartBlock: 5, Part: part(0, full, 1)}, nil))
	l.wantCopy(t, o.ID, 0, catalog.Writing)
	l.synced(t, 0, 2, 0) // a sync between two parts
	l.wantCopy(t, o.ID, 0, catalog.Writing)
	if c := l.owed(t, 0); c.Object.State != catalog.ObjectPlanned || c.Object.Salt != nil {
		t.Errorf("half packed: %+v", c.Object)
	}
	second := l.begin(t, 0, 1)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: second.ID, Part: part(1, 100, 2)}, packingOf(o, salt, full+100)))
	l.wantCopy(t, o.ID, 0, catalog.Written)
	if tape := must(l.db.TapeByUUID(ctx, "main"))(t); tape.Used != full+100 {
		t.Errorf("used: %d", tape.Used)
	}
	packed := must(l.db.BatchObjects(ctx, b.ID))(t)[0]
	if packed.State != catalog.ObjectPacked || !bytes.Equal(packed.Salt, salt) || packed.SealedSize != full+100 || packed.PlainSize != full+84 {
		t.Errorf("packed: %+v", packed.Object)
	}
	if v := packed.Versions[1]; !bytes.Equal(v.SHA256, sum) {
		t.Errorf("sum of a file: %x", v.SHA256)
	}
	if got := must(l.db.PartSums(ctx, o.ID, 0))(t); len(got) != 64 {
		t.Errorf("%d bytes of sums", len(got))
	}
	if _, err := l.db.PartSums(ctx, o.ID, 2); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("sums of no part: %v", err)
	}
	l.synced(t, 0, 3, 0)
	l.wantCopy(t, o.ID, 0, catalog.Durable)
	if err := l.db.ReleaseBatch(ctx, b.ID); !errors.Is(err, catalog.ErrUnsafe) {
		t.Errorf("released while a pool is owed a copy: %v", err)
	}
	if loc := must(l.db.Locate(ctx, o.Versions[1].ID))(t); len(loc.Places) != 1 || len(loc.Places[0].Parts) != 2 || loc.Places[0].Parts[1].ID != second.ID ||
		loc.Places[0].Parts[0].StartBlock != 5 || loc.Places[0].Parts[0].Barcode != "A00001L8" || loc.Batch == nil {
		t.Errorf("location: %+v", loc)
	}
}

// Rule 8: what is recorded of an object never changes, and what does not match it is refused whole.
func TestPackedObjectsAreRepeatedOnly(t *testing.T) {
	ctx := context.Background()
	l, _, o := spooled(t)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(o, salt, 1000)))
	again := l.begin(t, 1, 0)
	short := part(0, 1000, 1)
	short.Sums = short.Sums[:31]
	other := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	for what, c := range map[string]struct {
		part    catalog.Part
		packing *catalog.Packing
	}{
		"other sums":        {part(0, 1000, 2), nil},
		"another size":      {part(0, 999, 1), nil},
		"too few sums":      {short, nil},
		"another number":    {part(1, 1000, 1), nil},
		"a second packing":  {part(0, 1000, 1), packingOf(o, other, 1000)},
		"the same packing":  {part(0, 1000, 1), packingOf(o, salt, 1000)},
		"beyond the grid":   {part(0, 3*catalog.ExtentSize, 1), nil},
		"nothing":           {catalog.Part{}, nil},
		"a foreign packing": {part(0, 1000, 1), &catalog.Packing{Object: 99, Salt: other}},
	} {
		if err := l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: again.ID, Part: c.part}, c.packing); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	extra := l.begin(t, 1, 1) // a part that the recorded object does not have
	if err := l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: extra.ID, Part: part(1, 10, 1)}, nil); err == nil {
		t.Error("a packed object got another part")
	}
	if parts := must(l.db.Parts(ctx, o.ID))(t); len(parts) != 1 || parts[0].Size != 1000 {
		t.Errorf("parts: %+v", parts)
	}
	if tape := must(l.db.TapeByUUID(ctx, "offsite"))(t); tape.Used != 0 {
		t.Errorf("refused parts count: %+v", tape)
	}
	check(t, l.db.PartFailed(ctx, extra.ID, catalog.PartLost, 0))
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: again.ID, Part: part(0, 1000, 1)}, nil))
	l.wantCopy(t, o.ID, 1, catalog.Written)
	if err := l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: again.ID, Part: part(0, 1000, 1)}, nil); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("closed twice: %v", err)
	}
}

func TestPackingMustAddUp(t *testing.T) {
	ctx := context.Background()
	l, b, o := spooled(t)
	_, other := l.plan(t, "02", nil, "b")
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	good := func() *catalog.Packing { return packingOf(o, salt, 1000) }
	for what, change := range map[string]func(*catalog.Packing){
		"a size that the parts do not have": func(k *catalog.Packing) { k.SealedSize++ },
		"no salt":                           func(k *catalog.Packing) { k.Salt = nil },
		"a salt that was never drawn":       func(k *catalog.Packing) { k.Salt = make([]byte, 8) },
		"a member without a place":          func(k *catalog.Packing) { k.Members = k.Members[:1] },
		"a member with a place before 0":    func(k *catalog.Packing) { k.Members[1].Header = -1 },
		"another object's member":           func(k *catalog.Packing) { k.Members[1].Version = other.Versions[1].ID },
	} {
		k := good()
		change(k)
		if err := l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, k); err == nil {
			t.Errorf("a packing with %s was accepted", what)
		}
	}
	if parts := must(l.db.Parts(ctx, o.ID))(t); len(parts) != 0 || must(l.db.BatchObjects(ctx, b.ID))(t)[0].State != catalog.ObjectPlanned {
		t.Errorf("refused packings left parts: %+v", parts)
	}
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, good()))
	// Another object cannot be sealed under the same salt.
	b2, o2 := l.plan(t, "03", []int64{l.pools[0].ID}, "c")
	l.fetch(t, b2, o2)
	p = l.begin(t, 0, 0)
	if err := l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(o2, salt, 1000)); err == nil {
		t.Error("two objects were sealed under one salt")
	}
}

func TestVoidMembers(t *testing.T) {
	ctx := context.Background()
	l, b, o := spooled(t)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	k := packingOf(o, salt, 1000)
	k.Members[1].Void, k.Members[1].SHA256 = true, nil
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, k))
	if v := must(l.db.Get(ctx, o.Versions[1].ID))(t); v.State != catalog.Void || v.SHA256 != nil || !v.Current {
		t.Errorf("void: %+v", v)
	}
	check(t, l.db.Unmanifested(ctx, l.tapes[0].ID, func(m *catalog.ManifestPart) error {
		if m.Member[0].Void || !m.Member[1].Void {
			t.Errorf("members: %+v", m.Member)
		}
		return nil
	}))
	if objects := must(l.db.BatchObjects(ctx, b.ID))(t); len(objects[0].Versions) != 2 {
		t.Errorf("void versions are left out: %+v", objects)
	}
}

// The tape ends in the second part: it is abandoned there and written whole to another tape.
func TestEndOfTape(t *testing.T) {
	ctx := context.Background()
	l, _, o := spooled(t)
	const full = 2 * catalog.ExtentSize
	next := must(l.db.AddTape(ctx, catalog.Tape{Barcode: "A00002L8", UUID: "main2", Pool: l.pools[0].ID}))(t)
	if next.Number != 3 || next.State != catalog.TapeOpen {
		t.Errorf("tape: %+v", next)
	}
	first := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: first.ID, Part: part(0, full, 1)}, nil))
	cut := l.begin(t, 0, 1)
	check(t, l.db.PartFailed(ctx, cut.ID, catalog.PartAbandoned, 60))
	l.wantCopy(t, o.ID, 0, catalog.Writing)
	if parts := must(l.db.Parts(ctx, o.ID))(t); len(parts) != 1 {
		t.Errorf("the written part's sums went: %+v", parts)
	}
	whole := must(l.db.AddCopyPart(ctx, catalog.CopyPart{Copy: l.owed(t, 0).ID, Number: 1, Tape: next.ID, Name: "p"}))(t)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: whole.ID, Part: part(1, 100, 2)}, packingOf(o, salt, full+100)))
	l.wantCopy(t, o.ID, 0, catalog.Written)
	var others []catalog.CopyPart
	check(t, l.db.Unmanifested(ctx, next.ID, func(m *catalog.ManifestPart) error { others = m.Others; return nil }))
	if len(others) != 2 || others[0].ID != first.ID || others[1].ID != cut.ID || others[1].State != catalog.PartAbandoned || others[1].Size != 60 {
		t.Errorf("other parts: %+v", others)
	}
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: next.ID, Seq: 1, Name: "m", MAC: sum, Previous: make([]byte, 32)}, []int64{whole.ID}))(t)
	check(t, l.db.MarkDurable(ctx, next.ID, 2, 0, time.Now()))
	l.wantCopy(t, o.ID, 0, catalog.Written) // the first part's tape is not synced
	l.synced(t, 0, 2, 0)
	l.wantCopy(t, o.ID, 0, catalog.Durable)
	if tape := must(l.db.TapeByUUID(ctx, "main"))(t); tape.Leftover != 60 || tape.Used != full {
		t.Errorf("tape: %+v", tape)
	}
	if n, bytes, err := l.db.TapeObjects(ctx, l.tapes[0].ID); err != nil || n != 1 || bytes != full {
		t.Errorf("objects on tape: %d, %d bytes, %v", n, bytes, err)
	}
}

// A crash left parts of an object that is not packed: they fail one by one, then it is packed anew.
func TestHalfPackedObject(t *testing.T) {
	ctx := context.Background()
	l, b, o := spooled(t)
	const full = 2 * catalog.ExtentSize
	first, second := l.begin(t, 0, 0), catalog.CopyPart{}
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: first.ID, Part: part(0, full, 1)}, nil))
	second = l.begin(t, 0, 1)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: second.ID, Part: part(1, full, 2)}, nil))
	if unsafe := must(l.db.UnsafeParts(ctx))(t); len(unsafe) != 2 || unsafe[0].ID != first.ID {
		t.Errorf("unsafe: %+v", unsafe)
	}
	check(t, l.db.PartFailed(ctx, first.ID, catalog.PartLost, full))
	if parts := must(l.db.Parts(ctx, o.ID))(t); len(parts) != 2 {
		t.Errorf("sums of a part that is still there went: %+v", parts)
	}
	check(t, l.db.PartFailed(ctx, second.ID, catalog.PartLost, full))
	check(t, l.db.PartFailed(ctx, second.ID, catalog.PartLost, full)) // again: counted once
	if parts := must(l.db.Parts(ctx, o.ID))(t); len(parts) != 0 {
		t.Errorf("parts: %+v", parts)
	}
	if tape := must(l.db.TapeByUUID(ctx, "main"))(t); tape.Used != 0 || tape.Leftover != 2*full {
		t.Errorf("tape: %+v", tape)
	}
	l.wantCopy(t, o.ID, 0, catalog.Owed)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 500, 9)}, packingOf(o, salt, 500)))
	l.wantCopy(t, o.ID, 0, catalog.Written)
	check(t, l.db.PartProved(ctx, p.ID))
	l.wantCopy(t, o.ID, 0, catalog.Written) // no manifest names it
	l.synced(t, 0, 2, 0)
	l.wantCopy(t, o.ID, 0, catalog.Durable)
	for _, id := range []int64{second.ID, 999} {
		if err := l.db.PartProved(ctx, id); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("part %d was proved: %v", id, err)
		}
	}
	if err := l.db.PartFailed(ctx, p.ID, catalog.PartDurable, 0); err == nil {
		t.Error("a part failed to be durable")
	}
	if err := l.db.PartFailed(ctx, 999, catalog.PartLost, 0); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown part: %v", err)
	}
	if left := must(l.db.ReleasableBatches(ctx))(t); len(left) != 0 {
		t.Errorf("batch %d is safe before its second copy: %v", b.ID, left)
	}
}

func TestUnpack(t *testing.T) {
	ctx := context.Background()
	l, _, o := spooled(t)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	void := packingOf(o, salt, 1000)
	void.Members[1].Void = true
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, void))
	if err := l.db.Unpack(ctx, o.ID); !errors.Is(err, catalog.ErrLive) {
		t.Errorf("an object with parts on tape was unpacked: %v", err)
	}
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartLost, 0))
	check(t, l.db.Unpack(ctx, o.ID))
	c := l.owed(t, 0)
	if c.Object.State != catalog.ObjectPlanned || c.Object.Salt != nil || len(must(l.db.Parts(ctx, o.ID))(t)) != 0 {
		t.Errorf("unpacked: %+v", c.Object)
	}
	if got := must(l.db.GetCopy(ctx, c.ID))(t); got.Object != o.ID || got.State != catalog.Owed {
		t.Errorf("copy: %+v", got)
	}
	if _, err := l.db.GetCopy(ctx, 999); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown copy: %v", err)
	}
	if v := must(l.db.Get(ctx, o.Versions[1].ID))(t); v.State != catalog.Present || v.SHA256 == nil { // a sum that was recorded stays
		t.Errorf("a file of an unpacked object: %+v", v)
	}
	if err := l.db.Unpack(ctx, o.ID); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("unpacked twice: %v", err)
	}
	// Its old salt is never used again.
	p = l.begin(t, 0, 0)
	fresh := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	if bytes.Equal(fresh, salt) {
		t.Fatal("a salt was drawn twice")
	}
	if err := l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 900, 2)}, packingOf(o, salt, 900)); err == nil {
		t.Error("two texts were sealed under one salt")
	}
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 900, 2)}, packingOf(o, fresh, 900)))
}
