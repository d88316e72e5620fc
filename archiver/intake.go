package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/catalog"
)

// intake brings what is to be archived of the sources of a run into the spool, several sources at a time.
type intake struct {
	a       *Archiver
	run     catalog.Run
	w       *writer
	o       Options
	noted   *job.Problems
	silent  *silentSources
	ended   func(source string) // hears of each source of which nothing more comes
	whole   *wholeSources       // hears of each source that was listed whole
	skipped atomic.Int64
	asking  chan struct{} // has room for the one that asks the writer for room
	stuck   atomic.Bool   // the writer could release nothing, and nothing was fetched since
}

func (a *Archiver) newIntake(run catalog.Run, w *writer, o Options, noted *job.Problems) *intake {
	return &intake{a: a, run: run, w: w, o: o, noted: noted, silent: &silentSources{noted: noted, names: map[string]bool{}}, asking: make(chan struct{}, 1)}
}

// all takes in all sources and returns when nothing more will come of them.
func (in *intake) all(ctx context.Context, sources []Source) error {
	in.o.Lanes = lanesFor(sources)
	one := func(ctx context.Context, src Source) error {
		err := in.source(ctx, src)
		if err == nil {
			in.ended(src.Name)
		}
		return err
	}
	l := &lanes{a: in.a, do: one, quiet: in.w.mail.quiet.Store, lost: func(src Source, err error) { in.silent.add(src.Name, err) }}
	return l.run(context.WithValue(ctx, writerKey{}, in.w), sources)
}

// source lists and plans one source, after what earlier runs planned of it and did not fetch.
func (in *intake) source(ctx context.Context, src Source) error {
	if late(in.o) {
		return nil
	}
	open, err := in.a.env.DB.OpenBatches(ctx)
	if err != nil {
		return fmt.Errorf("look for open batches: %w", err)
	}
	row, err := in.a.env.DB.EnsureSource(ctx, src.Name, src.URL)
	if err != nil {
		return fmt.Errorf("record source %s: %w", src.Name, err)
	}
	for _, b := range open {
		if b.Source != row.ID || b.State != catalog.Fetching {
			continue
		}
		if err := in.fetch(ctx, src, b, true); err != nil {
			return err
		}
	}
	if in.silent.has(src.Name) {
		return nil // it would not be listed either
	}
	batches := make(chan catalog.Batch) // unbuffered: planning is one batch ahead of fetching at most
	fetched := make(chan error, 1)
	go func() {
		var err error
		for b := range batches {
			if err == nil {
				err = in.fetch(ctx, src, b, false)
			}
		}
		fetched <- err
	}()
	st, err := in.a.planSource(ctx, in.run, src, in.o, func(b catalog.Batch) error {
		select {
		case batches <- b:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(batches)
	in.skipped.Add(st.Skipped)
	if ferr := <-fetched; ferr != nil {
		return ferr
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		if !in.silent.add(src.Name, err) {
			in.noted.Add(src.Name, "", fmt.Errorf("source %s: %w", src.Name, err))
		}
	} else if st.Doubtful() {
		in.noted.Partial()
	} else {
		in.whole.add(src.Name)
	}
	return nil
}

func late(o Options) bool { return !o.Until.IsZero() && time.Now().After(o.Until) }

// fetch brings a batch into the spool as soon as that has room; earlier: a run before this one planned it. What keeps the batch
// from coming is noted; an error is the end of the run.
func (in *intake) fetch(ctx context.Context, src Source, b catalog.Batch, earlier bool) error {
	defer in.w.mail.wake()
	if in.silent.has(src.Name) {
		return nil
	}
	err := in.fetchAdmitted(ctx, src, b, earlier)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && !in.silent.add(src.Name, err) {
		in.noted.Add(src.Name, "", err)
	}
	return nil
}

// fetchAdmitted waits for room and fetches.
func (in *intake) fetchAdmitted(ctx context.Context, src Source, b catalog.Batch, earlier bool) error {
	if late(in.o) {
		return nil
	}
	admitted, err := in.admit(ctx, b)
	var large *spool.TooLargeError
	if errors.As(err, &large) {
		if !earlier {
			return fmt.Errorf("a batch of source %s is left for a later run: %w", src.Name, err)
		}
		in.a.env.Log.Info("a batch of an earlier run is planned anew", "source", src.Name, "why", err)
		return in.a.spool.GiveUpBatch(ctx, in.run, b)
	}
	if err != nil || !admitted {
		return err
	}
	defer in.a.spool.Fetching.End(b)
	defer in.stuck.Store(false)
	return in.a.spool.FetchBatch(ctx, in.run, src, b)
}

// admitLook is how often a batch that waits for room looks whether another process made some.
const admitLook = 10 * time.Second

// admit waits until a batch may be fetched; false: it became too late for that. After true the caller ends it in a.spool.fetching.
func (in *intake) admit(ctx context.Context, b catalog.Batch) (bool, error) {
	for !late(in.o) {
		if ok, err := in.a.spool.Admit(ctx, b, in.a.spool.Fits); ok || err != nil {
			return ok, err
		}
		has, err := in.a.spool.Has(ctx)
		if err != nil {
			return false, err
		}
		if err := spool.TooLarge(b.Bytes, has); err != nil {
			return false, err
		}
		others, ended := in.a.spool.Fetching.Look()
		freed, err := in.makeRoom(ctx, b)
		if err != nil {
			return false, err
		}
		if freed {
			continue
		}
		if others == 0 {
			if ok, err := in.a.spool.Admit(ctx, b, in.a.spool.MayGoOn); ok || err != nil {
				return ok, err
			}
			if others, ended = in.a.spool.Fetching.Since(ended); others == 0 {
				in.stuck.Store(true)
				return false, spool.ErrNoRoom
			}
		}
		// What is being fetched for other sources can be written when it is here.
		select {
		case <-ended:
			in.stuck.Store(false)
		case <-time.After(admitLook):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return false, nil
}

// makeRoom gets batches released, one at a time for all sources; false: there is nothing that could be.
func (in *intake) makeRoom(ctx context.Context, b catalog.Batch) (bool, error) {
	select {
	case in.asking <- struct{}{}:
		defer func() { <-in.asking }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if in.stuck.Load() {
		return false, nil
	}
	if fits, err := in.a.spool.Fits(ctx, b); fits || err != nil { // another source got room for both
		return fits, err
	}
	in.a.env.Log.Info("the spool is full; waiting until something in it is safe")
	return in.w.mail.makeRoom(ctx)
}
