package job

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/catalog"
)

// StartRun records that a run begins, and that those which died without a word have ended.
func (env *Env) StartRun(ctx context.Context, kind string, args []string) (catalog.Run, error) {
	if err := env.DB.MarkInterrupted(ctx, Alive); err != nil {
		return catalog.Run{}, err
	}
	return env.DB.StartRun(ctx, kind, args)
}

// EndOf is the state in which a run ends, and what is said of it.
func EndOf(ctx context.Context, err error) (state, message string) {
	switch {
	case err == nil:
		return "done", ""
	case ctx.Err() != nil, errors.Is(err, context.Canceled):
		return "interrupted", err.Error()
	case errors.Is(err, ErrPartial), errors.Is(err, ErrDamaged), errors.Is(err, ErrNeedsOperator):
		return "partial", err.Error()
	}
	return "failed", err.Error()
}

// Finish records how a run ended and gathers what it did.
func (env *Env) Finish(ctx context.Context, run catalog.Run, skipped int64, err error) (Summary, error) {
	state, message := EndOf(ctx, err)
	ctx = context.WithoutCancel(ctx)
	sum := Summary{Run: run.ID, Skipped: int(skipped)}
	if ferr := env.DB.FinishRun(ctx, run.ID, state, message); ferr != nil {
		return sum, errors.Join(err, fmt.Errorf("record the end of the run: %w", ferr))
	}
	report, rerr := env.DB.RunReport(ctx, run.ID)
	if rerr != nil {
		return sum, errors.Join(err, fmt.Errorf("read what the run did: %w", rerr))
	}
	sum.Counts = report.Counts
	for _, t := range report.Tapes {
		sum.Tapes = append(sum.Tapes, t.Barcode)
	}
	return sum, err
}

// AsRun records what fn does as a run.
func (env *Env) AsRun(ctx context.Context, kind string, args []string, fn func() error) error {
	run, err := env.StartRun(ctx, kind, args)
	if err != nil {
		return err
	}
	err = fn()
	state, message := EndOf(ctx, err)
	return errors.Join(err, env.DB.FinishRun(context.WithoutCancel(ctx), run.ID, state, message))
}
