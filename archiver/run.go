package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"tapefs/catalog"
)

// Archive makes the wanted copies of the named sources (all when none is named).
func (a *Archiver) Archive(ctx context.Context, sources []string, o Options) (_ Summary, err error) {
	chosen, err := a.choose(sources)
	if err != nil {
		return Summary{}, err
	}
	chosen, busy, locks, err := a.lockFree(chosen)
	if err != nil {
		return Summary{}, err
	}
	defer locks.unlock()
	if o.DryRun {
		return a.dryRun(ctx, chosen, o)
	}
	if err := errors.Join(liftFileLimit(), a.mayWrite(ctx)); err != nil {
		return Summary{}, err // said before anything is fetched
	}
	if a.lib != nil {
		if err := a.lib.Recover(ctx); err != nil {
			return Summary{}, fmt.Errorf("recover the library: %w", err)
		}
	}
	waited, err := a.unwritten(ctx, chosen)
	if err != nil {
		return Summary{}, err
	}
	run, err := a.startRun(ctx, "archive", sources)
	if err != nil {
		return Summary{}, fmt.Errorf("record the run: %w", err)
	}
	noted := &problems{a: a, run: run}
	for name, why := range busy {
		noted.add(name, "", fmt.Errorf("left out of this run: %w", why))
	}
	skipped, held, err := a.archive(ctx, run, chosen, locks, o, noted)
	if err == nil {
		err = a.verifyWritten(ctx, run, noted)
	}
	if a.told.hasFailed(run.ID) {
		noted.partial()
	}
	if err == nil {
		err = a.doubted(ctx, noted)
	}
	if err == nil {
		err = noted.result()
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = interrupted(err)
	}
	err = errors.Join(err, a.countWritten(context.WithoutCancel(ctx), run, chosen, waited))
	sum, err := a.finish(ctx, run, skipped, err)
	sum.Held = held
	pending, perr := a.Pending(context.WithoutCancel(ctx), chosen)
	sum.Pending = pending
	return sum, errors.Join(err, perr)
}

// endOf is the state in which a run ends, and what is said of it.
func endOf(ctx context.Context, err error) (state, message string) {
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

// finish records how a run ended and gathers what it did.
func (a *Archiver) finish(ctx context.Context, run catalog.Run, skipped int64, err error) (Summary, error) {
	state, message := endOf(ctx, err)
	ctx = context.WithoutCancel(ctx)
	sum := Summary{Run: run.ID, Skipped: int(skipped)}
	if ferr := a.db.FinishRun(ctx, run.ID, state, message); ferr != nil {
		return sum, errors.Join(err, fmt.Errorf("record the end of the run: %w", ferr))
	}
	report, rerr := a.db.RunReport(ctx, run.ID)
	if rerr != nil {
		return sum, errors.Join(err, fmt.Errorf("read what the run did: %w", rerr))
	}
	sum.Counts = report.Counts
	for _, t := range report.Tapes {
		sum.Tapes = append(sum.Tapes, t.Barcode)
	}
	return sum, err
}

// choose finds the named sources.
func (a *Archiver) choose(names []string) ([]Source, error) {
	if len(names) == 0 {
		return a.cfg.Sources, nil
	}
	var out []Source
	for _, n := range names {
		i := slices.IndexFunc(a.cfg.Sources, func(s Source) bool { return s.Name == n })
		if i < 0 {
			return nil, fmt.Errorf("source %q is not configured", n)
		}
		if !slices.ContainsFunc(out, func(s Source) bool { return s.Name == n }) {
			out = append(out, a.cfg.Sources[i])
		}
	}
	return out, nil
}

// archive runs the stages: sources are listed and fetched while what came of them before is written.
func (a *Archiver) archive(ctx context.Context, run catalog.Run, sources []Source, locks *sourceLocks, o Options, noted *problems) (skipped int64, held []Held, err error) {
	rows := map[int64]Source{}
	for _, s := range sources {
		row, err := a.db.EnsureSource(ctx, s.Name, s.URL)
		if err != nil {
			return 0, nil, fmt.Errorf("record source %s: %w", s.Name, err)
		}
		rows[row.ID] = s
	}
	w := a.newWriter(run, rows, o, noted)
	w.letGo = locks.letGo
	if err := w.owe(ctx, o.Heal); err != nil {
		return 0, nil, err
	}
	if err := w.recover(ctx); err != nil {
		if w.unlock != nil {
			w.unlock()
		}
		return 0, nil, fmt.Errorf("recover what an interrupted run left: %w", err)
	}
	if err := w.checkSpool(ctx); err != nil {
		noted.add("", "", err)
	}
	if err := w.release(ctx); err != nil {
		noted.add("", "", err)
	}
	if err := w.clean(ctx); err != nil {
		noted.add("", "", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	in := a.newIntake(run, w, o, noted)
	in.ended = locks.end
	g.Go(func() error {
		defer close(w.done)
		return in.all(ctx, sources)
	})
	g.Go(func() error { return w.loop(ctx) })
	err = g.Wait()
	if lerr := w.noteLosses(context.WithoutCancel(ctx)); lerr != nil {
		err = errors.Join(err, lerr)
	}
	if w.closing != nil {
		err = errors.Join(err, &closingError{w.closing})
	}
	return in.skipped.Load(), w.collected(), err
}
