package safe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/tapefs/tapefs/archiver/diff"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

const (
	// fineTick is how far apart two changes lie at least that a file system with nanoseconds tells apart: the
	// longest tick of a Linux kernel. coarseTick is that of file systems with whole seconds, or two (FAT).
	fineTick   = 10 * time.Millisecond
	coarseTick = 3 * time.Second
)

// inodeChanged: a local file has a version's size and time, and something was changed at it since: its bytes must tell.
const inodeChanged = "inode changed"

// tooSoon tells whether a change after the file's time was looked at may have left that time as it is.
func tooSoon(v *catalog.Version, taken time.Time) bool {
	tick := fineTick
	if v.MTime.Nsec == 0 {
		tick = coarseTick
	}
	age := taken.Sub(time.Unix(v.MTime.Sec, int64(v.MTime.Nsec)))
	return age < tick && age > -diff.ClockSkew
}

// exactly holds what a listing by rsync tells of a file's time against versions whose second it is. The one that has
// the very time becomes the first of like. Otherwise it says why not.
func (s *judge) exactly(e *source.Entry, like []catalog.Version) string {
	if !e.Exact {
		if *s.seconds {
			return TimeUnsure
		}
		return "" // rsync compares them later
	}
	for i := range like {
		if like[i].MTime.Nsec == e.Nsec {
			like[0], like[i] = like[i], like[0]
			return ""
		}
	}
	return SameSecond
}

// checkContent keeps a file until there are enough to compare their bytes with those of the versions they look like.
func (s *judge) checkContent(ctx context.Context, f File, e *source.Entry, v *catalog.Version) error {
	sum, err := diff.SumOf(ctx, s.env.DB, v)
	if err != nil {
		return err
	}
	s.files, s.judged = append(s.files, diff.Doubt{Entry: *e, Version: v.ID, Sum: sum}), append(s.judged, f)
	if len(s.files) < diff.MaxChecked {
		return nil
	}
	return s.compareContent(ctx)
}

func (s *judge) compareContent(ctx context.Context) error {
	files, judged := s.files, s.judged
	s.files, s.judged = nil, nil
	check := &diff.ContentCheck{Env: s.env, Src: s.src, At: s.at, Tree: s.tree, Work: s.work}
	i := 0
	return check.Run(ctx, files, func(c *diff.Doubt) error {
		f := judged[i]
		i++
		switch c.Found {
		case diff.Differs:
			f.Why = OtherBytes
		case diff.Unknown:
			f.Why = NotCompared
		}
		return s.emit(f)
	})
}

// source.InPlace looks at a file of this machine: its time to the nanosecond must be that of a version, which becomes the
// first of like. Otherwise it says why not.
func (s *judge) inPlace(e *source.Entry, like []catalog.Version) (string, error) {
	info, err := s.tree.Lstat(e.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return NotListed, nil // gone since it was listed
	}
	if err != nil {
		return NotListed, nil
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("look at %q: no stat", e.Path)
	}
	kind := catalog.File
	switch {
	case info.Mode().Type() == fs.ModeSymlink:
		kind = catalog.Symlink
	case !info.Mode().IsRegular():
		return NotTheSame, nil
	}
	for i := range like {
		v := &like[i]
		if kind == v.Kind && (kind == catalog.Symlink || info.Size() == v.Size) &&
			(catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}) == v.MTime {
			like[0], like[i] = like[i], like[0]
			now := *e
			now.Exact, now.Nsec, now.Ctime, now.Ino = true, int32(st.Mtim.Nsec), time.Unix(st.Ctim.Unix()).UTC(), st.Ino
			if kind == catalog.File && !diff.InodeKept(&now, &like[0]) {
				return inodeChanged, nil
			}
			return "", nil
		}
	}
	if st.Mtim.Sec == e.Mtime {
		return SameSecond, nil
	}
	return NotTheSame, nil
}

// exactFile waits to be compared to the nanosecond.
type exactFile struct {
	File
	mtime catalog.Time
}

// exactPage is how many files one rsync compares to the nanosecond.
const exactPage = 5000

func (s *judge) later(ctx context.Context, f File, v *catalog.Version) error {
	s.exact = append(s.exact, exactFile{f, v.MTime})
	if len(s.exact) < exactPage {
		return nil
	}
	return s.compareExact(ctx)
}

// compareExact lets rsync compare the source's files with empty ones of the same sizes and times: a listing tells
// whole seconds only, but when it compares, rsync has the nanoseconds. What it does not call equal is not safe.
func (s *judge) compareExact(ctx context.Context) (err error) {
	files := s.exact
	s.exact = nil
	if len(files) == 0 {
		return nil
	}
	dir := filepath.Join(s.work, "exact")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("compare times: %w", err)
	}
	defer localfs.RemoveAll(dir, &err)
	if err := likenesses(dir, files); err != nil {
		return fmt.Errorf("compare times: %w", err)
	}
	operand, prefix := s.at.Fetched()
	var list bytes.Buffer
	for _, f := range files {
		list.WriteString(prefix + f.Path + "\x00")
	}
	args := func(secluded bool) []string {
		args := []string{"-ltn", "--modify-window=-1", "--no-implied-dirs", "-ii", "--out-format=%i %l %n", "--from0", "--files-from=-"}
		args = append(args, s.at.RemoteOptions(s.src, s.env.Config.SSH, secluded)...)
		return append(args, "--", operand, dir+"/")
	}
	equal := map[string]bool{}
	r, err := source.Reach(ctx, s.env, s.src, s.at, args, list.Bytes(), func(line []byte) error {
		item, rest, _ := bytes.Cut(line, []byte(" "))
		// ".f" and nothing but blanks and dots: no byte would be sent, and size and time are equal. Modes are not compared.
		if len(item) < 2 || item[0] != '.' || item[1] != 'f' || len(bytes.Trim(item[2:], ".")) > 0 {
			return nil
		}
		size, name, ok := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
		if _, err := strconv.ParseInt(string(size), 10, 64); ok && err == nil {
			equal[string(source.Unescape(name))] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare times: %w", err)
	}
	if r.Exit != 0 && !r.Partial() {
		return fmt.Errorf("compare times: %w", r.Err())
	}
	for _, f := range files {
		if !equal[f.Path] {
			f.Why = SameSecond
		}
		if err := s.emit(f.File); err != nil {
			return err
		}
	}
	return nil
}

// likenesses makes files without bytes that have sizes and times of versions.
func likenesses(dir string, files []exactFile) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	top, err := root.Open(".")
	if err != nil {
		return err
	}
	defer top.Close()
	for _, f := range files {
		if err := root.MkdirAll(path.Dir(f.Path), 0o700); err != nil {
			return err
		}
		out, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(out.Truncate(f.Size), out.Close()); err != nil {
			return err
		}
		if err := localfs.SetTime(top, f.Path, f.mtime); err != nil {
			return err
		}
	}
	return nil
}
