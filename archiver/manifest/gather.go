package manifest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/tapefs/tapefs/catalog"
)

// gather fills the scratch files.
func (b *builder) gather(ctx context.Context) error {
	if err := b.world(ctx); err != nil {
		return err
	}
	if err := b.DB.Unmanifested(ctx, b.Tape.ID, b.part); err != nil {
		return err
	}
	if err := b.DB.UnnamedElsewhere(ctx, b.Tape.ID, b.part); err != nil {
		return err
	}
	if err := b.changes(ctx); err != nil {
		return err
	}
	return b.directories(ctx)
}

// world writes the records of what objects and parts refer to.
func (b *builder) world(ctx context.Context) error {
	sources, err := b.DB.Sources(ctx)
	if err != nil {
		return err
	}
	keys, err := b.DB.Keys(ctx)
	if err != nil {
		return err
	}
	pools, err := b.DB.Pools(ctx)
	if err != nil {
		return err
	}
	tapes, err := b.DB.Tapes(ctx)
	if err != nil {
		return err
	}
	b.sources, b.tapes = map[int64]string{}, map[int64]catalog.Tape{}
	for _, s := range sources {
		b.sources[s.ID] = s.Name
		b.want(s.Root)
		b.head.record(SourceRecord{Type: "source", Name: s.Name, URL: newText(s.URL), Root: s.Root, Listed: s.Listed.UTC()})
	}
	for _, k := range keys {
		b.head.record(KeyRecord{Type: "key", Key: k.Fingerprint, Cipher: k.Cipher, Iterations: k.Iterations, Added: k.Added.UTC(), CopySeen: k.CopySeen.UTC()})
	}
	for _, p := range pools {
		b.head.record(PoolRecord{Type: "pool", Name: p.Name})
	}
	for _, t := range tapes {
		b.tapes[t.ID] = t
		b.head.record(newTapeRecord(t))
	}
	return b.head.err
}

// part writes the records of one part and, when it is the first of its object, of the object.
func (b *builder) part(p *catalog.ManifestPart) error {
	b.copyParts = append(b.copyParts, p.ID)
	o := &p.Object
	if !b.objects[o.Object.ID] {
		b.objects[o.Object.ID] = true
		if err := b.objectRecords(p); err != nil {
			return err
		}
		b.sums.object(o.Object, o.Fingerprint)
		former := map[string]bool{}
		for _, other := range p.Others {
			if old := other.FormerOID(o.OID); old != "" && !former[old] {
				former[old] = true
				b.sums.superseded(o.Fingerprint, old)
			}
			// Those on the same tape are named in their own right, here or in an older manifest.
			if other.Tape != p.Tape || other.State == catalog.PartAbandoned {
				b.partRecord(p, other)
			}
		}
	}
	b.partRecord(p, p.CopyPart)
	return errors.Join(b.body.err, b.sums.err)
}

// PartRecord writes where a part of p's object lies, in the manifest and in SHA256SUMS.
func (b *builder) partRecord(p *catalog.ManifestPart, part catalog.CopyPart) {
	if b.parts[part.ID] {
		return
	}
	b.parts[part.ID] = true
	t := b.tapes[part.Tape]
	b.body.record(PartRecord{Type: "part", Object: p.Object.OID, Pool: b.Label.Pool, Number: part.Number, Barcode: t.Barcode, Volume: t.UUID,
		Name: part.Name, Size: part.Size, StartBlock: part.StartBlock, State: PartStates.word(int(part.State))})
	if part.State == catalog.PartWritten || part.State == catalog.PartDurable {
		b.sumLine(p.Parts, part)
	}
}

// sumLine lists a part in SHA256SUMS.
func (b *builder) sumLine(parts []catalog.Part, p catalog.CopyPart) {
	if p.Tape == b.Tape.ID {
		b.sums.here(partSum(parts, p.Number), p.Name)
	} else {
		b.sums.elsewhere(partSum(parts, p.Number), p, b.tapes[p.Tape])
	}
}

// partSum is the SHA-256 of a part; nil when it is not known.
func partSum(parts []catalog.Part, number int) []byte {
	for _, p := range parts {
		if p.Number == number {
			return p.SHA256
		}
	}
	return nil
}

