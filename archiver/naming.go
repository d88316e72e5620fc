package archiver

import (
	"context"
	"errors"
	"fmt"
)

// nameAwaiting writes the manifests that pools lack: of parts that a run left behind which was killed before it wrote one, whose tape
// ended within its last one, or whose manifest was lost, alone or with its tape. Likewise of changes of the catalog that only a lost
// manifest named. Any tape of the pool that can be written takes it.
func (w *writer) nameAwaiting(ctx context.Context) error {
	for _, p := range w.a.env.Config.Pools {
		if w.known.blocked[p.Name] != nil {
			continue
		}
		row, err := w.a.env.DB.EnsurePool(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", p.Name, err)
		}
		for left := -1; ; {
			n, err := w.debts.awaiting(ctx, row.ID)
			if err != nil {
				return err
			}
			owes, err := w.debts.owesJournal(ctx, p.Name, row.ID)
			if err != nil {
				return err
			}
			if n == 0 && !owes || n == left {
				break // all are named, or the manifest that was written could not help
			}
			w.a.env.Log.Info("what is on tape waits for a manifest that names it", "pool", p.Name, "copies", n)
			if err := w.tapes.openTape(ctx, p.Name, 0); err != nil {
				if errors.Is(err, ErrNeedsOperator) {
					break // the pool is blocked now
				}
				return err
			}
			failed := w.tapesFailed()
			if err := w.tapes.sync(ctx); err != nil {
				return err
			}
			if w.tapesFailed() == failed { // else the next tape is tried
				left = n
			}
		}
	}
	return nil
}
