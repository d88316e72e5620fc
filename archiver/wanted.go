package archiver

import (
	"context"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/lto"
)

// nativeCapacity is what a tape holds uncompressed by its label, bytes: for pools of which no tape has been seen. 0: the label does
// not say.
func nativeCapacity(b changer.Barcode) int64 {
	f, _ := b.Format()
	return f.Capacity
}

// mayLeave bounds how many full tapes a message names.
const mayLeave = 8

// wanted says what an operator has to bring for a pool: about how many tapes, of which kind, and which
// full ones could leave the library for them.
func (a *Archiver) wanted(ctx context.Context, p Pool, inv *changer.Inventory) error {
	debts, err := a.env.DB.Debts(ctx)
	if err != nil {
		return fmt.Errorf("look for what pool %s owes: %w", p.Name, err)
	}
	tapes, err := a.env.DB.Tapes(ctx)
	if err != nil {
		return fmt.Errorf("look for tapes of pool %s: %w", p.Name, err)
	}
	capacity, err := a.smallestTape(ctx, p.Name)
	if err != nil {
		return err
	}
	unsafe, err := a.env.DB.UnsafeParts(ctx)
	if err != nil {
		return fmt.Errorf("look for parts that are not safe: %w", err)
	}
	busy := map[int64]bool{} // tapes that are wanted here to prove what they hold
	for _, part := range unsafe {
		busy[part.Tape] = true
	}
	here := map[string]bool{}
	for _, b := range inv.Barcodes() {
		here[string(b)] = true
	}
	known, generation := map[string]bool{}, 0
	var leave, suspect []string
	for _, t := range tapes {
		known[t.Barcode] = !volume.FormatBegun(t) && !volume.Erased(t)
		if t.PoolName == p.Name {
			generation = max(generation, t.Generation)
		}
		switch {
		case !here[t.Barcode] || t.PoolName != p.Name:
		case t.Suspect():
			suspect = append(suspect, t.Barcode)
		case t.State == catalog.TapeFull && !busy[t.ID]:
			leave = append(leave, t.Barcode)
		}
	}
	hint := ""
	for _, b := range inv.Barcodes() {
		if !p.Takes(b) || !a.env.Lib.CanWrite(ctx, b, true, nil) {
			continue
		}
		if generation == 0 {
			generation = b.Generation()
		}
		if hint == "" && !known[string(b)] && !p.FormatBlank {
			hint = fmt.Sprintf("make %s a tape of the pool: tapefs tape format %s --pool %s", b, b, p.Name)
		}
	}
	if capacity == 0 {
		f, _ := lto.ByGeneration(generation)
		capacity = f.Capacity
	}
	text := "no tape of pool " + p.Name + " in the library can be written"
	for _, d := range debts {
		if d.Pool != p.Name {
			continue
		}
		if d.Awaiting > 0 {
			text += fmt.Sprintf("; %d copies on its tapes are not safe before a manifest on one of them names them", d.Awaiting)
		}
		if d.Bytes <= 0 && d.Awaiting > 0 {
			continue
		}
		text += "; " + humanize.IBytes(uint64(max(d.Bytes, 0))) + " are owed to it"
		if capacity > 0 {
			usable := max(capacity-volume.KeepFree(p, capacity), 1)
			n := (d.Bytes + usable - 1) / usable
			text += fmt.Sprintf(": about %d more %s of %s", n, kindOfTape(generation, n), humanize.IBytes(uint64(capacity)))
		}
	}
	if len(leave) > 0 {
		text += "; full, and could leave the library: " + some(leave)
	}
	if len(suspect) > 0 {
		text += "; suspect: " + some(suspect) + " (tapefs tape trust " + suspect[0] + " uses it again, tapefs verify --tape " + suspect[0] + " reads it back)"
	}
	if a.env.Lib.Alone() {
		hint = insertHint(p, tapes)
	}
	if hint == "" {
		how := ", then run"
		if p.FormatBlank {
			how = "; archive formats blank ones, others:"
		}
		how += " tapefs tape format BARCODE --pool " + p.Name
		hint = fmt.Sprintf("put tapes into the library whose barcodes match pool %s (%s)%s", p.Name, strings.Join(p.Include, " "), how)
	}
	return &changer.Error{Op: "find a tape", Hint: hint, Err: fmt.Errorf("%w: %w", ErrNeedsOperator, noTapeError(text))}
}

// insertHint says which tape the operator of a drive without a changer is to put into it.
func insertHint(p Pool, tapes []catalog.Tape) string {
	var open []string
	for _, t := range tapes {
		if t.PoolName == p.Name && t.State == catalog.TapeOpen && t.UUID != "" {
			open = append(open, t.Barcode)
		}
	}
	fresh := fmt.Sprintf("a new tape, and say whose it is: tapefs tape format BARCODE --pool %s", p.Name)
	if len(open) == 0 {
		return "insert " + fresh
	}
	return "insert " + strings.Join(open, " or ") + " into the drive; or " + fresh
}

// noTapeError says that a pool has no tape and what it needs, as of the moment it was made.
type noTapeError string

func (e noTapeError) Error() string { return string(e) }

// wantedNow is wanted with what is owed by now.
func (w *writer) wantedNow(ctx context.Context, pool string) (error, error) {
	p, err := w.a.env.Pool(pool)
	if err != nil {
		return nil, err
	}
	inv, err := w.a.env.Lib.Inventory(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for a tape of pool %s: %w", pool, err)
	}
	return w.a.wanted(ctx, p, inv), nil
}

func kindOfTape(generation int, n int64) string {
	kind := "tape"
	if generation > 0 {
		kind = fmt.Sprintf("LTO-%d tape", generation)
	}
	if n != 1 {
		kind += "s"
	}
	return kind
}

func some(barcodes []string) string {
	if len(barcodes) <= mayLeave {
		return strings.Join(barcodes, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(barcodes[:mayLeave], ", "), len(barcodes)-mayLeave)
}
