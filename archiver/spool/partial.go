package spool

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/tapefs/tapefs/catalog"
)

// tempSuffix is how long what mkstemp adds to a name is: a dot and six letters (rsync's receiver.c, get_tmpname).
const tempSuffix = len(".XXXXXX")

// cutOff finds what an rsync that was killed left below a batch's directory: files under temporary names, by the
// path that they were to get. Where a file was begun several times it is the longest, and the others are removed.
func (w *batchWork) cutOff(dir string) (map[string]string, error) {
	if there, err := os.ReadDir(dir); err != nil || len(there) == 0 {
		return nil, err
	}
	wanted, have := map[string]bool{}, map[string]bool{}
	for _, it := range w.files {
		wanted[it.path] = it.Kind == catalog.File
	}
	for _, p := range w.marked {
		have[p] = true
	}
	found, sizes := map[string]string{}, map[string]int64{}
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(dir, at)
		if err != nil || wanted[rel] || have[rel] {
			return err
		}
		of := path.Join(path.Dir(rel), tempOf(d.Name()))
		if !wanted[of] {
			of = path.Join(path.Dir(rel), "."+tempOf(d.Name())) // rsync adds no second dot
		}
		if !wanted[of] {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Size() <= sizes[of] {
			return os.Remove(at)
		}
		if found[of] != "" {
			if err := os.Remove(found[of]); err != nil {
				return err
			}
		}
		found[of], sizes[of] = at, info.Size()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for files that were cut off: %w", err)
	}
	return found, nil
}

// tempOf is the name that a temporary name of rsync was made of, without the dot that it may begin with; "" when
// it is none.
func tempOf(name string) string {
	at := len(name) - tempSuffix
	if at < 2 || name[0] != '.' || name[at] != '.' {
		return ""
	}
	for _, c := range []byte(name[at+1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return name[1:at]
}

// adopt puts what was cut off where this stream's rsync looks for it, under the last part of its path, unless more is
// there already. rsync compares it with the source piece by piece, so that it need not be whole nor right.
func adopt(files []wanted, found map[string]string, partial string) error {
	for _, it := range files {
		from := found[it.path]
		if from == "" {
			continue
		}
		if err := os.MkdirAll(partial, 0o700); err != nil {
			return fmt.Errorf("go on with %q: %w", it.path, err)
		}
		to := filepath.Join(partial, path.Base(it.path))
		if err := moveLonger(from, to); err != nil {
			return fmt.Errorf("go on with %q: %w", it.path, err)
		}
	}
	return nil
}

// moveLonger renames a file, or removes it when the one that it would replace is as long.
func moveLonger(from, to string) error {
	a, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if b, err := os.Lstat(to); err == nil && b.Size() >= a.Size() {
		return os.Remove(from)
	}
	return os.Rename(from, to)
}
