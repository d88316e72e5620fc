package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"tapefs/archiver/localfs"
	"tapefs/catalog"
	"tapefs/fs/recall/beneath"
	"tapefs/fs/recall/blocksums"
)

// A batch's files lie in spool/<Dir>, as below the source's top; what fetching needs beside
// them (a partial file, the boot they were fetched in, the sums of large files' blocks) in spool/<Dir>.fetch.
const fetchSuffix = catalog.FetchSuffix

// batchRoot is where a batch's files lie.
func (a *Archiver) batchRoot(b catalog.Batch) (string, error) {
	if b.Local {
		if !filepath.IsAbs(b.Dir) {
			return "", fmt.Errorf("batch %d: %q is no absolute path", b.ID, b.Dir)
		}
		return b.Dir, nil
	}
	if !localfs.ProperPath(b.Dir) || strings.Contains(b.Dir, "/") {
		return "", fmt.Errorf("batch %d: %q is no name of a spool directory", b.ID, b.Dir)
	}
	return filepath.Join(a.env.Config.SpoolDir, b.Dir), nil
}

// openMember opens a file of a batch for reading; path is the one within the source. The
// caller closes it.
func (a *Archiver) openMember(b catalog.Batch, path string) (*os.File, error) {
	dir, err := a.batchRoot(b)
	if err != nil {
		return nil, err
	}
	f, err := beneath.Open(dir, path)
	if err != nil {
		return nil, fmt.Errorf("open %q of batch %d: %w", path, b.ID, err)
	}
	return f, nil
}

// removeBatch removes the spool directory of a released batch. A source read in place is
// left alone; a directory that is gone already is no error.
func (a *Archiver) removeBatch(b catalog.Batch) error {
	if b.Local {
		return nil
	}
	if _, err := a.batchRoot(b); err != nil {
		return err
	}
	root, err := os.OpenRoot(a.env.Config.SpoolDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the spool: %w", err)
	}
	defer root.Close()
	// The sidecar last: without it what is left of the files is never believed.
	for _, name := range []string{b.Dir, b.Dir + fetchSuffix} {
		if err := root.RemoveAll(name); err != nil {
			return fmt.Errorf("remove batch %d from the spool: %w", b.ID, err)
		}
	}
	return nil
}

// spoolUse is what batches take of the spool, bytes: those that are in it whole, and those
// that are being fetched, with all they will hold.
func (a *Archiver) spoolUse(ctx context.Context) (int64, error) {
	return a.spoolUseBut(ctx, 0)
}

func (a *Archiver) spoolUseBut(ctx context.Context, but int64) (int64, error) {
	open, err := a.env.DB.OpenBatches(ctx)
	if err != nil {
		return 0, err
	}
	coming := a.fetching.all()
	var use int64
	for _, b := range open {
		if b.Local || b.ID == but {
			continue
		}
		if _, comes := coming[b.ID]; b.State == catalog.Fetching && !comes && !a.begun(b) {
			continue
		}
		use += b.Bytes
	}
	return use, nil
}

// bootID tells one boot of this machine from another.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}

// sumsName is where the block sums of a version in the spool are kept.
func (a *Archiver) sumsName(batchDir string, id catalog.ID) string {
	return blocksums.Name(filepath.Join(a.env.Config.SpoolDir, batchDir+fetchSuffix), int64(id))
}
