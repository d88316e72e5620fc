package inventory

import (
	"context"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
)

// Tape is a cartridge of the catalog. Sizes are bytes.
type Tape struct {
	Barcode      string     `json:"barcode"`
	Number       int        `json:"number"`
	Pool         string     `json:"pool"`
	State        string     `json:"state"`
	Stage        string     `json:"stage,omitempty"`
	Place        string     `json:"place,omitempty"`
	UUID         string     `json:"uuid"`
	Generation   int        `json:"generation"` // of LTO; 0: not known
	Capacity     int64      `json:"capacity"`
	Used         int64      `json:"used"`
	Leftover     int64      `json:"leftover"`
	Free         int64      `json:"free"`
	Fill         int        `json:"fill_percent"` // of the capacity, used and leftover
	Objects      int        `json:"objects"`
	Formatted    *time.Time `json:"formatted,omitempty"`
	FirstWritten *time.Time `json:"first_written,omitempty"` // of what lies there still
	LastWritten  *time.Time `json:"last_written,omitempty"`
	LastUse      *time.Time `json:"last_use,omitempty"`
	Checked      *time.Time `json:"checked,omitempty"` // by ltfsck
	Loads        int64      `json:"loads"`
	Keys         []string   `json:"keys"` // fingerprints of the keys that open what lies there
	Note         string     `json:"note,omitempty"`
}

// Tapes lists the tapes by barcode.
func Tapes(ctx context.Context, db *catalog.DB) ([]Tape, error) {
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]Tape, 0, len(tapes))
	for i := range tapes {
		row, err := TapeOf(ctx, db, &tapes[i])
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// TapeOf tells of one tape.
func TapeOf(ctx context.Context, db *catalog.DB, t *catalog.Tape) (Tape, error) {
	objects, _, err := db.TapeObjects(ctx, t.ID)
	if err != nil {
		return Tape{}, err
	}
	c, err := db.TapeContents(ctx, t.ID)
	row := Tape{Barcode: t.Barcode, Number: t.Number, Pool: t.PoolName, State: t.State, Stage: t.Stage, Place: t.Place, UUID: t.UUID, Generation: t.Generation,
		Capacity: t.Capacity, Used: t.Used, Leftover: t.Leftover, Free: FreeOn(t), Objects: objects, Formatted: ui.TimeOrNil(t.Formatted),
		FirstWritten: ui.TimeOrNil(c.First), LastWritten: ui.TimeOrNil(c.Last), LastUse: ui.TimeOrNil(t.Seen), Checked: ui.TimeOrNil(t.Checked),
		Loads: t.Loads, Keys: c.Keys, Note: t.Note}
	if t.Capacity > 0 {
		row.Fill = int(100 * float64(t.Used+t.Leftover) / float64(t.Capacity))
	}
	return row, err
}

// FreeOn is how many bytes fit on a tape still: what it said when it was last mounted, less what was written since.
func FreeOn(t *catalog.Tape) int64 {
	if t.Capacity > 0 {
		return max(min(t.Free, t.Capacity-t.Used-t.Leftover), 0)
	}
	return t.Free
}
