package recall

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// collect finds the extents of all files.
func (p *prefetch) collect(ctx context.Context, ids []catalog.ID) error {
	for _, id := range ids {
		err := p.q.db.Files(ctx, id, func(v *catalog.Version) error {
			p.plan.Files++
			w, data, err := p.find(ctx, v)
			if err != nil || w == nil {
				return err
			}
			first, last := cache.Extents(data+crypto.HeaderSize, v.Size)
			for n := first; n <= last; n++ {
				w.want.Set(n, true)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	p.byOID = make(map[string]*needed, len(p.objects))
	for _, w := range p.objects {
		p.byOID[w.o.oid] = w
	}
	p.each(func(_ *object, _, size int64) { p.plan.Bytes += size })
	p.plan.Missing = p.missing()
	p.room = max(0, min(p.plan.Missing, p.q.cache.Capacity(p.wants)-(p.plan.Bytes-p.plan.Missing)))
	p.plan.Room = p.room
	return nil
}

// each calls fn for every extent on the list.
func (p *prefetch) each(fn func(o *object, n, size int64)) {
	for _, w := range p.objects {
		_, _, size := w.o.extent(0)
		for n := int64(0); size > 0; n++ {
			if _, _, size = w.o.extent(n); size > 0 && w.want.Get(n) {
				fn(w.o, n, size)
			}
		}
	}
}

// missing is how many bytes of the list are not in the cache; those that are become the most recently used.
func (p *prefetch) missing() (bytes int64) {
	p.each(func(o *object, n, size int64) {
		if !p.q.cache.Touch(o.oid, n) {
			bytes += size
		}
	})
	return bytes
}

// wants tells whether an extent is on the list.
func (p *prefetch) wants(oid string, n int64) bool {
	w := p.byOID[oid]
	return w != nil && w.want.Get(n)
}

// find returns the object that a file's bytes are read from, and where in its plain stream they begin. Nil
// without an error: nothing is to be read.
func (p *prefetch) find(ctx context.Context, v *catalog.Version) (*needed, int64, error) {
	if v.Size == 0 {
		return nil, 0, nil
	}
	if v.Batch == 0 {
		id, data, err := p.q.db.BytesAt(ctx, v.Data)
		if err != nil {
			return nil, 0, err
		}
		if w := p.objects[id]; w != nil && v.Size <= w.o.sealed-crypto.HeaderSize-data {
			return w, data, nil
		}
	}
	loc, err := p.q.db.Locate(ctx, v.ID)
	if err != nil {
		return nil, 0, err
	}
	if loc.Batch != nil && loc.Batch.State == catalog.Synced {
		p.plan.Spooled++
		return nil, 0, nil
	}
	if w := p.objects[loc.Object.ID]; w != nil {
		return w, loc.Data, nil
	}
	o, err := p.q.openObject(loc)
	if errors.Is(err, ErrNoBytes) {
		p.plan.Lost++
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	w := &needed{o: o}
	p.objects[o.id] = w
	return w, loc.Data, nil
}

// byTape chooses the tape for each missing extent: as few tapes as possible, near ones first.
func (p *prefetch) byTape() {
	tapes := map[string]*tapePlan{}
	ids := make([]int64, 0, len(p.objects))
	for id := range p.objects {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		w := p.objects[id]
		for n := int64(0); ; n++ {
			_, _, size := w.o.extent(n)
			if size <= 0 {
				break
			}
			if !w.want.Get(n) || p.q.cache.Has(w.o.oid, n) {
				continue
			}
			copies := w.o.copies(n)
			if len(copies) == 0 {
				p.result.Failed += size
				p.result.Why = fmt.Sprintf("object %s extent %d: %v", w.o.oid, n, ErrNoBytes)
				continue
			}
			cp := slices.MinFunc(copies, func(a, b catalog.CopyPart) int { return p.cost(tapes, a) - p.cost(tapes, b) })
			t := tapes[cp.Barcode]
			if t == nil {
				t = &tapePlan{PrefetchTape: PrefetchTape{Barcode: cp.Barcode}, place: outside}
				if p.inv != nil {
					t.place = p.inv.place(cp.Barcode)
				}
				t.Outside, t.Loaded = t.place == outside, t.place == inDrive
				tapes[cp.Barcode] = t
				p.tapes = append(p.tapes, t)
			}
			t.Bytes += size
			at := p.q.positionOf(w.o, cp, n)
			if k := len(t.runs) - 1; k >= 0 && t.runs[k].o == w.o && t.runs[k].last == n-1 && t.runs[k].at.copyPart == cp.ID {
				t.runs[k].last = n
			} else {
				t.runs = append(t.runs, readRun{at, w.o, n, n})
			}
		}
	}
	for _, t := range p.tapes {
		slices.SortFunc(t.runs, func(a, b readRun) int { return a.at.compare(b.at) })
		t.Jumps = jumps(t.runs)
	}
	// The longest work first: the drives end at about the same time.
	slices.SortStableFunc(p.tapes, func(a, b *tapePlan) int {
		if a.place != b.place {
			return int(a.place) - int(b.place)
		}
		if a.Bytes != b.Bytes {
			return rank(a.Bytes < b.Bytes)*2 - 1
		}
		return 0
	})
	for _, t := range p.tapes {
		p.plan.Tapes = append(p.plan.Tapes, t.PrefetchTape)
	}
}

// cost orders the copies of an extent.
func (p *prefetch) cost(tapes map[string]*tapePlan, cp catalog.CopyPart) int {
	cost := 4 * int(outside)
	if p.inv != nil {
		cost = 4 * int(p.inv.place(cp.Barcode))
	}
	if tapes[cp.Barcode] == nil {
		cost += 2
	}
	return cost + rank(cp.State != catalog.PartDurable)
}

// smallGap is how many extents of a part a drive reads over rather than to stop and run.
const smallGap = 16

// jumps counts the places of a tape between which more than a small gap lies.
func jumps(runs []readRun) (n int64) {
	for i, r := range runs {
		if i == 0 || r.at.copyPart != runs[i-1].at.copyPart || r.first > runs[i-1].last+smallGap {
			n++
		}
	}
	return n
}
