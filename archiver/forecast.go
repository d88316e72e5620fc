package archiver

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// memberCost is about what a file takes of an object beside its bytes.
const memberCost = 3 * pack.TarBlock

// forecast looks which tapes would be written. planned are the bytes that each pool would be owed by this run.
func (a *Archiver) forecast(ctx context.Context, planned map[string]int64) ([]Forecast, error) {
	if a.env.Lib == nil {
		return nil, nil
	}
	debts, err := a.env.DB.Debts(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what is owed: %w", err)
	}
	for _, d := range debts {
		planned[d.Pool] += d.Bytes
	}
	tapes, err := a.env.DB.Tapes(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for tapes: %w", err)
	}
	inv, err := a.env.Lib.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for tapes: %w", err)
	}
	taken := map[string]bool{} // blank ones, for the pools before
	var out []Forecast
	for _, p := range a.env.Config.Pools {
		if planned[p.Name] == 0 {
			continue
		}
		f := Forecast{Pool: p.Name, Bytes: planned[p.Name], Short: planned[p.Name]}
		least, err := a.smallestTape(ctx, p.Name)
		if err != nil {
			return nil, err
		}
		for _, c := range volume.Candidates(p, inv.Barcodes(), tapes) {
			if f.Short <= 0 {
				break
			}
			if taken[string(c.Barcode)] || !a.env.Lib.CanWrite(ctx, c.Barcode, !c.Known, nil) {
				continue
			}
			free := c.Tape.Free - volume.KeepFree(p, c.Tape.Capacity)
			if !c.Known {
				taken[string(c.Barcode)] = true
				size := least
				if size == 0 {
					size = nativeCapacity(c.Barcode)
				}
				free = size - volume.KeepFree(p, size)
			}
			if free <= 0 {
				continue
			}
			f.Tapes = append(f.Tapes, string(c.Barcode))
			f.Short -= free
		}
		f.Short = max(f.Short, 0)
		out = append(out, f)
	}
	return out, nil
}

// dryRun lists and compares; it records nothing.
func (a *Archiver) dryRun(ctx context.Context, sources []Source, o Options) (Summary, error) {
	sum := Summary{Counts: map[string]map[string]int64{}}
	planned := map[string]int64{}
	var mu sync.Mutex // guards what the sources have in common
	var failed error
	fail := func(src Source, err error) {
		a.env.Log.Warn(err.Error(), "source", src.Name)
		failed = fmt.Errorf("%w: %w", ErrPartial, err)
	}
	one := func(ctx context.Context, src Source) error {
		st, err := a.planSource(ctx, catalog.Run{}, src, o, func(catalog.Batch) error { return nil })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		counts := st.Counts()
		if err == nil && !st.Doubtful() {
			var kept ForgetSummary
			if _, kept, err = a.keepSelects(ctx, catalog.Run{}, src); err == nil {
				maps.Copy(counts, keptCounts(kept))
			}
		}
		mu.Lock()
		defer mu.Unlock()
		sum.Counts[src.Name] = counts
		sum.Skipped += int(st.Skipped)
		for _, pool := range src.Copies {
			if st.Planned > 0 {
				planned[pool] += st.Bytes + st.Planned*memberCost
			}
		}
		if err != nil {
			fail(src, err)
		} else if st.Doubtful() && failed == nil {
			failed = ErrPartial
		}
		return nil
	}
	o.Lanes = lanesFor(sources)
	l := &lanes{a: a, do: one, lost: func(src Source, err error) {
		mu.Lock()
		defer mu.Unlock()
		fail(src, err)
	}}
	if err := l.run(ctx, sources); err != nil {
		return sum, err
	}
	var err error
	if sum.Forecast, err = a.forecast(ctx, planned); err != nil {
		a.env.Log.Warn(err.Error())
	}
	return sum, failed
}
