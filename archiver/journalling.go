package archiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// journal knows which manifests and catalog snapshots the mounted tape is owed, and writes them to it. What it wrote is safe after the
// next sync.
type journal struct {
	env      *job.Env
	session  *session
	stuck    bool   // this machine could not put a manifest together: what is written in this run is named by the next
	again    *int64 // the next manifest names all changes after this one
	mustSnap bool   // a snapshot is wanted though nothing was written since the last
}

// errSome ends an iteration that only asks whether there is anything.
var errSome = errors.New("there is one")

// unnamed reports whether a tape has written parts that no manifest names, or other tapes of its pool have safe ones.
func (j *journal) unnamed(ctx context.Context, tape int64) (bool, error) {
	some := func(*catalog.ManifestPart) error { return errSome }
	err := j.env.DB.Unmanifested(ctx, tape, some)
	if err == nil {
		err = j.env.DB.UnnamedElsewhere(ctx, tape, some)
	}
	if err != nil && !errors.Is(err, errSome) {
		return false, fmt.Errorf("look for parts that no manifest names: %w", err)
	}
	return err != nil, nil
}

// unjournalled tells whether the catalog has changes that the pool's manifests do not name.
func (j *journal) unjournalled(ctx context.Context, after int64) (bool, error) {
	err := j.env.DB.Changes(ctx, after, func(*catalog.Change) error { return errSome })
	if err != nil && !errors.Is(err, errSome) {
		return false, fmt.Errorf("look for changes that no manifest names: %w", err)
	}
	return err != nil, nil
}

// poolRow is the mounted tape's pool.
func (j *journal) poolRow(ctx context.Context) (catalog.Pool, error) {
	pool, err := j.env.DB.EnsurePool(ctx, j.session.pool.Name)
	if err != nil {
		return catalog.Pool{}, fmt.Errorf("look for pool %s: %w", j.session.pool.Name, err)
	}
	return pool, nil
}

// wanted tells whether the mounted tape wants a manifest.
func (j *journal) wanted(ctx context.Context) (bool, error) {
	if j.stuck {
		return false, nil
	}
	if j.again != nil {
		return true, nil
	}
	if some, err := j.unnamed(ctx, j.session.tape.ID); err != nil || some {
		return some, err
	}
	pool, err := j.poolRow(ctx)
	if err != nil {
		return false, err
	}
	return j.unjournalled(ctx, pool.Journalled)
}

// write writes a manifest of what none names yet to the mounted tape. Errors of the tape are
// *writeError. The manifest is safe after the next sync.
func (j *journal) write(ctx context.Context) error {
	some, err := j.wanted(ctx)
	if err != nil || !some {
		return err
	}
	pool, err := j.poolRow(ctx)
	if err != nil {
		return err
	}
	previous, err := j.env.DB.LastManifest(ctx, j.session.tape.ID)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("look for the last manifest of tape %s: %w", j.session.tape.Barcode, err)
	}
	key, row, err := j.env.SealKey(ctx)
	if err != nil {
		return err
	}
	salt, err := j.env.DB.DrawSalt(ctx, row.ID, "manifest")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := os.MkdirAll(j.env.Config.SpoolDir, 0o700); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if j.session.lastSeq, err = j.nextSeq(ctx); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	after := pool.Journalled
	if j.again != nil {
		after = min(after, *j.again)
	}
	m, parts, err := manifest.Write(ctx, manifest.Input{DB: j.env.DB, Dir: j.session.volume.Dir, Key: key, Salt: salt,
		DrawSalt: func() ([]byte, error) { return j.env.DB.DrawSalt(ctx, row.ID, "links") },
		Label: TapeLabel{Catalog: j.env.DB.UUID(), Volume: j.session.tape.UUID, Pool: j.session.pool.Name, Number: j.session.tape.Number, Barcode: j.session.tape.Barcode,
			Formatted: j.session.tape.Formatted, Version: j.env.Config.Version},
		Tape: j.session.tape, Previous: previous, Seq: j.session.lastSeq, After: after, Scratch: j.env.Config.SpoolDir, Version: j.env.Config.Version})
	if err != nil {
		err = fmt.Errorf("journal tape %s: %w", j.session.tape.Barcode, err)
		if !volume.BlamesTape(err) {
			j.stuck = true
			if volume.IsFull(err) {
				err = job.DiskFull(err, j.env.Config.SpoolDir)
			}
		}
		return err
	}
	job.Failpoint("manifest-row")
	if _, err := j.env.DB.AddManifest(ctx, m, parts); err != nil {
		return fmt.Errorf("record manifest of tape %s: %w", j.session.tape.Barcode, err)
	}
	j.again = nil
	return nil
}

// nextSeq is the number of the next manifest of the mounted volume: no number is ever used twice, since a name on tape is not.
func (j *journal) nextSeq(ctx context.Context) (int, error) {
	rows, err := j.env.DB.Manifests(ctx, j.session.tape.ID)
	if err != nil {
		return 0, err
	}
	last := j.session.lastSeq
	for _, m := range rows {
		if strings.Contains(m.Name, j.session.tape.UUID) {
			last = max(last, m.Seq)
		}
	}
	return last + 1, nil
}
