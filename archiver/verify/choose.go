package verify

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// clockSlack is by how much the clock may be set back, as machines do it, before a time that lies ahead of it counts as unknown.
const clockSlack = time.Hour

// ahead reports whether a time was noted by a clock that was wrong: nobody knows when that was.
func ahead(t, now time.Time) bool { return t.Sub(now) > clockSlack }

// choose lists what is to be read: each item is a part or, for the openssl program, the parts of a copy.
func (v *verifier) choose(ctx context.Context, o Options) ([][]catalog.VerifyPart, error) {
	// Who names a tape or a path wants to know of all that should be there.
	f := catalog.VerifyFilter{Barcode: o.Tape, Written: o.written, Damaged: o.Tape != "" || len(o.Paths) > 0}
	if o.Source != "" {
		src, err := v.env.DB.SourceByName(ctx, o.Source)
		if err != nil {
			return nil, err
		}
		f.Source = src.ID
	}
	if len(o.Paths) > 0 {
		f.Objects = map[int64]bool{}
		for _, p := range o.Paths {
			if err := v.env.DB.ObjectsBelow(ctx, p, f.Objects); err != nil {
				return nil, fmt.Errorf("look for the objects to verify: %w", err)
			}
		}
	}
	parts, err := v.env.DB.VerifyParts(ctx, f)
	if err != nil {
		return nil, err
	}
	since, err := v.env.DB.CampaignSince(ctx, v.run)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	resumes := since.Before(v.run.Started)
	parts = slices.DeleteFunc(parts, func(p catalog.VerifyPart) bool {
		last := p.Verified
		if last.Before(p.Durable) {
			last = p.Durable
		}
		if o.unproved && !neverRead(p) {
			return true
		}
		due := now.Sub(last) >= o.Due || ahead(last, now) || p.Suspected.After(last) // what lies on a suspect tape is due at once
		if _, ok := o.pools[p.Pool]; o.pools != nil && !ok || o.Due > 0 && !due {
			return true
		}
		if resumes && !v.openssl && !p.Verified.Before(since) && !ahead(p.Verified, now) {
			v.sum.Skipped++
			return true
		}
		return false
	})
	slices.SortStableFunc(parts, func(x, y catalog.VerifyPart) int { // they come with the oldest first
		switch xa, ya := ahead(x.Verified, now), ahead(y.Verified, now); {
		case xa && !ya:
			return -1
		case ya && !xa:
			return 1
		}
		return 0
	})
	items := make([][]catalog.VerifyPart, 0, len(parts))
	at := map[int64]int{}
	for _, p := range parts {
		if i, ok := at[p.Copy]; ok && v.openssl {
			items[i] = append(items[i], p)
			continue
		}
		at[p.Copy] = len(items)
		items = append(items, []catalog.VerifyPart{p})
	}
	if resumes && v.openssl {
		items = slices.DeleteFunc(items, func(item []catalog.VerifyPart) bool {
			if slices.ContainsFunc(item, func(p catalog.VerifyPart) bool { return p.Verified.Before(since) }) {
				return false
			}
			v.sum.Skipped += len(item)
			return true
		})
	}
	switch {
	case o.pools != nil:
		by := map[string][][]catalog.VerifyPart{}
		for _, item := range items {
			by[item[0].Pool] = append(by[item[0].Pool], item)
		}
		items = nil
		for pool, list := range by {
			items = append(items, sample(list, o.pools[pool])...)
		}
	case o.Sample > 0:
		items = sample(items, o.Sample)
	}
	if o.Budget > 0 {
		left := o.Budget
		for i, item := range items {
			if left <= 0 {
				items, v.cut = items[:i], true
				break
			}
			left -= sizeOf(item)
		}
	}
	for _, item := range items {
		slices.SortFunc(item, func(x, y catalog.VerifyPart) int { return cmp.Compare(x.Number, y.Number) })
	}
	slices.SortFunc(items, func(x, y []catalog.VerifyPart) int {
		return cmp.Or(cmp.Compare(x[0].Barcode, y[0].Barcode), cmp.Compare(x[0].StartBlock, y[0].StartBlock), cmp.Compare(x[0].ID, y[0].ID))
	})
	return items, nil
}

func sizeOf(item []catalog.VerifyPart) (n int64) {
	for _, p := range item {
		n += p.Size
	}
	return n
}

// sample draws items at random until they hold a share of all bytes; one at least.
func sample(items [][]catalog.VerifyPart, share float64) [][]catalog.VerifyPart {
	if share >= 1 {
		return items
	}
	var total, got int64
	for _, item := range items {
		total += sizeOf(item)
	}
	rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	for i, item := range items {
		if float64(got) >= share*float64(total) {
			return items[:i]
		}
		got += sizeOf(item)
	}
	return items
}
