package archiver

import (
	"context"
	"slices"
	"strings"
)

// Pending lists the pools of some sources with changes that no manifest names yet; no sources: of all.
func (a *Archiver) Pending(ctx context.Context, sources []Source) ([]Pending, error) {
	counts, err := a.env.DB.PendingChanges(ctx)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		sources = a.env.Config.Sources
	}
	var out []Pending
	for pool, kinds := range counts {
		if slices.ContainsFunc(sources, func(s Source) bool { return slices.Contains(s.Copies, pool) }) {
			out = append(out, Pending{Pool: pool, Kinds: kinds})
		}
	}
	slices.SortFunc(out, func(x, y Pending) int { return strings.Compare(x.Pool, y.Pool) })
	return out, nil
}
