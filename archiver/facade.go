package archiver

import "tapefs/archiver/job"

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
