package archiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/verify"
	"github.com/tapefs/tapefs/catalog"
)

// emptyInboxes removes, at sources that are inboxes, what is durable in all their pools and was read back from each. What was not read
// back yet is read before. A file that stays is no failure: a later run takes it.
func (a *Archiver) emptyInboxes(ctx context.Context, run catalog.Run, sources []Source, noted *job.Problems) error {
	for _, src := range sources {
		if !src.Inbox {
			continue
		}
		if !a.env.HoldsSource(src.Name) {
			a.env.Log.Info("another run has taken the inbox over", "source", src.Name)
			continue
		}
		if err := verify.Unproved(ctx, a.env, run, src, noted); err != nil {
			return err
		}
		sum, err := a.empty(ctx, run, src, SafeOptions{Copies: len(src.Copies)}, func(f SafeFile) error {
			if f.Why != "" {
				a.env.Log.Info("a file stays in the inbox", "source", src.Name, "path", f.Path, "why", f.Why)
			}
			return nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, ErrNotSafe) {
			noted.Add(src.Name, "", fmt.Errorf("empty the inbox: %w", err))
		}
		var left int64
		for _, n := range sum.NotSafe {
			left += n
		}
		if err := a.countSome(ctx, run, src.Name, map[string]int64{"inbox_removed": sum.Removed, "inbox_removed_bytes": sum.RemovedBytes, "inbox_left": left}); err != nil {
			return err
		}
	}
	return nil
}
