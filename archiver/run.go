package archiver

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/verify"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// Archive makes the wanted copies of the named sources (all when none is named).
func (a *Archiver) Archive(ctx context.Context, sources []string, o Options) (_ Summary, err error) {
	chosen, err := a.env.ChooseSources(sources)
	if err != nil {
		return Summary{}, err
	}
	chosen, busy, locks, err := a.env.LockFree(chosen)
	if err != nil {
		return Summary{}, err
	}
	defer locks.Unlock()
	if o.DryRun {
		return a.dryRun(ctx, chosen, o)
	}
	if err := errors.Join(liftFileLimit(), a.spool.Usable(), a.mayWrite(ctx)); err != nil {
		return Summary{}, err // said before anything is fetched
	}
	if a.env.Lib != nil {
		if err := a.env.Lib.Recover(ctx); err != nil {
			return Summary{}, fmt.Errorf("recover the library: %w", err)
		}
	}
	waited, err := a.unwritten(ctx, chosen)
	if err != nil {
		return Summary{}, err
	}
	run, err := a.env.StartRun(ctx, "archive", sources)
	if err != nil {
		return Summary{}, fmt.Errorf("record the run: %w", err)
	}
	noted := job.NewProblems(a.env, run)
	for name, why := range busy {
		noted.Add(name, "", fmt.Errorf("left out of this run: %w", why))
	}
	noted.Add("", "", a.env.DB.JournalReceipts(ctx, run.ID))
	for _, s := range chosen {
		noted.Add(s.Name, "", a.endRemovals(ctx, run, s))
	}
	whole := &wholeSources{}
	skipped, held, err := a.archive(ctx, run, chosen, locks, o, noted, whole)
	if err == nil {
		err = verify.Written(ctx, a.env, run, noted)
	}
	if err == nil {
		err = a.emptyInboxes(ctx, run, chosen, noted)
	}
	if err == nil {
		err = a.applyKeep(ctx, run, chosen, whole, o, noted)
	}
	if a.env.RunFailed(run.ID) {
		noted.Partial()
	}
	if err == nil {
		err = volume.Doubted(ctx, a.env, noted)
	}
	if err == nil {
		err = noted.Result()
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = job.AsInterrupted(err)
	}
	err = errors.Join(err, a.countWritten(context.WithoutCancel(ctx), run, chosen, waited))
	sum, err := a.env.Finish(ctx, run, skipped, err)
	sum.Held = held
	pending, perr := a.Pending(context.WithoutCancel(ctx), chosen)
	sum.Pending = pending
	return sum, errors.Join(err, perr)
}

// archive runs the stages: sources are listed and fetched while what came of them before is written.
func (a *Archiver) archive(ctx context.Context, run catalog.Run, sources []Source, locks *job.SourceLocks, o Options, noted *job.Problems, whole *wholeSources) (skipped int64, held []Held, err error) {
	rows := map[int64]Source{}
	for _, s := range sources {
		row, err := a.env.DB.EnsureSource(ctx, s.Name, s.URL)
		if err != nil {
			return 0, nil, fmt.Errorf("record source %s: %w", s.Name, err)
		}
		rows[row.ID] = s
	}
	w := a.newWriter(run, rows, o, noted)
	w.letGo = locks.LetGo
	if err := w.owe(ctx, o.Heal); err != nil {
		return 0, nil, err
	}
	if err := w.recover(ctx); err != nil {
		w.lock.release()
		return 0, nil, fmt.Errorf("recover what an interrupted run left: %w", err)
	}
	if err := w.stock.check(ctx); err != nil {
		noted.Add("", "", err)
	}
	if err := w.stock.release(ctx); err != nil {
		noted.Add("", "", err)
	}
	if err := w.clean(ctx); err != nil {
		noted.Add("", "", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	in := a.newIntake(run, w, o, noted)
	in.ended, in.whole = locks.End, whole
	g.Go(func() error {
		defer close(w.mail.done)
		return in.all(ctx, sources)
	})
	g.Go(func() error { return w.loop(ctx) })
	err = g.Wait()
	if lerr := w.stock.noteLosses(context.WithoutCancel(ctx)); lerr != nil {
		err = errors.Join(err, lerr)
	}
	if w.mail.closing != nil {
		err = errors.Join(err, job.NewClosingError(w.mail.closing))
	}
	return in.skipped.Load(), w.known.collected(), err
}
