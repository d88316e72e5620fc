package archiver

import (
	"context"
	"errors"

	"github.com/tapefs/tapefs/catalog"
)

// unwritten lists, by the names of sources, the files that no tape holds yet; true: their paths showed something before.
func (a *Archiver) unwritten(ctx context.Context, sources []Source) (map[string]map[catalog.ID]bool, error) {
	out := map[string]map[catalog.ID]bool{}
	rows, err := a.env.DB.Sources(ctx)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		for _, s := range sources {
			if s.Name != row.Name {
				continue
			}
			if out[s.Name], err = a.env.DB.Unwritten(ctx, row.ID); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// countWritten makes a run's counts those of what it put on tape: files are counted as they come, so what came and is on no tape at
// the end is taken off, and what had waited since earlier runs and is on tape now is added.
func (a *Archiver) countWritten(ctx context.Context, run catalog.Run, sources []Source, before map[string]map[catalog.ID]bool) error {
	after, err := a.unwritten(ctx, sources)
	if err != nil {
		return err
	}
	report, err := a.env.DB.RunReport(ctx, run.ID)
	if err != nil {
		return err
	}
	for name, left := range after {
		var fresh, changed int64
		count := func(was bool, n int64) {
			if was {
				changed += n
			} else {
				fresh += n
			}
		}
		for id, was := range left {
			if _, waited := before[name][id]; !waited {
				count(was, -1)
			}
		}
		for id, was := range before[name] {
			if _, waits := left[id]; waits {
				continue
			}
			v, err := a.env.DB.Get(ctx, id)
			if err != nil && !errors.Is(err, catalog.ErrNotFound) {
				return err
			}
			if err == nil && v.State == catalog.Present { // else it vanished before it came to a tape
				count(was, 1)
			}
		}
		counted := report.Counts[name]
		again := min(counted["changed"]+changed, 0) // files that are taken once more since their bytes are lost have a past, too
		add := map[string]int64{"unwritten": int64(len(left)), "new": max(fresh, -counted["new"]), "changed": changed - again, "again": max(again, -counted["again"])}
		for key, n := range add {
			if n == 0 {
				delete(add, key)
			}
		}
		if err := a.env.DB.Count(ctx, run.ID, name, add); err != nil {
			return err
		}
	}
	return nil
}
