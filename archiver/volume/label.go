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

// ReadLabel reads the label of a mounted volume: the first line of its README.txt. ErrLabelMissing, ErrNoLabel, or an error of reading.
func ReadLabel(root *os.Root) (Label, error) {
	f, err := changer.OpenFile(root, ReadmeName, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Label{}, ErrLabelMissing
	}
	if err != nil {
		return Label{}, err
	}
	defer f.Close()
	return ParseLabel(f)
}

// LabelLost reports whether an error of CheckLabel or ReadLabel says that README.txt is gone, unreadable or no label any more, and
// nothing else: the volume is there, and what else lies on it may be whole.
func LabelLost(v *changer.Volume, err error) bool {
	switch {
	case err == nil, errors.Is(err, ErrNewerFormat), errors.Is(err, changer.ErrWrongVolume):
		return false
	case errors.Is(err, ErrLabelMissing), errors.Is(err, ErrNoLabel):
		return true
	}
	return changer.FaultOf(err) == changer.Damaged && !VolumeGone(v, err)
}

// CheckLabelToRead does what CheckLabel does for a tape that is only read. LTFS's own UUID says which tape it is, so a label
// that is lost costs none of its files: told is called with the error, or it is logged where told is nil, and the tape is read.
func CheckLabelToRead(env *job.Env, v *changer.Volume, t catalog.Tape, told func(error)) error {
	err := CheckLabel(env, v, t)
	if !LabelLost(v, err) {
		return err
	}
	if told == nil {
		told = func(err error) {
			env.Log.Warn("the label of a tape is lost; its files are read all the same", "tape", t.Barcode, "err", err)
		}
	}
	told(err)
	return nil
}

// CheckLabel proves that a mounted volume is the tape that the catalog means. ErrLabelMissing, ErrNoLabel, changer.ErrWrongVolume, or
// an error of reading README.txt.
func CheckLabel(env *job.Env, v *changer.Volume, t catalog.Tape) error {
	if v.UUID != t.UUID {
		return fmt.Errorf("tape %s: %w: %s, not %s", t.Barcode, changer.ErrWrongVolume, v.UUID, t.UUID)
	}
	root, err := os.OpenRoot(v.Dir)
	if err != nil {
		return fmt.Errorf("read the label of tape %s: %w", t.Barcode, err)
	}
	defer root.Close() // an open folder would keep the volume from being unmounted
	l, err := ReadLabel(root)
	if errors.Is(err, ErrLabelMissing) {
		return fmt.Errorf("tape %s: %w", t.Barcode, err)
	}
	if err != nil {
		return fmt.Errorf("read the label of tape %s: %w", t.Barcode, err)
	}
	if l.Catalog != env.DB.UUID() || l.Volume != t.UUID {
		return fmt.Errorf("tape %s: %w: its label names catalog %s and volume %s", t.Barcode, changer.ErrWrongVolume, l.Catalog, l.Volume)
	}
	return nil
}
