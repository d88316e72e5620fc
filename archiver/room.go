package archiver

import (
	"context"
	"fmt"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/changer"
)

// PoolRoom is how much a pool's tapes in the library still take.
type PoolRoom struct {
	Pool  string
	Tapes int   // that can be written, blank ones that may be formatted included
	Room  int64 // bytes on them
	Owed  int64 // bytes that are owed to the pool
	Low   bool  // a tape is wanted soon: less room than what is owed, or than a tenth of a tape
}

// lowRoom is the share of a tape below which a pool is nearly out of tapes.
const lowRoom = 10

// Room tells how much the pools' tapes in the library still take. Pools that were never used are left out.
func (a *Archiver) Room(ctx context.Context) ([]PoolRoom, error) {
	const op = "look for room on tapes"
	inv, err := a.env.Lib.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	tapes, err := a.env.DB.Tapes(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	debts, err := a.env.DB.Debts(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	var out []PoolRoom
	for _, p := range a.env.Config.Pools {
		r := PoolRoom{Pool: p.Name}
		for _, d := range debts {
			if d.Pool == p.Name {
				r.Owed = d.Bytes
			}
		}
		capacity, err := a.smallestTape(ctx, p.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		if capacity == 0 && r.Owed == 0 {
			continue
		}
		barcodes := inv.Barcodes()
		if a.env.Lib.Changer() == changer.None { // nobody reads labels there: what the catalog knows is at hand
			for _, t := range tapes {
				barcodes = append(barcodes, changer.Barcode(t.Barcode))
			}
		}
		for _, c := range volume.Candidates(p, barcodes, tapes) {
			if !a.env.Lib.CanWrite(ctx, c.Barcode, !c.Known, nil) {
				continue
			}
			size, free := c.Tape.Capacity, c.Tape.Free
			if !c.Known {
				if size = capacity; size == 0 {
					size = nativeCapacity(c.Barcode)
				}
				free = size
			}
			r.Tapes++
			r.Room += max(0, free-volume.KeepFree(p, size))
		}
		r.Low = r.Tapes == 0 || r.Room < max(r.Owed, capacity/lowRoom)
		out = append(out, r)
	}
	return out, nil
}
