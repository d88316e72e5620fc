package archiver

import (
	"context"
	"errors"
	"fmt"
)

// awaiting counts the copies that are whole on a pool's tapes and that no manifest names yet: until one does they are not durable. Whose
// files they hold makes no difference: a manifest names all that lack one.
func (w *writer) awaiting(ctx context.Context, pool int64) (n int, err error) {
	if w.late() {
		return 0, nil
	}
	bySource, err := w.a.env.DB.Awaiting(ctx, pool)
	if err != nil {
		return 0, fmt.Errorf("look for copies that wait for a manifest: %w", err)
	}
	for _, copies := range bySource {
		n += copies
	}
	return n, nil
}

// owesJournal reports whether a manifest of a pool is to be written for changes of the catalog alone: they are named by none any more,
// since one was lost, or the run is to write those that none names yet.
func (w *writer) owesJournal(ctx context.Context, name string, pool int64) (bool, error) {
	if w.late() {
		return false, nil
	}
	if asked, err := w.namesAsked(ctx, name); err != nil || asked {
		return asked, err
	}
	return w.a.env.DB.OwesJournal(ctx, pool)
}

// nameAwaiting writes the manifests that pools lack: of parts that a run left behind which was killed before it wrote one, whose tape
// ended within its last one, or whose manifest was lost, alone or with its tape. Likewise of changes of the catalog that only a lost
// manifest named. Any tape of the pool that can be written takes it.
func (w *writer) nameAwaiting(ctx context.Context) error {
	for _, p := range w.a.env.Config.Pools {
		if w.blocked[p.Name] != nil {
			continue
		}
		row, err := w.a.env.DB.EnsurePool(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", p.Name, err)
		}
		for left := -1; ; {
			n, err := w.awaiting(ctx, row.ID)
			if err != nil {
				return err
			}
			owes, err := w.owesJournal(ctx, p.Name, row.ID)
			if err != nil {
				return err
			}
			if n == 0 && !owes || n == left {
				break // all are named, or the manifest that was written could not help
			}
			w.a.env.Log.Info("what is on tape waits for a manifest that names it", "pool", p.Name, "copies", n)
			if err := w.openTape(ctx, p.Name, 0); err != nil {
				if errors.Is(err, ErrNeedsOperator) {
					break // the pool is blocked now
				}
				return err
			}
			failed := w.tapesFailed()
			if err := w.sync(ctx); err != nil {
				return err
			}
			if w.tapesFailed() == failed { // else the next tape is tried
				left = n
			}
		}
	}
	return nil
}
