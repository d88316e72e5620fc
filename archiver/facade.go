package archiver

import (
	"context"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/rebuild"
	"github.com/tapefs/tapefs/archiver/restore"
	"github.com/tapefs/tapefs/archiver/safe"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/archiver/verify"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// The configuration, the options of a run, and what it says of itself. package job explains each.
type (
	Config      = job.Config
	Source      = job.Source
	Keep        = job.Keep
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
	ErrRefused       = manifest.ErrRefused
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

// What a job that reads tapes would do.
type (
	Outlook     = job.Outlook
	TapeOutlook = job.TapeOutlook
)

// LookAtRestore says what Restore would read from which tapes. Nothing is made, written or moved.
func (a *Archiver) LookAtRestore(ctx context.Context, paths []string, o RestoreOptions) (Outlook, error) {
	return restore.Look(ctx, a.env, paths, o)
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

// Options and results of package verify.
type (
	VerifyOptions = verify.Options
	VerifySummary = verify.Summary
	VerifyDamage  = verify.Damage
)

// Verify reads sealed bytes back through read-only mounts, in tape order, and compares their sums.
// ErrDamaged when some differ, ErrNeedsOperator when tapes are not in the library.
func (a *Archiver) Verify(ctx context.Context, o VerifyOptions) (VerifySummary, error) {
	return verify.Run(ctx, a.env, o)
}

// Options and results of package rebuild.
type (
	RebuildConfig  = rebuild.Config
	RebuildOptions = rebuild.Options
	RebuildReport  = rebuild.Report
	Refusal        = rebuild.Refusal
	RebuiltTape    = rebuild.Tape
	TapeCheck      = rebuild.TapeCheck
)

// Rebuild makes a catalog from tapes, or adds to one what tapes hold that it has not read. What
// it cannot take over is in the report; ErrRefused, ErrNeedsOperator (tapes are missing) or another error says
// that it is not all. A rebuild that was stopped goes on where it was.
func Rebuild(ctx context.Context, c RebuildConfig, o RebuildOptions) (RebuildReport, error) {
	return rebuild.Run(ctx, c, o)
}

// CheckTapes mounts tapes read-only, one after the other, and compares. None named: all that the catalog knows and
// the library holds. ErrRefused when something is missing or differs, ErrNeedsOperator when tapes are not there.
func (a *Archiver) CheckTapes(ctx context.Context, barcodes []string) ([]TapeCheck, error) {
	return rebuild.CheckTapes(ctx, a.env, barcodes)
}

// ProbeSource looks whether a source can be reached and its top directory read, see source.Probe.
func ProbeSource(ctx context.Context, src Source, rsync, ssh string) error {
	return source.Probe(ctx, src, rsync, ssh)
}

// ProbeHint says what to do about an error of ProbeSource, see source.ProbeHint.
func ProbeHint(src Source, ssh string, err error) string { return source.ProbeHint(src, ssh, err) }

// NeedsSSH reports whether a source is reached over ssh.
func NeedsSSH(src Source) bool { return source.NeedsSSH(src) }

// LocalPath returns the directory of a source that is read in place; false for all others, and for what is no source.
func LocalPath(url string) (string, bool) { return source.LocalPath(url) }

// Options, files and results of package safe.
type (
	SafeOptions = safe.Options
	SafeFile    = safe.File
	SafeSummary = safe.Summary
)

// ErrNotSafe: some files of the source may not be deleted there.
var ErrNotSafe = safe.ErrNotSafe

// Reasons why a file is not safe that say more than one word does.
const (
	NotNamed     = safe.NotNamed
	TakenTooSoon = safe.TakenTooSoon
	TimeUnsure   = safe.TimeUnsure
)

// Safe lists a source now and calls fn for each file and symlink in it, safe or not. Nothing is fetched and nothing
// recorded. What it says of a file was so when it was listed. ErrNotSafe when any is not.
func (a *Archiver) Safe(ctx context.Context, name string, o SafeOptions, fn func(SafeFile) error) (SafeSummary, error) {
	return safe.Check(ctx, a.env, name, o, fn)
}
