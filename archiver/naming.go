package archiver

import (
	"context"
	"errors"
	"fmt"
)

// awaiting counts the copies of this run's sources, and of others whose bytes they share, that are whole on a pool's tapes and that no
// manifest names yet: until one does they are not durable.
func (w *writer) awaiting(ctx context.Context, pool int64) (n int, err error) {
	if w.late() {
		return 0, nil
	}
	bySource, err := w.a.db.Awaiting(ctx, pool)
	if err != nil {
		return 0, fmt.Errorf("look for copies that wait for a manifest: %w", err)
	}
	for source, copies := range bySource {
		if _, ours := w.sources[source]; ours {
			n += copies
		}
	}
	return n, nil
}

// nameAwaiting writes the manifests that pools lack: of parts that a run left behind which was killed before it wrote one, whose tape
// ended within its last one, or whose manifest was lost with another tape. Any tape of the pool that can be written takes it.
func (w *writer) nameAwaiting(ctx context.Context) error {
	for _, p := range w.a.cfg.Pools {
		if w.blocked[p.Name] != nil {
			continue
		}
		row, err := w.a.db.EnsurePool(ctx, p.Name)
		if err != nil {
			return fmt.Errorf("look for pool %s: %w", p.Name, err)
		}
		for left := -1; ; {
			n, err := w.awaiting(ctx, row.ID)
			if err != nil {
				return err
			}
			if n == 0 || n == left {
				break // all are named, or the manifest that was written could not help
			}
			w.a.log.Info("copies on tape wait for a manifest that names them", "pool", p.Name, "copies", n)
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
