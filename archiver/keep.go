package archiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// wholeSources are the sources that one run listed whole. Safe for concurrent use.
type wholeSources struct {
	mu    sync.Mutex // guards names
	names map[string]bool
}

func (w *wholeSources) add(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names == nil {
		w.names = map[string]bool{}
	}
	w.names[name] = true
}

func (w *wholeSources) has(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.names[name]
}

// keepRule is what forget is asked for by a source's configuration; false: nothing.
func keepRule(k Keep, now time.Time) (rule catalog.ForgetRule, any bool) {
	rule.KeepVersions = k.Versions
	if k.Vanished > 0 {
		rule.VanishedBefore, rule.ByAge = now.Add(-k.Vanished), true
	}
	return rule, k != (Keep{})
}

// applyKeep forgets what the keep rules of a run's sources say. A source that the run did not list whole keeps everything: what of it is
// new, and what is gone, is not known.
func (a *Archiver) applyKeep(ctx context.Context, run catalog.Run, sources []Source, whole *wholeSources, o Options, noted *job.Problems) error {
	for _, src := range sources {
		if src.Keep == (Keep{}) {
			continue
		}
		switch {
		case !a.env.HoldsSource(src.Name):
			a.env.Log.Info("another run has taken the source over, and applies its keep", "source", src.Name)
			continue
		case whole.has(src.Name) && !noted.Of(src.Name):
		case late(o):
			a.env.Log.Info("nothing is forgotten by keep: it became too late to list the source", "source", src.Name)
			continue
		default:
			if err := a.env.RunNote(ctx, run.ID, src.Name, "", "nothing is forgotten by keep, because the source was not listed and fetched whole in this run"); err != nil {
				return err
			}
			continue
		}
		if err := a.keepSource(ctx, run, src); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			noted.Add(src.Name, "", err)
		}
	}
	return nil
}

func (a *Archiver) keepSource(ctx context.Context, run catalog.Run, src Source) error {
	ids, sum, err := a.keepSelects(ctx, run, src)
	if err != nil || len(ids) == 0 {
		return err
	}
	_, err = a.env.DB.Forget(ctx, run.ID, ids, time.Now())
	if err != nil {
		return fmt.Errorf("forget what keep says of source %s: %w", src.Name, err)
	}
	return a.env.DB.Count(ctx, run.ID, src.Name, keptCounts(sum))
}

// keepSelects lists what a source's keep rule forgets. While the clock is not believed, nothing is old.
func (a *Archiver) keepSelects(ctx context.Context, run catalog.Run, src Source) (ids []catalog.ID, sum ForgetSummary, err error) {
	rule, any := keepRule(src.Keep, time.Now())
	if !any {
		return nil, sum, nil
	}
	var clock *job.ClockError
	switch err := a.oldEnough(ctx, run.ID, rule); {
	case errors.As(err, &clock):
		rule.VanishedBefore = time.Time{}
		if err := a.env.RunNote(ctx, run.ID, src.Name, "", fmt.Sprintf("nothing is forgotten by keep.vanished: %v", clock)); err != nil {
			return nil, sum, err
		}
		if rule.KeepVersions == 0 { // an empty rule selects everything
			return nil, sum, nil
		}
	case err != nil:
		return nil, sum, err
	}
	if _, err := a.env.DB.Resolve(ctx, "/"+src.Name); errors.Is(err, catalog.ErrNotFound) {
		return nil, sum, nil // a dry run before the first one
	}
	ids, err = a.forgettable(ctx, []string{"/" + src.Name}, rule, &sum, nil)
	if err != nil {
		err = fmt.Errorf("look for what keep says of source %s: %w", src.Name, err)
	}
	return ids, sum, err
}

func keptCounts(sum ForgetSummary) map[string]int64 {
	counts := map[string]int64{"forgotten": sum.Versions, "forgotten_directories": sum.Dirs, "forgotten_bytes": sum.Bytes}
	for name, n := range counts {
		if n == 0 {
			delete(counts, name)
		}
	}
	return counts
}
