package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// wanted is one planned version of a batch.
type wanted struct {
	catalog.Version
	path   string // below the source's top
	object int64
}

// fetcher brings batches into the spool.
type fetcher struct{ *Spool }

// batchWork is what a batch asks for.
type batchWork struct {
	files   []wanted         // planned and not marked as fetched yet, in member order
	dirs    []wanted         // directories whose entries it carries, but the source's top
	top     *catalog.Version // the source's own directory
	marked  []string         // paths of the other files
	objects []catalog.PlannedObject
	bytes   int64 // of files marked earlier
}

// batchWork reads a batch from the catalog and finds the paths of its versions.
func (s fetcher) batchWork(ctx context.Context, b catalog.Batch) (*batchWork, error) {
	objects, err := s.env.DB.BatchObjects(ctx, b.ID)
	if err != nil {
		return nil, fmt.Errorf("read batch %d: %w", b.ID, err)
	}
	w := &batchWork{objects: objects}
	paths := map[catalog.ID]string{}
	var locate func(id catalog.ID) (string, error)
	locate = func(id catalog.ID) (string, error) {
		if p, ok := paths[id]; ok {
			return p, nil
		}
		v, err := s.env.DB.Get(ctx, id)
		if err != nil {
			return "", fmt.Errorf("directory %d: %w", id, err)
		}
		p := ""
		if v.Parent != catalog.Root && v.ID != catalog.Root {
			if p, err = locate(v.Parent); err != nil {
				return "", err
			}
			p = localfs.JoinPath(p, v.Name)
		}
		paths[id] = p
		return p, nil
	}
	seen := map[catalog.ID]bool{}
	for _, o := range objects {
		for _, v := range o.Versions {
			if v.Parent == catalog.Root {
				w.top = &v
				continue
			}
			dir, err := locate(v.Parent)
			if err != nil {
				return nil, err
			}
			it := wanted{v, localfs.JoinPath(dir, v.Name), o.ID}
			switch {
			case v.Kind == catalog.Directory:
				if !seen[v.ID] {
					w.dirs = append(w.dirs, it)
				}
				seen[v.ID] = true
			case v.State == catalog.Planned:
				w.files = append(w.files, it)
			case v.Kind == catalog.File && v.Inode == v.ID:
				w.bytes += v.Size
				fallthrough
			default:
				w.marked = append(w.marked, it.path)
			}
		}
	}
	return w, nil
}

// FetchBatch brings the planned versions of a batch into the spool, or looks at them where they
// are, and records what came. Called again for a batch that was left half fetched it goes on.
// An error leaves the batch in state Fetching.
func (s *Spool) FetchBatch(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch) error {
	return fetcher{s}.fetchBatch(ctx, run, src, b)
}

func (s fetcher) fetchBatch(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch) error {
	if b.State != catalog.Fetching {
		return nil
	}
	w, err := s.batchWork(ctx, b)
	if err != nil {
		return err
	}
	dir, err := s.BatchRoot(b)
	if err != nil {
		return err
	}
	var came *arrival
	names := source.NewOwnerNames(b.Local)
	began := time.Now()
	if !b.Local {
		disk, err := localfs.OpenSyncer(s.env.Config.SpoolDir)
		if err != nil {
			return err
		}
		defer disk.Close()
		if came, err = s.fetchFiles(ctx, run, src, b, w, dir, names); err != nil {
			err = fmt.Errorf("fetch batch %d of source %s: %w", b.ID, src.Name, err)
			if _, all, ferr := s.spoolFree(); ferr == nil && all < spareDisk && len(w.marked) == 0 {
				err = errors.Join(err, s.RemoveBatch(b)) // others need the disk, and tapes could not be written without it
			}
			return err
		}
		s.env.Flow.Fetched.Add(b.Bytes)
		job.Failpoint("fetch")
		if err := disk.Sync(); err != nil {
			// Its pages count as clean now, and a second sync would find no fault.
			return errors.Join(fmt.Errorf("fetch batch %d of source %s: %w", b.ID, src.Name, err), s.RemoveBatch(b))
		}
		job.Failpoint("spool-sync")
		if run.ID != 0 {
			if err := s.env.DB.Count(ctx, run.ID, src.Name, map[string]int64{"fetch_ms": time.Since(began).Milliseconds()}); err != nil {
				return err
			}
		}
	}
	return s.recordFetched(ctx, run, src, b, w, dir, came, names)
}

