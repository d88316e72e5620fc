package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/fs"
	"github.com/tapefs/tapefs/fs/recall"
)

// reports are the files of the mount's hidden folder: none of them asks a drive or the robot.
func reports(conf *settings, db *catalog.DB, queue *recall.Queue) []fs.Report {
	return []fs.Report{
		{Name: "status.json", Text: func(ctx context.Context, user uint32) ([]byte, error) {
			s, err := mountStatus(ctx, conf, db, queue, user)
			if err != nil {
				return nil, err
			}
			var b bytes.Buffer
			err = ui.WriteJSON(&b, s)
			return b.Bytes(), err
		}},
		{Name: "queue", Text: func(ctx context.Context, user uint32) ([]byte, error) {
			var b bytes.Buffer
			mine, others := queue.WaitingFor(user)
			for _, w := range mine {
				fmt.Fprintf(&b, "%s  %s  %s of object %s  %s waiting\n", w.Since.Local().Format("15:04:05"), w.Tapes,
					ui.Count(int64(w.Extents), "extent", "extents"), w.Object, ui.Count(int64(w.Readers), "reader", "readers"))
				for _, file := range w.Files {
					path, err := db.Path(ctx, file.ID)
					if err != nil {
						return nil, err
					}
					fmt.Fprintf(&b, "          %s  %s  user %d\n", ui.Printable(path), ui.OrDash(ui.Printable(file.Program)), file.User)
				}
			}
			if others.Extents+others.Readers > 0 {
				fmt.Fprintf(&b, "and for others: %s  %s waiting\n", ui.Count(int64(others.Extents), "extent", "extents"), ui.Count(int64(others.Readers), "reader", "readers"))
			}
			return b.Bytes(), nil
		}},
		{Name: "wanted", Text: func(context.Context, uint32) ([]byte, error) {
			var b bytes.Buffer
			list := queue.Wanted()
			slices.Sort(list)
			for _, barcode := range list {
				fmt.Fprintln(&b, barcode)
			}
			return b.Bytes(), nil
		}},
	}
}

// mountStatusJSON is what a mount knows by itself.
type mountStatusJSON struct {
	Catalog string           `json:"catalog"`
	Files   int64            `json:"files"`
	Bytes   int64            `json:"bytes"`
	Waiting []recall.Waiting `json:"waiting"` // what whoever reads this waits for
	Others  recall.Others    `json:"others"`  // what all others wait for
	Wanted  []wantedJSON     `json:"wanted"`
	NoDrive string           `json:"no_drive,omitempty"` // why no tape can be read: the drive is switched off
}

func mountStatus(ctx context.Context, conf *settings, db *catalog.DB, queue *recall.Queue, user uint32) (*mountStatusJSON, error) {
	s := &mountStatusJSON{Catalog: conf.CatalogPath()}
	s.Waiting, s.Others = queue.WaitingFor(user)
	s.NoDrive = queue.NoDrive()
	var err error
	if s.Files, s.Bytes, err = db.Totals(ctx); err != nil {
		return nil, err
	}
	if s.Wanted, err = wantedRows(ctx, db); err != nil {
		return nil, err
	}
	return s, nil
}
