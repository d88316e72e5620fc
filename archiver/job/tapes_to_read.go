package job

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// LookAround reads the library's inventory, for an outlook.
func (env *Env) LookAround(ctx context.Context) (*changer.Inventory, error) {
	if env.Lib == nil {
		return nil, errors.New("look for the tapes: no library is configured")
	}
	inv, err := env.Lib.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the tapes: %w", err)
	}
	return inv, nil
}

// TapesToRead gathers what is read of each tape. Parts come in the order of their tape.
type TapesToRead struct {
	inv    *changer.Inventory
	tapes  map[string]*TapeOutlook
	behind map[string]int64 // block after the part that came last
}

// NewTapesToRead begins with no tape; inv says where they are, and may be nil.
func NewTapesToRead(inv *changer.Inventory) *TapesToRead {
	return &TapesToRead{inv, map[string]*TapeOutlook{}, map[string]int64{}}
}

// Of is what is read of one tape, so far.
func (r *TapesToRead) Of(barcode string) *TapeOutlook {
	t := r.tapes[barcode]
	if t == nil {
		t = &TapeOutlook{Barcode: barcode, Place: PlaceOf(r.inv, barcode)}
		r.tapes[barcode] = t
	}
	return t
}

const (
	// blockSize is that of the volumes which mkltfs makes, bytes.
	blockSize = 512 << 10
	// smallGap is what a drive reads over rather than to stop and run, blocks.
	smallGap = 128
)

// Add counts a part that is read whole.
func (r *TapesToRead) Add(p catalog.CopyPart) {
	t := r.Of(p.Barcode)
	behind, met := r.behind[p.Barcode]
	if !met || p.StartBlock < 0 || p.StartBlock > behind+smallGap || p.StartBlock < behind-smallGap {
		t.Jumps++
	}
	r.behind[p.Barcode] = p.StartBlock + (p.Size+blockSize-1)/blockSize
	t.Files++
	t.Bytes += p.Size
}

// Outlook sums up what is read, and reckons how long it takes. The bytes pass a drive passes times, and go to about so many targets.
func (r *TapesToRead) Outlook(ctx context.Context, env *Env, passes, targets int) (out Outlook, err error) {
	out.Passes, out.Targets = passes, targets
	for _, t := range r.tapes {
		out.Files += t.Files
		out.Tapes = append(out.Tapes, *t)
	}
	out.SortTapes()
	return out, env.Reckon(ctx, &out, r.inv)
}