func (b *builder) objectRecords(p *catalog.ManifestPart) error {
	o := &p.Object
	b.body.record(ObjectRecord{Type: "object", Object: o.OID, Source: b.sources[o.Source], Key: o.Fingerprint, Salt: hex.EncodeToString(o.Salt),
		PartSize: o.PartSize, PlainSize: o.PlainSize, SealedSize: o.SealedSize, State: ObjectStates.word(int(o.Object.State)), Created: o.Created.UTC()})
	for _, part := range p.Parts {
		b.body.record(SumRecord{Type: "sum", Object: o.OID, Number: part.Number, Size: part.Size, SHA256: hex.EncodeToString(part.SHA256), Sums: part.Sums})
	}
	placed := make(map[catalog.ID]*catalog.PackedMember, len(p.Member))
	void := map[catalog.ID]bool{}
	for i := range p.Member {
		placed[p.Member[i].Version] = &p.Member[i]
	}
	isVoid := func(v *catalog.Version) bool {
		m := placed[v.ID]
		return v.State == catalog.Void || m != nil && m.Void
	}
	for i := range o.Versions {
		if v := &o.Versions[i]; isVoid(v) {
			void[v.ID] = true
		}
	}
	for i := range o.Versions {
		v := &o.Versions[i]
		b.want(v.Parent)
		r := MemberRecord{Type: "member", Object: o.OID, Header: -1, Data: -1, Node: newNode(v)}
		if m := placed[v.ID]; m != nil {
			r.Header, r.Data = m.Header, m.Data
			if m.SHA256 != nil {
				r.SHA256 = hex.EncodeToString(m.SHA256)
			}
		}
		// A link to a void file is as void as the file.
		if r.Void = void[v.ID] || void[v.Inode] || void[v.Data]; r.Void {
			b.voids = append(b.voids, voidEntry{o.OID, v.ID})
		}
		b.body.record(r)
	}
	return b.body.err
}

// changesAtOnce bounds how many changes are held in memory.
const changesAtOnce = 1000

// changes writes change records with the state that each version now has.
func (b *builder) changes(ctx context.Context) error {
	enough := errors.New("enough changes")
	for {
		var some []catalog.Change
		err := b.DB.Changes(ctx, b.upto, func(c *catalog.Change) error {
			if some = append(some, *c); len(some) == changesAtOnce {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			return err
		}
		for _, c := range some {
			if err := b.change(ctx, c); err != nil {
				return err
			}
		}
		if err == nil {
			return errors.Join(b.body.err, b.meta.err, b.moved.err, b.forgotten.err, b.gone.err, b.links.err)
		}
	}
}

func (b *builder) change(ctx context.Context, c catalog.Change) error {
	r := ChangeRecord{Type: "change", ID: c.ID, At: c.At.UTC(), Kind: c.Kind, Version: c.Version}
	if json.Valid([]byte(c.Detail)) {
		r.Detail = json.RawMessage(c.Detail)
	}
	if catalog.IsFinding(c.Kind) { // its detail says all of it
		b.body.record(r)
		b.upto = max(b.upto, c.ID)
		return b.body.err
	}
	v, err := b.DB.Get(ctx, c.Version)
	switch {
	case err == nil:
		b.want(v.Parent)
		n := newNode(&v)
		r.Now = &n
		if err := errors.Join(b.metaLine(ctx, &c, &v), b.forgetLines(ctx, &c, &v), b.goneLine(ctx, &c, &v), b.linkLine(ctx, &c, &v)); err != nil {
			return err
		}
	case !errors.Is(err, catalog.ErrNotFound):
		return err
	}
	b.body.record(r)
	b.upto = max(b.upto, c.ID)
	return nil
}

// want asks for a directory's record.
func (b *builder) want(id catalog.ID) {
	if id != 0 && id != catalog.Root && !b.dirs[id] {
		b.dirs[id] = true
		b.parents = append(b.parents, id)
	}
}

// directories writes the records of all directories wanted, and of those above them.
func (b *builder) directories(ctx context.Context) error {
	for len(b.parents) > 0 {
		id := b.parents[len(b.parents)-1]
		b.parents = b.parents[:len(b.parents)-1]
		v, err := b.DB.Get(ctx, id)
		if err != nil {
			return err
		}
		b.want(v.Parent)
		b.head.record(DirRecord{Type: "dir", Node: newNode(&v)})
	}
	return b.head.err
}
