package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/tapefs/tapefs/archiver"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/cmd/tapefs/ui"
	"github.com/tapefs/tapefs/fs/recall"
)

// look says what a prefetch would read. The owner of the cache makes the plan: it knows what is cached.
func (c *prefetchCmd) look(ctx context.Context, a *app, conf *settings, db *catalog.DB, who prefetcher, ids []catalog.ID) error {
	var plan *recall.PrefetchPlan
	if _, err := who.Prefetch(ctx, recall.PrefetchRequest{IDs: ids, Look: true}, func(e recall.PrefetchEvent) {
		if e.Plan != nil {
			plan = e.Plan
		}
	}); err != nil {
		return err
	}
	if plan == nil {
		return errors.New("the owner of the cache made no plan")
	}
	out := prefetchOutlook(plan)
	if len(out.Tapes) > 0 {
		arch, err := a.newArchiver(conf, db, nil)
		if err != nil {
			return err
		}
		if err := arch.Reckon(ctx, &out); err != nil {
			return err
		}
	}
	err := sayOutlook(a, "prefetch would read", "file", "files", &out)
	if plan.Room < plan.Missing && !a.JSON {
		fmt.Fprintf(a.stdout, "  the cache has room for %s of it\n", ui.Bytes(plan.Room))
	}
	return errors.Join(err, outlookError(&out))
}

// prefetchOutlook is a plan of the cache's owner in the form that all dry runs have.
func prefetchOutlook(plan *recall.PrefetchPlan) archiver.Outlook {
	out := archiver.Outlook{Files: plan.Files, Spooled: plan.Spooled, Lost: plan.Lost, Tapes: []archiver.TapeOutlook{}, Unknown: []string{}, Guessed: []catalog.TimedWork{}, Passes: 1}
	for _, t := range plan.Tapes {
		place := job.PlaceSlot
		switch {
		case t.Outside:
			place = job.PlaceOutside
		case t.Loaded:
			place = job.PlaceDrive
		}
		out.Tapes = append(out.Tapes, archiver.TapeOutlook{Barcode: t.Barcode, Place: place, Bytes: t.Bytes, Jumps: t.Jumps})
	}
	out.SortTapes()
	return out
}
