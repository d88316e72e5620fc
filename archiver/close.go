package archiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// CloseTape writes to an open tape what it lacks before it leaves the library: a manifest of what none names
// yet, and the catalog. It is synced, proved and unmounted; it stays in its drive. Other runs that write
// tapes are waited for.
func (a *Archiver) CloseTape(ctx context.Context, t catalog.Tape) (err error) {
	op := "close tape " + t.Barcode
	p, err := a.env.Pool(t.PoolName)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	run, err := a.env.StartRun(ctx, "close", []string{t.Barcode})
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if err = a.closeTape(ctx, run, p, t); err != nil {
		err = fmt.Errorf("%s: %w", op, err)
	}
	state, message := job.EndOf(ctx, err)
	return errors.Join(err, a.env.DB.FinishRun(context.WithoutCancel(ctx), run.ID, state, message))
}

func (a *Archiver) closeTape(ctx context.Context, run catalog.Run, p Pool, t catalog.Tape) (err error) {
	w := a.newWriter(run, nil, Options{}, job.NewProblems(a.env, run))
	if err := w.lock.take(ctx); err != nil {
		return err
	}
	defer w.lock.release()
	defer func() { err = errors.Join(err, w.session.giveUp(ctx)) }()
	ok, err := w.tapes.try(ctx, p, volume.Candidate{Barcode: changer.Barcode(t.Barcode), Known: true, Tape: t})
	if err != nil {
		return err
	}
	if ok {
		if err := w.tapes.sync(ctx); err != nil {
			return err
		}
	}
	if w.session.volume != nil {
		if err := w.tapes.journal.snapshot(ctx, true); err != nil {
			return err
		}
		if err := w.tapes.closeTape(ctx); err != nil {
			return err
		}
	}
	now, err := a.env.DB.TapeByBarcode(ctx, t.Barcode)
	if err != nil {
		return err
	}
	if !ok || now.State != catalog.TapeOpen { // what goes wrong with a tape is noted, and no error of the writer
		return fmt.Errorf("it could not be written and is %s now: %s", now.State, now.Note)
	}
	return nil
}
