package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// batchDir is what the directory of a batch is called: its source and an object id.
var batchDir = regexp.MustCompile(`^(.+)-[0-9a-f]{32}(` + regexp.QuoteMeta(fetchSuffix) + `)?$`)

// scratchName is what writers make in the spool beside batches, with a number behind it as MkdirTemp and CreateTemp give it:
// no batch of a source that is called like it can be mistaken for it.
var scratchName = regexp.MustCompile(`^(` + snapshotPrefix + `|` + healPrefix + `|` + manifestPrefix + `)[0-9]{1,20}$`)

// cleanSpool removes what a died run left: catalog snapshots, manifests and lists that were being made, parts on
// their way, layouts
// of objects that no open batch holds, and released batches of our sources. The caller holds the
// writer lock and those of the sources.
func (a *Archiver) cleanSpool(ctx context.Context, ours map[string]bool) error {
	entries, err := os.ReadDir(a.env.Config.SpoolDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean the spool: %w", err)
	}
	for _, e := range entries {
		if scratchName.MatchString(e.Name()) {
			if err := os.RemoveAll(filepath.Join(a.env.Config.SpoolDir, e.Name())); err != nil {
				return fmt.Errorf("clean the spool: %w", err)
			}
		} else if workName.MatchString(e.Name()) {
			if err := cleanWork(filepath.Join(a.env.Config.SpoolDir, e.Name())); err != nil {
				return fmt.Errorf("clean the spool: %w", err)
			}
		}
	}
	// Read before the batches are: what another run begins meanwhile is not among them.
	layouts, err := os.ReadDir(filepath.Dir(a.layoutFile("x")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean the spool: %w", err)
	}
	open := map[string]bool{}
	dirs := map[string]bool{}
	batches, err := a.env.DB.OpenBatches(ctx)
	if err != nil {
		return fmt.Errorf("clean the spool: %w", err)
	}
	for _, b := range batches {
		dirs[b.Dir], dirs[b.Dir+fetchSuffix] = true, true
		if len(layouts) == 0 {
			continue
		}
		objects, err := a.env.DB.BatchObjects(ctx, b.ID)
		if err != nil {
			return fmt.Errorf("clean the spool: %w", err)
		}
		for _, o := range objects {
			open[o.OID] = true
		}
	}
	for _, e := range entries {
		if m := batchDir.FindStringSubmatch(e.Name()); m != nil && ours[m[1]] && !dirs[e.Name()] {
			if err := os.RemoveAll(filepath.Join(a.env.Config.SpoolDir, e.Name())); err != nil {
				return fmt.Errorf("clean the spool: %w", err)
			}
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
		unlock, err := w.a.env.LockWriterNow()
		if err != nil || unlock == nil {
			return err
		}
		defer unlock()
	}
	ours := map[string]bool{}
	for _, s := range w.sources {
		ours[s.Name] = true
	}
	return w.a.cleanSpool(ctx, ours)
}
