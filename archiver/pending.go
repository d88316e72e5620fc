package archiver

import (
	"context"
	"slices"
	"strings"
)

// Pending is what no manifest on a pool's tapes names yet: changes of the catalog without any bytes, as names that vanished, were
// forgotten or have bytes from other names. No tape is loaded for them alone, unless Options.Names asks for it.
type Pending struct {
	Pool    string
	Changes int64
}

// Pending lists the pools of some sources with changes that no manifest names yet; no sources: of all.
func (a *Archiver) Pending(ctx context.Context, sources []Source) ([]Pending, error) {
	counts, err := a.db.PendingChanges(ctx)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		sources = a.cfg.Sources
	}
	var out []Pending
	for pool, n := range counts {
		if slices.ContainsFunc(sources, func(s Source) bool { return slices.Contains(s.Copies, pool) }) {
			out = append(out, Pending{Pool: pool, Changes: n})
		}
	}
	slices.SortFunc(out, func(x, y Pending) int { return strings.Compare(x.Pool, y.Pool) })
	return out, nil
}

// namesAsked reports whether this run is to write a manifest of a pool for changes alone.
func (w *writer) namesAsked(ctx context.Context, pool string) (bool, error) {
	if !w.names || !w.wants(pool) {
		return false, nil
	}
	counts, err := w.a.db.PendingChanges(ctx)
	return counts[pool] > 0, err
}
