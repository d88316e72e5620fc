package verify

import (
	"context"
	"fmt"
	"math"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// journalItem is a manifest or snapshot that a verify reads, and where it lies on its tape.
type journalItem struct {
	catalog.JournalFile
	start int64 // LTFS block; -1 unknown, or not looked up yet
}

// chooseJournal picks the manifests and snapshots to be read, by tape. A verify of everything, or of a tape, reads all of them. One of
// some parts reads the manifests that name these: a manifest lies behind the parts that were synced with it, so that this costs no
// long way. What is due by its age is read wherever a tape is read anyway, and on other tapes unless the budget was used up.
func (v *verifier) chooseJournal(ctx context.Context, o Options, items [][]catalog.VerifyPart) error {
	files, err := v.env.DB.JournalToVerify(ctx)
	if err != nil {
		return err
	}
	since, err := v.env.DB.CampaignSince(ctx, v.run)
	if err != nil {
		return err
	}
	naming, read := map[int64]bool{}, map[string]bool{}
	for _, item := range items {
		for _, p := range item {
			naming[p.Manifest], read[p.Barcode] = true, true
		}
	}
	some := o.Sample > 0 || o.Budget > 0 || o.Due > 0 || o.Source != "" || len(o.Paths) > 0 || !o.written.IsZero()
	now := time.Now()
	for _, f := range files {
		names := !f.Snapshot && naming[f.ID]
		switch {
		case o.Tape != "" && o.Tape != f.Barcode && !names:
			continue
		case since.Before(v.run.Started) && !f.Verified.Before(since):
			continue // the run that this one resumes has read it
		case !some:
		case o.Due > 0:
			last := f.Verified
			if !f.Snapshot && last.IsZero() {
				last = f.Written
			}
			due := now.Sub(last) >= o.Due && (read[f.Barcode] || !v.cut)
			if !due && !(names && f.Verified.IsZero()) {
				continue
			}
		case !o.written.IsZero():
			if share := o.pools[f.Pool]; !names && (f.Snapshot || f.Written.Before(o.written) || share < 1) {
				continue
			}
		case !names:
			continue
		}
		v.journal[f.Barcode] = append(v.journal[f.Barcode], journalItem{JournalFile: f, start: -1})
	}
	return nil
}

// readJournal reads the manifests and snapshots chosen of a tape that lie before a block, so that the tape is read forwards.
func (v *verifier) readJournal(ctx context.Context, barcode string, before int64) error {
	if len(v.journal[barcode]) == 0 {
		return nil
	}
	ok, err := v.mount(ctx, barcode)
	if err != nil || !ok {
		return err
	}
	list := v.journal[barcode]
	for i := range list {
		if list[i].start < 0 {
			if list[i].start, err = v.volume.StartBlock(list[i].Name); err != nil {
				list[i].start = 0 // if it is not there, that is said at once
			}
		}
	}
	slices.SortStableFunc(list, func(x, y journalItem) int { return int(min(1, max(-1, x.start-y.start))) })
	for len(list) > 0 && list[0].start < before {
		ok, err := v.mount(ctx, barcode)
		if err != nil || !ok {
			return err
		}
		if err := v.readJournalFile(ctx, list[0].JournalFile); err != nil {
			return err
		}
		list = list[1:]
		v.journal[barcode] = list
	}
	return nil
}

// restOfJournal reads what is left of all tapes, tape by tape.
func (v *verifier) restOfJournal(ctx context.Context) error {
	var barcodes []string
	for b := range v.journal {
		barcodes = append(barcodes, b)
	}
	slices.Sort(barcodes)
	for _, b := range barcodes {
		if err := v.readJournal(ctx, b, math.MaxInt64); err != nil {
			return err
		}
	}
	return nil
}

// readJournalFile reads one back, and records that it is good or lost.
func (v *verifier) readJournalFile(ctx context.Context, f catalog.JournalFile) error {
	t, err := v.env.DB.TapeByBarcode(ctx, f.Barcode)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(v.volume.Dir)
	if err != nil {
		return fmt.Errorf("open the volume of tape %s: %w", f.Barcode, err)
	}
	prove := func() error { return manifest.ProveFile(ctx, v.env, root, t, f) }
	err = changer.WithPatience(ctx, 0, prove)
	if err != nil && !volume.Excused(v.volume, err) {
		dropCached(root, f.Name, manifest.MacName(f.Name))
		err = changer.WithPatience(ctx, 0, prove)
	}
	_ = root.Close()
	switch {
	case err == nil:
		if f.Snapshot {
			v.sum.Snapshots++
		} else {
			v.sum.Manifests++
		}
		return v.env.DB.JournalVerified(ctx, f, time.Now())
	case ctx.Err() != nil:
		return ctx.Err()
	case manifest.Lost(v.volume, err):
		return v.lostJournalFile(ctx, f, err)
	case manifest.LacksKey(v.env, f.Name):
		v.closed[path.Base(path.Dir(f.Name))] = err
		return nil
	}
	v.away[f.Barcode] = err
	return v.leave(ctx)
}

func (v *verifier) lostJournalFile(ctx context.Context, f catalog.JournalFile, why error) error {
	copies, err := v.env.DB.LoseJournalFile(context.WithoutCancel(ctx), f, time.Now())
	if err != nil {
		return err
	}
	v.sum.Lost = append(v.sum.Lost, Damage{Pool: f.Pool, Barcode: f.Barcode, File: f.Name, Why: why.Error()})
	what := "what it named is written again by the next tapefs archive"
	switch {
	case f.Snapshot:
		what = "it is a copy of the catalog, and another is written when it is due"
	case copies > 0:
		what = fmt.Sprintf("%d copies are not safe before the next tapefs archive has written another manifest that names them", copies)
	}
	v.noted.Add("", "", fmt.Errorf("%s in pool %s is not on tape %s as it was written: %w (%s)", f.Name, f.Pool, f.Barcode, why, what))
	return nil
}

// dropCached lets this machine forget what it has read of files, so that they are read from tape once more.
func dropCached(root *os.Root, names ...string) {
	for _, name := range names {
		if f, err := changer.OpenFile(root, name, os.O_RDONLY, 0); err == nil {
			_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
			f.Close()
		}
	}
}
