package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/manifest"
)

// batchDir is what the directory of a batch is called: its source and an object id.
var batchDir = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(.+)-[0-9a-f]{32}(` + regexp.QuoteMeta(FetchSuffix) + `)?$`)
})

// scratchName is what writers make in the spool beside batches, with a number behind it as MkdirTemp and CreateTemp give it:
// no batch of a source that is called like it can be mistaken for it.
var scratchName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(` + SnapshotPrefix + `|` + HealPrefix + `|` + manifest.ScratchPrefix + `)[0-9]{1,20}$`)
})

// Clean removes what a died run left: catalog snapshots, manifests and lists that were being made, parts on
// their way, layouts
// of objects that no open batch holds, and released batches of our sources. The caller holds the
// writer lock and those of the sources.
func (s *Spool) Clean(ctx context.Context, ours map[string]bool) error {
	entries, err := os.ReadDir(s.env.Config.SpoolDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean the spool: %w", err)
	}
	for _, e := range entries {
		if scratchName().MatchString(e.Name()) {
			if err := os.RemoveAll(filepath.Join(s.env.Config.SpoolDir, e.Name())); err != nil {
				return fmt.Errorf("clean the spool: %w", err)
			}
		} else if localfs.WorkName().MatchString(e.Name()) {
			if err := localfs.CleanWork(filepath.Join(s.env.Config.SpoolDir, e.Name())); err != nil {
				return fmt.Errorf("clean the spool: %w", err)
			}
		}
	}
	// Read before the batches are: what another run begins meanwhile is not among them.
	layouts, err := os.ReadDir(filepath.Dir(s.layoutFile("x")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean the spool: %w", err)
	}
	open := map[string]bool{}
	dirs := map[string]bool{}
	batches, err := s.env.DB.OpenBatches(ctx)
	if err != nil {
		return fmt.Errorf("clean the spool: %w", err)
	}
	for _, b := range batches {
		dirs[b.Dir], dirs[b.Dir+FetchSuffix] = true, true
		if len(layouts) == 0 {
			continue
		}
		objects, err := s.env.DB.BatchObjects(ctx, b.ID)
		if err != nil {
			return fmt.Errorf("clean the spool: %w", err)
		}
		for _, o := range objects {
			open[o.OID] = true
		}
	}
	for _, e := range entries {
		if m := batchDir().FindStringSubmatch(e.Name()); m != nil && ours[m[1]] && !dirs[e.Name()] {
			if err := os.RemoveAll(filepath.Join(s.env.Config.SpoolDir, e.Name())); err != nil {
				return fmt.Errorf("clean the spool: %w", err)
			}
		}
	}
	for _, e := range layouts {
		if !open[e.Name()] {
			if err := s.DropLayout(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}
