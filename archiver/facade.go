package archiver

import (
	"context"

	"tapefs/archiver/job"
	"tapefs/archiver/restore"
	"tapefs/archiver/volume"
	"tapefs/catalog"
)

// The configuration, the options of a run, and what it says of itself. package job explains each.
type (
	Config      = job.Config
	Source      = job.Source
	Pool        = job.Pool
	Options     = job.Options
	Progress    = job.Progress
	Summary     = job.Summary
	Held        = job.Held
	Pending     = job.Pending
	Forecast    = job.Forecast
	Interrupted = job.Interrupted
)

// What a caller branches on.
var (
	ErrPartial       = job.ErrPartial
	ErrNeedsOperator = job.ErrNeedsOperator
	ErrLocked        = job.ErrLocked
	ErrDamaged       = job.ErrDamaged
)

// Doing says what a run does with a tape just now and for how long; it may be called from any goroutine.
func (a *Archiver) Doing() string {
	return a.env.Doing()
}

// Options and results of package restore.
type (
	MissingTape    = restore.MissingTape
	RestoreOptions = restore.Options
	RestoreSummary = restore.Summary
)

// Restore brings paths of the archive, with all below them, back to a directory, without the mount: each
// tape is read once and forwards. Files that are there already with the right size, time and sum are
// kept. It returns ErrPartial when some files failed (the run lists them), and ErrNeedsOperator when
// tapes are missing; all else is restored then.
func (a *Archiver) Restore(ctx context.Context, paths []string, o RestoreOptions) (RestoreSummary, error) {
	return restore.Run(ctx, a.env, paths, o)
}

// Options and results of package volume.
type (
	Advice    = volume.Advice
	TapeLabel = volume.Label
)

// What a caller of package volume branches on or shows.
var (
	ErrNoLabel = volume.ErrNoLabel
	ErrOlder   = volume.ErrOlder
)

// TrustTape takes a tape out of suspicion on somebody's word. was is its state before.
func (a *Archiver) TrustTape(ctx context.Context, barcode string) (t catalog.Tape, was string, err error) {
	return volume.TrustTape(ctx, a.env, barcode)
}
