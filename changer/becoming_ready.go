package changer

import (
	"context"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/changer/lto"
)

const (
	usualReady = 10 * time.Minute // from load to ready; half a minute is usual, and a tape that was left in the middle is rewound first
	firstSpare = 30 * time.Minute // beyond what the maker says of a first load

	// readySoon is what any drive may take without a word about it.
	readySoon = time.Minute
)

// firstLoad is the format of the loaded tape if its cartridge may take long to become ready because it was never loaded before. A
// label without media suffix is taken for what the drive is made for.
func (le *Lease) firstLoad(ctx context.Context) (lto.Format, bool) {
	b, full, err := le.Loaded(ctx)
	if err != nil || !full {
		b = le.tape
	}
	f, ok := b.Format()
	if !ok && !b.Cleaning() {
		f, _ = lto.ByGeneration(le.l.driveGeneration(ctx, le.d))
	}
	return f, f.FirstLoad > 0
}

// readyTimeout is how long the drive may take from load to ready: what the configuration says, else by the kind of medium. A first
// load must not be given up: the drive would begin it anew.
func (le *Lease) readyTimeout(ctx context.Context) time.Duration {
	if limit := le.l.cfg.ReadyTimeout; limit > 0 {
		return limit
	}
	if f, ok := le.firstLoad(ctx); ok {
		return f.FirstLoad + firstSpare
	}
	return usualReady
}

// becomingReady follows a drive that is not ready: look, called again and again meanwhile, tells of it when it takes long, here and
// to those who wait for the drive. end is called when the drive is ready or given up.
func (le *Lease) becomingReady(ctx context.Context) (look, end func()) {
	begin, unsay := time.Now(), func() {}
	var notices *Notices
	return func() {
		if notices == nil && time.Since(begin) < le.l.readySoon {
			return
		}
		if notices == nil {
			what := "drive " + le.d.Serial + " to become ready"
			why := "it has not threaded " + nameOfTape(le.label(ctx)) + " yet"
			if f, ok := le.firstLoad(ctx); ok {
				why += fmt.Sprintf("; the first load of an %s cartridge takes up to %s (media optimization): do not interrupt it", f.Name, f.FirstLoad)
			}
			notices = NewNotices(what, false, le.l.cfg.Waits)
			notices.w.Since, notices.w.Why = begin, why
			unsay = le.says("becoming ready")
		}
		notices.Look(func() string { return "" })
	}, func() { unsay() }
}

func nameOfTape(b Barcode) string {
	if b == "" {
		return "its tape"
	}
	return "tape " + string(b)
}
