package archiver

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"tapefs/catalog"
	"tapefs/changer"
)

const (
	maxPart       = 64 << 30 // larger parts would be lost whole at the end of a tape
	partsPerTape  = 8        // likewise
	maxReserve    = 64 << 20 // kept back for the last manifest, at most
	reserveDivide = 64       // … or this share of a small tape
)

// partFor is the part size for the smallest of some tapes; capacity in bytes.
func partFor(capacity int64) int64 {
	n := min(int64(maxPart), capacity/partsPerTape)
	return max(n-n%catalog.ExtentSize, catalog.ExtentSize)
}

// keepFree is what stays free on a tape of a pool, bytes, beside the room for the last manifest.
func keepFree(p Pool, capacity int64) int64 {
	keep := p.KeepFree
	if keep <= 0 {
		keep = max(capacity/50, min(5<<30, capacity/20))
	}
	return keep + min(maxReserve, capacity/reserveDivide)
}

// candidate is a tape to write to; Known is false for one that must be proved blank and formatted.
type candidate struct {
	Barcode changer.Barcode
	Known   bool
	Tape    catalog.Tape // with a row also if its format was interrupted
}

// candidates lists a pool's tapes in the library in the order in which they are to be filled: the
// fullest open one first, then, if blank ones may be formatted, those whose format was interrupted, and
// those that the catalog does not know. Labels that do not say what generation a tape is come last.
func candidates(p Pool, barcodes []changer.Barcode, tapes []catalog.Tape) []candidate {
	known := map[string]catalog.Tape{}
	for _, t := range tapes {
		known[t.Barcode] = t
	}
	var out []candidate
	for _, b := range barcodes {
		if b == "" || !p.Takes(b) {
			continue
		}
		t, ok := known[string(b)]
		switch {
		case ok && t.Place != "": // it was exported and is on its way out; tape import takes it back
		case ok && t.PoolName == p.Name && t.State == catalog.TapeOpen && t.UUID != "":
			out = append(out, candidate{Barcode: b, Known: true, Tape: t})
		case p.FormatBlank && (!ok || t.PoolName == p.Name && (begun(t) || erased(t))):
			out = append(out, candidate{Barcode: b, Tape: t})
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		x, y := out[i], out[j]
		if x.Known != y.Known {
			return x.Known
		}
		if x.Tape.Used != y.Tape.Used {
			return x.Tape.Used > y.Tape.Used
		}
		if begunX := begun(x.Tape); begunX != begun(y.Tape) {
			return begunX
		}
		if !x.Known && (x.Barcode.Generation() > 0) != (y.Barcode.Generation() > 0) {
			return x.Barcode.Generation() > 0
		}
		return x.Barcode < y.Barcode
	})
	return out
}

type writerKey struct{}

// partSize is the grid of an object whose copies go to these pools: an eighth of the smallest tape,
// at most 64 GiB, a multiple of 4 MiB. Inside a run a pool whose tapes are all unknown
// gets its first one mounted, which tells its size.
func (a *Archiver) partSize(ctx context.Context, pools []string) (int64, error) {
	size := int64(maxPart)
	for _, name := range pools {
		capacity, err := a.smallestTape(ctx, name)
		if err != nil {
			return 0, err
		}
		if w, ok := ctx.Value(writerKey{}).(*writer); ok && capacity == 0 {
			err := w.call(ctx, func(ctx context.Context) error { return w.openTape(ctx, name, 0) })
			if err != nil && !errors.Is(err, ErrNeedsOperator) {
				return 0, err
			}
			if capacity, err = a.smallestTape(ctx, name); err != nil {
				return 0, err
			}
		}
		if capacity > 0 {
			size = min(size, partFor(capacity))
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
	return a.checkSeen(ctx)
}
