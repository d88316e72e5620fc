package diff

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
)

// markPage is how many marks one transaction sets.
const markPage = 1000

// lostShare: a listing that lacks more than one in so many of a source's files is not believed.
const lostShare = 10

// tooManyLost tells whether a listing lacks so much that a disk may not be mounted, or a folder not be shared.
func tooManyLost(lost, known int64) bool { return lost*lostShare > known }

// missing: the catalog shows v and the listing did not have it. Nothing is marked before the whole
// listing was compared.
func (c *comparison) missing(v *catalog.Version, path string) error {
	if !v.Vanished.IsZero() {
		return nil
	}
	if v.Kind != catalog.Directory {
		c.stats.Missing++
		c.renames.lost(v)
	}
	return c.addAbsent(v, path)
}

// revived: something that counts as vanished is there again, whatever else the listing lacks.
func (c *comparison) revived(ctx context.Context, id catalog.ID) error {
	c.stats.Revived++
	if c.marks.back = append(c.marks.back, id); len(c.marks.back) >= markPage {
		return c.revive(ctx)
	}
	return nil
}

func (c *comparison) revive(ctx context.Context) error {
	back := c.marks.back
	c.marks.back = nil
	if c.in.Dry || len(back) == 0 {
		return nil
	}
	if err := c.env.DB.Revive(ctx, c.in.Run, back); err != nil {
		return fmt.Errorf("mark what came back: %w", err)
	}
	return nil
}

// vanish marks what the listing lacked, if the listing can be believed. Otherwise it says why not.
func (c *comparison) vanish(ctx context.Context) error {
	if err := c.sparesLeftOut(ctx); ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		c.whole = false
		if err := c.warn(ctx, err.Error()); err != nil {
			return err
		}
	}
	lost := c.stats.Missing
	var clock *job.ClockError
	if err := job.CheckMachineClock(ctx, c.env.DB, c.in.Run); err != nil && !errors.As(err, &clock) {
		return err
	}
	switch {
	case lost > 0 && clock != nil && !clock.Ahead() && !c.in.Accept: // rules that forget by age would take them for old
		c.stats.Unmarked, c.stats.Missing = lost, 0
		return c.warn(ctx, fmt.Sprintf("%d of %d files are not in the listing, but %v: nothing is marked as vanished until the clock is right", lost, c.known, clock))
	case !c.whole:
		if lost == 0 {
			return nil
		}
		c.stats.Unmarked, c.stats.Missing = lost, 0
		return c.warn(ctx, fmt.Sprintf("%d of %d files are not in the listing, but it is not complete: nothing is marked as vanished", lost, c.known))
	case !c.in.Accept && tooManyLost(lost-min(lost, c.stats.MaybeMoved), c.known): // what got another name is not lost
		c.stats.Unmarked, c.stats.Missing = lost, 0
		return c.warn(ctx, fmt.Sprintf("%d of %d files are not in the listing: nothing is marked as vanished, for so much looks like a disk that is not mounted. If they were deleted: tapefs archive %s --accept-deletions",
			lost, c.known, c.in.Src.Name))
	}
	c.stats.Vanished, c.stats.Missing = lost, 0
	if c.in.Dry {
		return nil
	}
	return c.markGone(ctx, time.Now())
}

// warn says it at once, and keeps it with the run.
func (c *comparison) warn(ctx context.Context, text string) error {
	c.env.Log.Warn(text, "source", c.in.Src.Name)
	if c.in.Run == 0 {
		return nil
	}
	return c.env.DB.AddRunError(ctx, c.in.Run, c.in.Src.Name, "", text)
}

// markGone marks all that is missing.
func (c *comparison) markGone(ctx context.Context, at time.Time) error {
	if err := c.gone.Sort(); err != nil {
		return err
	}
	page := make([]catalog.ID, 0, markPage)
	for {
		key, _, ok, err := c.gone.Next()
		if err != nil {
			return err
		}
		if ok {
			page = append(page, catalog.ID(binary.BigEndian.Uint64(key)))
		}
		if len(page) == markPage || !ok && len(page) > 0 {
			if err := c.env.DB.MarkVanished(ctx, c.in.Run, page, at); err != nil {
				return fmt.Errorf("mark what vanished: %w", err)
			}
			page = page[:0]
		}
		if !ok {
			return nil
		}
	}
}
