package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cleanSpool removes what a died run left beside the batches: catalog snapshots that were being
// made, and layouts of objects that no open batch holds. The caller holds the writer lock.
func (a *Archiver) cleanSpool(ctx context.Context) error {
	entries, err := os.ReadDir(a.cfg.SpoolDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean the spool: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), snapshotPrefix) {
			if err := os.RemoveAll(filepath.Join(a.cfg.SpoolDir, e.Name())); err != nil {
				return fmt.Errorf("clean the spool: %w", err)
			}
		}
	}
	layouts, err := os.ReadDir(filepath.Dir(a.layoutFile("x")))
	if err != nil || len(layouts) == 0 {
		return nil
	}
	open := map[string]bool{}
	batches, err := a.db.OpenBatches(ctx)
	if err != nil {
		return fmt.Errorf("clean the spool: %w", err)
	}
	for _, b := range batches {
		objects, err := a.db.BatchObjects(ctx, b.ID)
		if err != nil {
			return fmt.Errorf("clean the spool: %w", err)
		}
		for _, o := range objects {
			open[o.OID] = true
		}
	}
	for _, e := range layouts {
		if !open[e.Name()] {
			if err := a.dropLayout(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// clean cleans the spool unless another run writes tapes.
func (w *writer) clean(ctx context.Context) error {
	if w.unlock == nil {
		unlock, err := w.a.lockWriterNow()
		if err != nil || unlock == nil {
			return err
		}
		defer unlock()
	}
	return w.a.cleanSpool(ctx)
}
