package job

import (
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// An outlook is reckoned by what was timed, with as many drives as there are; tapes outside count for themselves only.
func TestReckon(t *testing.T) {
	timed := map[catalog.TimedWork]catalog.Timed{
		catalog.TimedLoad:   {Times: 2, Took: 20 * time.Second},
		catalog.TimedLocate: {Times: 4, Took: 20 * time.Second},
		catalog.TimedStream: {Times: 1, Bytes: 1000, Took: time.Second},
	}
	two := &changer.Inventory{Drives: make([]changer.DriveElement, 2)}
	o := Outlook{Tapes: []TapeOutlook{
		{Barcode: "A", Place: PlaceOutside, Bytes: 1 << 40},
		{Barcode: "B", Place: PlaceSlot, Bytes: 30_000, Jumps: 2}, // 10 + 10 + 30
		{Barcode: "C", Place: PlaceDrive, Bytes: 5_000, Jumps: 1}, // 5 + 5
		{Barcode: "D", Place: PlaceSlot, Bytes: 20_000, Jumps: 0}, // 10 + 20
	}}
	o.SortTapes()
	o.reckon(timed, two)
	if o.Tapes[0].Barcode != "C" || o.Tapes[3].Barcode != "A" {
		t.Errorf("order: %+v", o.Tapes)
	}
	if o.Loads != 2 || o.Bytes != 55_000 || o.Seconds != 50 || len(o.Guessed) != 0 {
		t.Errorf("with two drives: %+v", o)
	}
	if got := o.Outside(); len(got) != 1 || got[0] != "A" {
		t.Errorf("outside: %v", got)
	}
	o.reckon(timed, &changer.Inventory{Drives: make([]changer.DriveElement, 1)})
	if o.Seconds != 90 {
		t.Errorf("with one drive: %d seconds", o.Seconds)
	}
	o.reckon(nil, two)
	if o.Seconds != 190 || len(o.Guessed) != 3 { // B: 90 + 2×50, and next to nothing for its bytes
		t.Errorf("nothing was timed: %+v", o)
	}
}
