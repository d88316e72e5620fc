package localfs

import (
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/tapefs/tapefs/fs/recall/beneath"
)

// Tree opens files below a directory without ever following a symlink, not even one that
// leads to another place below it: neither the far side nor the owner of a local source
// chooses what is archived under a name. Not safe for concurrent use; close it.
type Tree struct {
	Root *os.Root
	path []string   // components of the open directories
	open []*os.Root // one for each
}

// OpenTree opens a folder, which may itself be named by a symlink.
func OpenTree(dir string) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Tree{Root: root}, nil
}

// Close closes what is open.
func (t *Tree) Close() {
	for _, r := range t.open {
		r.Close()
	}
	t.Root.Close()
	t.open, t.path = nil, nil
}

// dir opens a directory below the top, keeping what it shares with the one before open.
func (t *Tree) dir(p string) (*os.Root, error) {
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
	at := t.Root
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
	if !ProperPath(name) {
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

// Lstat describes a name without following it. Paths are those below the top, as for Readlink and OpenFile.
func (t *Tree) Lstat(p string) (fs.FileInfo, error) {
	dir, name := SplitPath(p)
	r, err := t.dir(dir)
	if err != nil {
		return nil, err
	}
	if !ProperPath(name) {
		return nil, &fs.PathError{Op: "lstat", Path: p, Err: syscall.EINVAL}
	}
	return r.Lstat(name)
}

// Readlink is what a symlink names.
func (t *Tree) Readlink(p string) (string, error) {
	dir, name := SplitPath(p)
	r, err := t.dir(dir)
	if err != nil {
		return "", err
	}
	return r.Readlink(name)
}

// OpenFile opens a file for reading.
func (t *Tree) OpenFile(p string) (*os.File, error) { return beneath.Open(t.Root.Name(), p) }

// OpenDir opens a directory, "" the top itself. Close it.
func (t *Tree) OpenDir(p string) (*os.File, error) {
	at, err := t.dir(p)
	if err != nil {
		return nil, err
	}
	return at.Open(".")
}