// fetchFiles fills a batch's directory.
func (s fetcher) fetchFiles(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch, w *batchWork, dir string, names *source.OwnerNames) (*arrival, error) {
	at, err := source.ParseAddress(src.URL)
	if err != nil {
		return nil, err
	}
	side := dir + FetchSuffix
	checksum, err := prepareSpool(dir, side)
	if err != nil {
		return nil, err
	}
	came, runs, err := s.fetchStreams(ctx, src, b, at, w, dir, side, checksum, names)
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if err := s.noteComplaints(ctx, run, src, at, r, came); err != nil {
			return nil, err
		}
	}
	return came, nil
}

// noteComplaints keeps what an rsync said on stderr: by path, or in the run's errors.
func (s fetcher) noteComplaints(ctx context.Context, run catalog.Run, src job.Source, at source.Address, r *source.Result, came *arrival) error {
	came.partial = came.partial || r.Exit == source.ExitPartial || r.Dropped > 0
	came.lacks = came.lacks || r.Exit == source.ExitVanished
	for _, c := range source.Complaints(at, r.Stderr) {
		if c.Path != "" {
			came.about[c.Path] = c.Text
		} else if r.Exit == 0 {
			s.env.Log.Info("fetching says", "source", src.Name, "line", c.Text)
		} else if err := s.env.RunNote(ctx, run.ID, src.Name, "", c.Text); err != nil {
			return err
		}
	}
	return nil
}

// prepareSpool makes a batch's directories. What an earlier attempt left there is kept for rsync to go on from, but it is compared by
// content: nothing was recorded of it, and size and time prove no bytes. A disk may have lost them in a power cut, or altered them.
func prepareSpool(dir, side string) (checksum bool, err error) {
	if err := os.MkdirAll(filepath.Join(side, "partial"), 0o700); err != nil {
		return false, fmt.Errorf("make the spool: %w", err)
	}
	left, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return false, fmt.Errorf("make the spool: %w", err)
	}
	return len(left) > 0, nil
}

// arrival is what rsync said of a fetch.
type arrival struct {
	about   map[string]string // what it could not do, by path
	dirs    map[string]bool   // what it found to be directories
	sizes   map[string]int64  // of the files that it sent, as it saw them before it did
	partial bool              // it could not read something
	lacks   bool              // something had vanished
}

// read takes a line "%i %l %n" and returns the size of a file that came.
func (c *arrival) read(line []byte) (int64, bool) {
	item, rest, _ := bytes.Cut(line, []byte(" "))
	size, name, ok := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	if !ok || len(item) < 2 {
		return 0, false
	}
	if item[1] == 'd' {
		c.dirs[strings.TrimSuffix(string(source.Unescape(name)), "/")] = true
	}
	if item[0] != '>' || item[1] != 'f' {
		return 0, false
	}
	n, err := strconv.ParseInt(string(size), 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	c.sizes[string(source.Unescape(name))] = n
	return n, true
}

// within says whether all the directories of a path were ones at the source too. Where one has
// become a symlink rsync sends what that leads to.
func (c *arrival) within(path string) bool {
	if c == nil {
		return true // read in place, where the tree refuses symlinks
	}
	for dir, _ := localfs.SplitPath(path); dir != ""; dir, _ = localfs.SplitPath(dir) {
		if !c.dirs[dir] {
			return false
		}
	}
	return true
}
