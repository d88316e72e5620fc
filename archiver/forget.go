package archiver

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// ForgetSummary counts what is forgotten, or would be.
type ForgetSummary struct {
	Run      int64 // 0 in a dry run
	Versions int64 // of files and symlinks
	Bytes    int64
	Dirs     int64
	There    int64 // of Versions: the source has them still, and they will be archived again
	Waiting  int64 // not forgotten: on their way to tape
	Spared   int64 // not forgotten: removed at their sources by this program, once they were safe
}

// Forget forgets versions: nothing shows them any more, and repack leaves their bytes behind. Paths are those of the
// archive; none: all of it. What sources still have is forgotten only when paths are named and the rule is empty.
// In a dry run nothing changes. fn, if not nil, gets each version.
func (a *Archiver) Forget(ctx context.Context, paths []string, rule catalog.ForgetRule, dry bool, fn func(catalog.Forgettable) error) (sum ForgetSummary, err error) {
	if rule.VanishedBefore.IsZero() && rule.KeepVersions <= 0 && len(paths) == 0 {
		return sum, errors.New("forget: name paths, or say which versions")
	}
	if err := a.oldEnough(ctx, 0, rule); err != nil {
		return sum, fmt.Errorf("forget: %w", err)
	}
	if len(paths) == 0 {
		paths = []string{"/"}
	}
	unlock, err := a.lockSourcesOf(ctx, paths)
	if err != nil {
		return sum, fmt.Errorf("forget: %w", err)
	}
	defer unlock()
	ids, err := a.forgettable(ctx, paths, rule, &sum, fn)
	if err != nil {
		return sum, err
	}
	if dry || len(ids) == 0 {
		return sum, nil
	}
	run, err := a.env.StartRun(ctx, "forget", paths)
	if err != nil {
		return sum, fmt.Errorf("forget: %w", err)
	}
	sum.Run = run.ID
	n, err := a.env.DB.Forget(ctx, run.ID, ids, time.Now())
	state, message := job.EndOf(ctx, err)
	ctx = context.WithoutCancel(ctx)
	return sum, errors.Join(err, a.env.DB.Count(ctx, run.ID, "", map[string]int64{"forgotten": n}), a.env.DB.FinishRun(ctx, run.ID, state, message))
}

// forgettable selects what a rule forgets of paths, counts it in sum, and calls fn, which may be nil, with each version.
func (a *Archiver) forgettable(ctx context.Context, paths []string, rule catalog.ForgetRule, sum *ForgetSummary, fn func(catalog.Forgettable) error) (ids []catalog.ID, err error) {
	seen := map[catalog.ID]bool{}
	for _, p := range paths {
		at, err := a.env.DB.Resolve(ctx, path.Clean("/"+p))
		if err != nil {
			return nil, fmt.Errorf("forget %q: %w", p, err)
		}
		err = a.env.DB.Forgettables(ctx, at, rule, func(f catalog.Forgettable) error {
			if seen[f.ID] {
				return nil
			}
			seen[f.ID] = true
			switch {
			case f.Spared:
				sum.Spared++
				return nil
			case f.Waiting:
				sum.Waiting++
				return nil
			case f.Kind == catalog.Directory:
				sum.Dirs++
			default:
				sum.Versions++
				sum.Bytes += f.Size
				if f.There {
					sum.There++
				}
			}
			ids = append(ids, f.ID)
			if fn == nil {
				return nil
			}
			return fn(f)
		})
		if err != nil {
			return nil, fmt.Errorf("forget %q: %w", p, err)
		}
	}
	return ids, nil
}

// oldEnough refuses a rule by age while the clock may have jumped: all that ever vanished would be old. A date means the same by any clock,
// if something ran after it. Asked within a run, its number keeps its own beginning from being evidence; 0: outside of runs.
func (a *Archiver) oldEnough(ctx context.Context, run int64, rule catalog.ForgetRule) error {
	if rule.VanishedBefore.IsZero() {
		return nil
	}
	var clock *job.ClockError
	err := job.CheckMachineClock(ctx, a.env.DB, run)
	if errors.As(err, &clock) && !rule.ByAge && !rule.VanishedBefore.After(clock.Last) {
		return nil
	}
	return err
}

// lockSourcesOf takes the locks of the sources that paths are in.
func (a *Archiver) lockSourcesOf(ctx context.Context, paths []string) (unlock func(), err error) {
	sources, err := a.env.DB.Sources(ctx)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, p := range paths {
		name, _, _ := strings.Cut(strings.TrimPrefix(path.Clean("/"+p), "/"), "/")
		for _, s := range sources {
			if name == "" || name == s.Name {
				wanted[s.Name] = true
			}
		}
	}
	return a.env.LockSources(wanted)
}
