package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// Written reads back what a run wrote, as far as pools ask for it, through fresh mounts.
func Written(ctx context.Context, env *job.Env, run catalog.Run, noted *job.Problems) error {
	pools := map[string]float64{}
	for _, p := range env.Config.Pools {
		if p.VerifyAfterWrite > 0 {
			pools[p.Name] = p.VerifyAfterWrite
		}
	}
	if len(pools) == 0 {
		return nil
	}
	parts, err := env.DB.VerifyParts(ctx, catalog.VerifyFilter{Written: run.Started})
	if err != nil || !slices.ContainsFunc(parts, func(p catalog.VerifyPart) bool { return pools[p.Pool] > 0 }) {
		return err
	}
	_, err = Run(ctx, env, Options{Args: []string{"--after-run", fmt.Sprint(run.ID)}, written: run.Started, pools: pools})
	if err != nil && ctx.Err() == nil {
		noted.Add("", "", fmt.Errorf("read back what was written: %w", err))
		return nil
	}
	return err
}

// Parts reads parts in the order in which they are given, and records how each one is. Tapes that are not in the library are wanted.
func Parts(ctx context.Context, env *job.Env, run catalog.Run, noted *job.Problems, parts []catalog.VerifyPart) (err error) {
	v := &verifier{env: env, run: run, noted: noted, away: map[string]error{}, unlabelled: map[string]bool{}}
	for _, p := range parts {
		if err = ctx.Err(); err != nil {
			break
		}
		if _, err = v.readPart(ctx, p, nil); err != nil {
			break
		}
	}
	if err := errors.Join(err, v.leave(ctx)); err != nil {
		return err
	}
	return v.want(ctx)
}
