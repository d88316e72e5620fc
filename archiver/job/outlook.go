package job

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// Outlook is what a job that reads tapes would do, before the robot moves.
type Outlook struct {
	Files   int64               `json:"files"`   // that were asked for
	Bytes   int64               `json:"bytes"`   // of them, read from tapes in the library
	Present int64               `json:"present"` // files that need no tape: they are where they should be
	Spooled int64               `json:"spooled"` // files that come from the spool
	Lost    int64               `json:"lost"`    // files that no copy is left of
	Unknown []string            `json:"unknown"` // what was asked for and is not in the archive
	Tapes   []TapeOutlook       `json:"tapes"`   // in the order in which they are begun; those outside the library last
	Loads   int                 `json:"loads"`   // tapes that the robot has to bring
	Passes  int                 `json:"passes"`  // how often the bytes pass a drive: 3 where they are written to another tape and read back; 0 is 1
	Targets int                 `json:"targets"` // tapes that are written, about
	Seconds int64               `json:"seconds"` // about how long it takes, by the pace of this library
	Guessed []catalog.TimedWork `json:"guessed"` // what was never timed here, so that usual figures stand in for it
}

// TapeOutlook is what would come from one tape.
type TapeOutlook struct {
	Barcode string    `json:"tape"`
	Place   TapePlace `json:"place"`
	Files   int64     `json:"files"` // or parts of files, where one lies on several tapes
	Bytes   int64     `json:"bytes"`
	Jumps   int64     `json:"locates"` // places on the tape between which it runs without reading
	Seconds int64     `json:"seconds"` // about; of a tape outside the library once it is in
}

// TapePlace is where a tape is.
type TapePlace string

const (
	PlaceDrive   TapePlace = "drive"
	PlaceSlot    TapePlace = "slot"
	PlaceOutside TapePlace = "outside"
)

// usualPace stands in for what was never timed: figures of LTO drives of the last generations.
var usualPace = map[catalog.TimedWork]catalog.Timed{
	catalog.TimedLoad:   {Times: 1, Took: 90 * time.Second},
	catalog.TimedLocate: {Times: 1, Took: 50 * time.Second},
	catalog.TimedStream: {Times: 1, Bytes: 200e6, Took: time.Second},
}

// PlaceOf tells where a tape is; inv may be nil: there is no library.
func PlaceOf(inv *changer.Inventory, barcode string) TapePlace {
	if inv == nil {
		return PlaceOutside
	}
	if _, ok := inv.FindDrive(changer.Barcode(barcode)); ok || len(inv.Slots) == 0 {
		return PlaceDrive // without a changer nobody knows labels: reading proves it
	}
	if _, ok := inv.FindSlot(changer.Barcode(barcode)); ok {
		return PlaceSlot
	}
	return PlaceOutside
}

// Reckon says how long an outlook's tapes take with the library's drives, by the pace of its own runs.
func (env *Env) Reckon(ctx context.Context, o *Outlook, inv *changer.Inventory) error {
	timed, err := env.DB.Timings(ctx)
	if err != nil {
		return err
	}
	o.reckon(timed, inv)
	return nil
}

func (o *Outlook) reckon(timed map[catalog.TimedWork]catalog.Timed, inv *changer.Inventory) {
	pace := map[catalog.TimedWork]catalog.Timed{}
	o.Guessed = []catalog.TimedWork{}
	for _, what := range []catalog.TimedWork{catalog.TimedLoad, catalog.TimedLocate, catalog.TimedStream} {
		pace[what] = timed[what]
		if t := timed[what]; t.Times == 0 || what == catalog.TimedStream && t.Bytes == 0 {
			pace[what] = usualPace[what]
			o.Guessed = append(o.Guessed, what)
		}
	}
	each := func(what catalog.TimedWork) float64 { return pace[what].Took.Seconds() / float64(pace[what].Times) }
	perByte := pace[catalog.TimedStream].Took.Seconds() / float64(pace[catalog.TimedStream].Bytes)
	o.Passes = max(1, o.Passes)
	took := func(t *TapeOutlook) float64 {
		s := float64(t.Jumps)*each(catalog.TimedLocate) + float64(t.Bytes)*perByte*float64(o.Passes)
		if t.Place != PlaceDrive {
			s += each(catalog.TimedLoad)
		}
		return s
	}
	if o.Tapes == nil {
		o.Tapes = []TapeOutlook{}
	}
	if o.Unknown == nil {
		o.Unknown = []string{}
	}
	o.Bytes, o.Loads = 0, 0 // a second reckoning begins anew
	drives := 1
	if inv != nil {
		drives = max(1, len(inv.Drives))
	}
	busy := make([]float64, drives) // seconds, by drive
	for i := range o.Tapes {
		t := &o.Tapes[i]
		s := took(t)
		t.Seconds = int64(s + 0.5)
		if t.Place == PlaceOutside {
			continue
		}
		o.Bytes += t.Bytes
		if t.Place == PlaceSlot {
			o.Loads++
		}
		free := 0
		for d := range busy {
			if busy[d] < busy[free] {
				free = d
			}
		}
		busy[free] += s
	}
	o.Loads += o.Targets
	o.Seconds = int64(slices.Max(busy) + float64(o.Targets)*each(catalog.TimedLoad) + 0.5)
}

// SortTapes puts tapes in drives first, and those outside last.
func (o *Outlook) SortTapes() {
	rank := map[TapePlace]int{PlaceDrive: 0, PlaceSlot: 1, PlaceOutside: 2}
	slices.SortFunc(o.Tapes, func(a, b TapeOutlook) int {
		return cmp.Or(cmp.Compare(rank[a.Place], rank[b.Place]), cmp.Compare(a.Barcode, b.Barcode))
	})
}

// Outside lists the tapes that are not in the library.
func (o *Outlook) Outside() (barcodes []string) {
	for _, t := range o.Tapes {
		if t.Place == PlaceOutside {
			barcodes = append(barcodes, t.Barcode)
		}
	}
	return barcodes
}
