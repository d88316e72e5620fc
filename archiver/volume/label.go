package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// WriteLabel writes the texts of a new tape and syncs it.
func WriteLabel(ctx context.Context, env *job.Env, v *changer.Volume, t catalog.Tape) (catalog.Tape, error) {
	err := WriteTapeTexts(v.Dir, Label{Catalog: env.DB.UUID(), Volume: v.UUID, Pool: t.PoolName, Number: t.Number,
		Barcode: t.Barcode, Formatted: t.Formatted, Version: env.Config.Version})
	if err != nil {
		return t, labelFailed(v, t, err)
	}
	job.Failpoint("label")
	generation, err := v.Sync(ctx)
	if err != nil {
		return t, labelFailed(v, t, err)
	}
	job.Failpoint("labelled")
	t, err = env.DB.UpdateTape(ctx, t.ID, func(t *catalog.Tape) error {
		t.IndexGeneration = generation
		if free, err := v.Free(); err == nil {
			t.Free = free
		}
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("record tape %s: %w", t.Barcode, err)
	}
	NoteWritten(env, t.Barcode, t.UUID, t.IndexGeneration)
	return t, nil
}

// ErrLabelFailed means that the tape or its drive failed while the label of a new volume was written.
var ErrLabelFailed = errors.New("its label could not be written")

func labelFailed(v *changer.Volume, t catalog.Tape, why error) error {
	if v.Killed(why) {
		why = fmt.Errorf("%w: %w", changer.ErrKilled, why)
	}
	return fmt.Errorf("label tape %s: %w: %w", t.Barcode, ErrLabelFailed, why)
}

// ErrLabelMissing: README.txt is missing.
var ErrLabelMissing = errors.New("README.txt is missing")

// CheckLabel proves that a mounted volume is the tape that the catalog means.
func CheckLabel(env *job.Env, v *changer.Volume, t catalog.Tape) error {
	if v.UUID != t.UUID {
		return fmt.Errorf("tape %s: %w: %s, not %s", t.Barcode, changer.ErrWrongVolume, v.UUID, t.UUID)
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return fmt.Errorf("read the label of tape %s: %w", t.Barcode, err)
	}
	defer root.Close() // an open folder would keep the volume from being unmounted
	f, err := changer.OpenFile(root, ReadmeName, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("tape %s: %w", t.Barcode, ErrLabelMissing)
	}
	if err != nil {
		return fmt.Errorf("read the label of tape %s: %w", t.Barcode, err)
	}
	defer f.Close()
	l, err := ParseLabel(f)
	if err != nil {
		return fmt.Errorf("read the label of tape %s: %w", t.Barcode, err)
	}
	if l.Catalog != env.DB.UUID() || l.Volume != t.UUID {
		return fmt.Errorf("tape %s: %w: its label names catalog %s and volume %s", t.Barcode, changer.ErrWrongVolume, l.Catalog, l.Volume)
	}
	return nil
}
