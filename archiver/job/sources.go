package job

import (
	"context"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/catalog"
)

// ChooseSources finds the named sources.
func (env *Env) ChooseSources(names []string) ([]Source, error) {
	if len(names) == 0 {
		return env.Config.Sources, nil
	}
	var out []Source
	for _, n := range names {
		i := slices.IndexFunc(env.Config.Sources, func(s Source) bool { return s.Name == n })
		if i < 0 {
			return nil, fmt.Errorf("source %q is not configured", n)
		}
		if !slices.ContainsFunc(out, func(s Source) bool { return s.Name == n }) {
			out = append(out, env.Config.Sources[i])
		}
	}
	return out, nil
}

// SourceRow is the source in the catalog; in a dry run a new one has the zero ID.
func (env *Env) SourceRow(ctx context.Context, src Source, dry bool) (catalog.Source, error) {
	if !dry {
		return env.DB.EnsureSource(ctx, src.Name, src.URL)
	}
	all, err := env.DB.Sources(ctx)
	for _, s := range all {
		if s.Name == src.Name {
			return s, err
		}
	}
	return catalog.Source{Name: src.Name, URL: src.URL}, err
}

// Pool finds a configured pool.
func (env *Env) Pool(name string) (Pool, error) {
	for _, p := range env.Config.Pools {
		if p.Name == name {
			return p, nil
		}
	}
	return Pool{}, fmt.Errorf("pool %q is not configured", name)
}
