package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/diff"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/beneath"
	"github.com/tapefs/tapefs/fs/recall/blocksums"
)

// Spool is the folder where fetched files wait until they are safe, and what this process does in it. Safe for concurrent use.
type Spool struct {
	Former   diff.Former // what comparing knows of files that are planned, until they are fetched
	Fetching InFlight    // batches that are being fetched

	env     *job.Env
	sharing sync.Mutex // one batch at a time looks whether others have its content, and is recorded
}

// New is the spool of a configuration. It touches nothing.
func New(env *job.Env) *Spool { return &Spool{env: env} }

// Usable reports why this process cannot work in the spool, before anything is begun there: each source would fail for the same reason,
// at a place of its own.
func (s *Spool) Usable() error {
	dir := s.env.Config.SpoolDir
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		if errno := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); errno != nil {
			err = &fs.PathError{Op: "write", Path: dir, Err: errno}
		}
	}
	if err != nil {
		return fmt.Errorf("the spool cannot be used: %w", err)
	}
	return nil
}

// A batch's files lie in spool/<Dir>, as below the source's top; what fetching needs beside
// them (a partial file, the boot they were fetched in, the sums of large files' blocks) in spool/<Dir>.fetch.
const FetchSuffix = catalog.FetchSuffix

// BatchRoot is where a batch's files lie.
func (s *Spool) BatchRoot(b catalog.Batch) (string, error) {
	if b.Local {
		if !filepath.IsAbs(b.Dir) {
			return "", fmt.Errorf("batch %d: %q is no absolute path", b.ID, b.Dir)
		}
		return b.Dir, nil
	}
	if !localfs.ProperPath(b.Dir) || strings.Contains(b.Dir, "/") {
		return "", fmt.Errorf("batch %d: %q is no name of a spool directory", b.ID, b.Dir)
	}
	return filepath.Join(s.env.Config.SpoolDir, b.Dir), nil
}

// OpenMember opens a file of a batch for reading; path is the one within the source. The
// caller closes it.
func (s *Spool) OpenMember(b catalog.Batch, path string) (*os.File, error) {
	dir, err := s.BatchRoot(b)
	if err != nil {
		return nil, err
	}
	f, err := beneath.Open(dir, path)
	if err != nil {
		return nil, fmt.Errorf("open %q of batch %d: %w", path, b.ID, err)
	}
	return f, nil
}

// RemoveBatch removes the spool directory of a released batch. A source read in place is
// left alone; a directory that is gone already is no error.
func (s *Spool) RemoveBatch(b catalog.Batch) error {
	if b.Local {
		return nil
	}
	if _, err := s.BatchRoot(b); err != nil {
		return err
	}
	root, err := os.OpenRoot(s.env.Config.SpoolDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	defer root.Close()
	// The sidecar last: without it what is left of the files is never believed.
	for _, name := range []string{b.Dir, b.Dir + FetchSuffix} {
		if err := root.RemoveAll(name); err != nil {
			return fmt.Errorf("remove batch %d from the spool: %w", b.ID, err)
		}
	}
	return nil
}

// Use is what batches take of the spool, bytes: those that are in it whole, and those
// that are being fetched, with all they will hold.
func (s *Spool) Use(ctx context.Context) (int64, error) {
	return s.spoolUseBut(ctx, 0)
}

func (s *Spool) spoolUseBut(ctx context.Context, but int64) (int64, error) {
	open, err := s.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, err
	}
	coming := s.Fetching.All()
	var use int64
	for _, b := range open {
		if b.Local || b.ID == but {
			continue
		}
		if _, comes := coming[b.ID]; b.State == catalog.Fetching && !comes && !s.begun(b) {
			continue
		}
		use += b.Bytes
	}
	return use, nil
}

// SumsName is where the block sums of a version in the spool are kept.
func (s *Spool) SumsName(batchDir string, id catalog.ID) string {
	return blocksums.Name(filepath.Join(s.env.Config.SpoolDir, batchDir+FetchSuffix), int64(id))
}
