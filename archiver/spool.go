package archiver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tapefs/catalog"
	"tapefs/fs/recall/beneath"
)

// A batch's files lie in spool/<Dir>, as below the source's top; what fetching needs beside
// them (a partial file, the boot they were fetched in, the sums of large files' blocks) in spool/<Dir>.fetch.
const fetchSuffix = catalog.FetchSuffix

// tree opens files below a directory without ever following a symlink, not even one that
// leads to another place below it: neither the far side nor the owner of a local source
// chooses what is archived under a name. Not safe for concurrent use; close it.
type tree struct {
	root *os.Root
	path []string   // components of the open directories
	open []*os.Root // one for each
}

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &tree{root: root}, nil
}

func (t *tree) close() {
	for _, r := range t.open {
		r.Close()
	}
	t.root.Close()
	t.open, t.path = nil, nil
}

// dir opens a directory below the top, keeping what it shares with the one before open.
func (t *tree) dir(p string) (*os.Root, error) {
	var want []string
	if p != "" {
		want = strings.Split(p, "/")
	}
	n := 0
	for n < len(want) && n < len(t.path) && want[n] == t.path[n] {
		n++
	}
	for _, r := range t.open[n:] {
		r.Close()
	}
	t.open, t.path = t.open[:n], t.path[:n]
	at := t.root
	if n > 0 {
		at = t.open[n-1]
	}
	for _, name := range want[n:] {
		next, err := openDirectory(at, name)
		if err != nil {
			return nil, err
		}
		t.open, t.path = append(t.open, next), append(t.path, name)
		at = next
	}
	return at, nil
}

// openDirectory opens a directory that is one itself, not a link to one.
func openDirectory(at *os.Root, name string) (*os.Root, error) {
	if !properPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EINVAL}
	}
	is, err := at.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !is.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	next, err := at.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	got, err := next.Stat(".")
	if err == nil && !os.SameFile(is, got) {
		err = &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
	}
	if err != nil {
		next.Close()
		return nil, err
	}
	return next, nil
}

// lstat and its kin take paths below the top.
func (t *tree) lstat(p string) (fs.FileInfo, error) {
	dir, name := splitPath(p)
	r, err := t.dir(dir)
	if err != nil {
		return nil, err
	}
	if !properPath(name) {
		return nil, &fs.PathError{Op: "lstat", Path: p, Err: syscall.EINVAL}
	}
	return r.Lstat(name)
}

func (t *tree) readlink(p string) (string, error) {
	dir, name := splitPath(p)
	r, err := t.dir(dir)
	if err != nil {
		return "", err
	}
	return r.Readlink(name)
}

func (t *tree) openFile(p string) (*os.File, error) { return beneath.Open(t.root.Name(), p) }

// batchRoot is where a batch's files lie.
func (a *Archiver) batchRoot(b catalog.Batch) (string, error) {
	if b.Local {
		if !filepath.IsAbs(b.Dir) {
			return "", fmt.Errorf("batch %d: %q is no absolute path", b.ID, b.Dir)
		}
		return b.Dir, nil
	}
	if !properPath(b.Dir) || strings.Contains(b.Dir, "/") {
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

// removeAll removes a directory of ours and reports what keeps it.
func removeAll(dir string, err *error) {
	if e := os.RemoveAll(dir); e != nil && *err == nil {
		*err = fmt.Errorf("tidy up: %w", e)
	}
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

// disk is the spool's file system. Opened before files are written it hears of each error
// of writing them back (syncfs reports those since Linux 5.8).
type disk struct{ f *os.File }

func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the spool: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	return &disk{f}, nil
}

// sync returns when all that was written is on disk.
func (d *disk) sync() error {
	if err := unix.Syncfs(int(d.f.Fd())); err != nil {
		return fmt.Errorf("sync the spool: %w", err)
	}
	return nil
}

func (d *disk) close() { d.f.Close() }

// bootID tells one boot of this machine from another.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
}
