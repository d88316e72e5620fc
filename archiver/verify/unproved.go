package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// Unproved reads back what of a source was never read since it was written, with the manifests that name it. Without any it does nothing.
func Unproved(ctx context.Context, env *job.Env, run catalog.Run, src job.Source, noted *job.Problems) error {
	row, err := env.SourceRow(ctx, src, true)
	if err != nil || row.ID == 0 || env.Lib == nil {
		return err
	}
	parts, err := env.DB.VerifyParts(ctx, catalog.VerifyFilter{Source: row.ID})
	if err != nil || !slices.ContainsFunc(parts, neverRead) {
		return err
	}
	_, err = Run(ctx, env, Options{Source: src.Name, Args: []string{"--inbox", src.Name, "--after-run", fmt.Sprint(run.ID)}, unproved: true, written: time.Unix(0, 1)})
	if err != nil && ctx.Err() == nil {
		noted.Add(src.Name, "", fmt.Errorf("read back what came by the inbox: %w", err))
		return nil
	}
	return err
}

// neverRead reports whether a part was never read back.
func neverRead(p catalog.VerifyPart) bool { return p.Verified.IsZero() }
