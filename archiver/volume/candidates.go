package volume

import (
	"sort"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

const (
	MaxPart       = 64 << 30 // larger parts would be lost whole at the end of a tape
	partsPerTape  = 8        // likewise
	MaxReserve    = 64 << 20 // kept back for the last manifest, at most
	ReserveDivide = 64       // … or this share of a small tape
)

// PartFor is the part size for the smallest of some tapes; capacity in bytes.
func PartFor(capacity int64) int64 {
	n := min(int64(MaxPart), capacity/partsPerTape)
	return max(n-n%catalog.ExtentSize, catalog.ExtentSize)
}

// KeepFree is what stays free on a tape of a pool, bytes, beside the room for the last manifest.
func KeepFree(p job.Pool, capacity int64) int64 {
	keep := p.KeepFree
	if keep <= 0 {
		keep = max(capacity/50, min(5<<30, capacity/20))
	}
	return keep + min(MaxReserve, capacity/ReserveDivide)
}

// Candidate is a tape to write to; Known is false for one that must be proved blank and formatted.
type Candidate struct {
	Barcode changer.Barcode
	Known   bool
	Tape    catalog.Tape // with a row also if its format was interrupted
}

// Candidates lists a pool's tapes in the library in the order in which they are to be filled: the
// fullest open one first, then, if blank ones may be formatted, those whose format was interrupted, and
// those that the catalog does not know. Labels that do not say what generation a tape is come last.
func Candidates(p job.Pool, barcodes []changer.Barcode, tapes []catalog.Tape) []Candidate {
	known := map[string]catalog.Tape{}
	for _, t := range tapes {
		known[t.Barcode] = t
	}
	var out []Candidate
	for _, b := range barcodes {
		if b == "" || !p.Takes(b) {
			continue
		}
		t, ok := known[string(b)]
		switch {
		case ok && t.Place != "": // it was exported and is on its way out; tape import takes it back
		case ok && t.PoolName == p.Name && t.State == catalog.TapeOpen && t.UUID != "":
			out = append(out, Candidate{Barcode: b, Known: true, Tape: t})
		case p.FormatBlank && (!ok || t.PoolName == p.Name && (FormatBegun(t) || Erased(t))):
			out = append(out, Candidate{Barcode: b, Tape: t})
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
		if begunX := FormatBegun(x.Tape); begunX != FormatBegun(y.Tape) {
			return begunX
		}
		if !x.Known && (x.Barcode.Generation() > 0) != (y.Barcode.Generation() > 0) {
			return x.Barcode.Generation() > 0
		}
		return x.Barcode < y.Barcode
	})
	return out
}

// FormatBegun reports whether a format of a tape began and its end was not recorded, neither the good nor the bad one. Its row is there
// before mkltfs runs, without a volume UUID: so a volume that mkltfs made and that nobody came to record is known for what it is.
func FormatBegun(t catalog.Tape) bool {
	return t.UUID == "" && t.State == catalog.TapeOpen && t.Stage == catalog.StageFormatting
}

// Erased tells a tape of the catalog that holds nothing: a blank one, of which its pool is known.
func Erased(t catalog.Tape) bool {
	return t.UUID == "" && t.State == catalog.TapeOpen && t.Formatted.IsZero()
}

// BarcodeOf is the barcode that the catalog has of a tape.
func BarcodeOf(t catalog.Tape) changer.Barcode { return changer.Barcode(t.Barcode) }
