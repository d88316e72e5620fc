package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"tapefs/catalog"
	"tapefs/fs"
	"tapefs/fs/recall"
)

// reports are the files of the mount's hidden folder: none of them asks a drive or the robot.
func reports(conf *config, db *catalog.DB, queue *recall.Queue) []fs.Report {
	return []fs.Report{
		{Name: "status.json", Text: func(ctx context.Context, user uint32) ([]byte, error) {
			s, err := mountStatus(ctx, conf, db, queue, user)
			if err != nil {
				return nil, err
			}
			var b bytes.Buffer
			err = printJSON(&b, s)
			return b.Bytes(), err
		}},
		{Name: "queue", Text: func(_ context.Context, user uint32) ([]byte, error) {
			var b bytes.Buffer
			mine, others := queue.WaitingFor(user)
			for _, w := range mine {
				fmt.Fprintf(&b, "%s  %s  %s of object %s  %s waiting\n", w.Since.Local().Format("15:04:05"), w.Tapes,
					count(int64(w.Extents), "extent", "extents"), w.Object, count(int64(w.Readers), "reader", "readers"))
			}
			if others.Extents+others.Readers > 0 {
				fmt.Fprintf(&b, "and for others: %s  %s waiting\n", count(int64(others.Extents), "extent", "extents"), count(int64(others.Readers), "reader", "readers"))
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
}

func mountStatus(ctx context.Context, conf *config, db *catalog.DB, queue *recall.Queue, user uint32) (*mountStatusJSON, error) {
	s := &mountStatusJSON{Catalog: conf.catalogPath()}
	s.Waiting, s.Others = queue.WaitingFor(user)
	var err error
	if s.Files, s.Bytes, err = db.Totals(ctx); err != nil {
		return nil, err
	}
	if s.Wanted, err = wantedRows(ctx, db); err != nil {
		return nil, err
	}
	return s, nil
}
