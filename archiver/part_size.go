package archiver

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// partSize is the grid of an object whose copies go to these pools: an eighth of the smallest tape,
// at most 64 GiB, a multiple of 4 MiB. Inside a run a pool whose tapes are all unknown
// gets its first one mounted, which tells its size.
func (a *Archiver) partSize(ctx context.Context, pools []string) (int64, error) {
	size := int64(volume.MaxPart)
	for _, name := range pools {
		capacity, err := a.smallestTape(ctx, name)
		if err != nil {
			return 0, err
		}
		if w, ok := ctx.Value(writerKey{}).(*writer); ok && capacity == 0 {
			err := w.mail.call(ctx, func(ctx context.Context) error { return w.tapes.openTape(ctx, name, 0) })
			if err != nil && !errors.Is(err, ErrNeedsOperator) {
				return 0, err
			}
			if capacity, err = a.smallestTape(ctx, name); err != nil {
				return 0, err
			}
		}
		if capacity > 0 {
			size = min(size, volume.PartFor(capacity))
		}
	}
	return size, nil
}

// smallestTape is the capacity of a pool's smallest tape, bytes; 0 when none is known.
func (a *Archiver) smallestTape(ctx context.Context, pool string) (int64, error) {
	tapes, err := a.env.DB.Tapes(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for tapes of pool %s: %w", pool, err)
	}
	var least int64
	for _, t := range tapes {
		if t.PoolName == pool && t.Capacity > 0 && t.State != catalog.TapeRetired && (least == 0 || t.Capacity < least) {
			least = t.Capacity
		}
	}
	return least, nil
}

// mayWrite refuses to write to any tape while nobody has shown a second copy of the key, and with a catalog that is older than what was
// written on this machine.
func (a *Archiver) mayWrite(ctx context.Context) error {
	_, row, err := a.env.SealKey(ctx)
	if err != nil {
		return err
	}
	if a.env.Lib == nil {
		return errors.New("write to a tape: no library is configured")
	}
	if a.env.Config.RequireKeyCopy && row.CopySeen.IsZero() {
		return &changer.Error{Op: "write to a tape", Hint: "copy the key file to another place, then run tapefs key check --copy FILE",
			Err: fmt.Errorf("no second copy of key %s was ever seen, and without the key the tapes are noise", row.Fingerprint)}
	}
	return volume.CheckWritten(ctx, a.env)
}

type writerKey struct{}
