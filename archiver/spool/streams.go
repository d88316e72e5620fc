package spool

import (
	"bytes"
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// fileCost is what a file costs beside its bytes when work is shared out, bytes: about what a
// connection carries in the time that one small file takes (50,000 of 4 KiB in 11 s at 200 MB/s).
const fileCost = 32 << 10

// stream is what one of the rsyncs of a batch brings.
type stream struct {
	dirs, files []wanted
	cost        int64
}

// linkGuess is equal for all names of one inode. Files that are none may share it.
type linkGuess struct {
	object, size int64
	mtime        catalog.Time
	mode         uint32
	owner        catalog.Owner
}

// share splits a batch's files into at most n streams of about the same cost. Files that may be names of one
// inode go together, for rsync sees hard links only within its own list. Each stream has the
// directories of its files, and the first also those that hold none.
func share(dirs, files []wanted, n int) []stream {
	type group struct {
		at   int // index of its first file
		all  []int
		cost int64
	}
	var groups []*group
	by := map[linkGuess]*group{}
	for i, it := range files {
		key := linkGuess{it.object, it.Size, it.MTime, it.Mode, it.Owner}
		g := by[key]
		if it.Kind != catalog.File || g == nil {
			g = &group{at: i, cost: it.Size}
			groups = append(groups, g)
			if it.Kind == catalog.File {
				by[key] = g
			}
		}
		g.all = append(g.all, i)
		g.cost += fileCost
	}
	n = max(1, min(n, len(groups)))
	streams := make([]stream, n)
	// The dearest first, each to the stream that has least; ties by place, so that an attempt that
	// goes on shares out as the one before did and finds its partial files.
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Or(cmp.Compare(b.cost, a.cost), cmp.Compare(a.at, b.at)) })
	mine := make([][]int, n)
	for _, g := range groups {
		least := 0
		for i := range streams {
			if streams[i].cost < streams[least].cost {
				least = i
			}
		}
		streams[least].cost += g.cost
		mine[least] = append(mine[least], g.all...)
	}
	used := map[string]bool{}
	for i := range streams {
		slices.Sort(mine[i]) // in the order of the source
		within := map[string]bool{}
		for _, j := range mine[i] {
			streams[i].files = append(streams[i].files, files[j])
			for dir, _ := localfs.SplitPath(files[j].path); dir != "" && !within[dir]; dir, _ = localfs.SplitPath(dir) {
				within[dir], used[dir] = true, true
			}
		}
		for _, d := range dirs {
			if within[d.path] {
				streams[i].dirs = append(streams[i].dirs, d)
			}
		}
	}
	for _, d := range dirs {
		if !used[d.path] {
			streams[0].dirs = append(streams[0].dirs, d)
		}
	}
	return streams
}

// fetchStreams runs the rsyncs that fill a batch's directory, each with its share of the files.
func (ft fetcher) fetchStreams(ctx context.Context, src job.Source, b catalog.Batch, at source.Address, w *batchWork, dir, side string, checksum bool, names *source.OwnerNames) (*arrival, []*source.Result, error) {
	operand, prefix := at.Fetched()
	came := &arrival{about: map[string]string{}, dirs: map[string]bool{"": true}, sizes: map[string]int64{}}
	if len(w.dirs)+len(w.files) == 0 {
		return came, nil, nil
	}
	cut, err := w.cutOff(dir)
	if err != nil {
		return nil, nil, err
	}
	if checksum { // the far side reads all that is there before it says anything
		src.StallTimeout = source.StallOf(src) + time.Duration(b.Bytes/source.SlowRead)*time.Second
	}
	streams := share(w.dirs, w.files, max(1, src.Streams))
	var mu sync.Mutex // guards came, names and done
	var done int64
	defer func() { ft.env.Flow.Arriving.Add(-done) }()
	runs := make([]*source.Result, len(streams))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range streams {
		partial := filepath.Join(side, "partial")
		if i > 0 {
			partial += strconv.Itoa(i) // partial files are named by the last part of their paths alone
		}
		args := func(secluded bool) []string {
			// As another user owners cannot be set and files that nobody may read could not be read
			// back; owners and modes are recorded from the listing. The names of owners come in
			// debug lines. Directories are sent for their times, and so that rsync says what they are:
			// without -r it does not look into them. With times compared to the nanosecond those of
			// what was made just now are set too.
			args := []string{"-lptgoH", "--no-super", "--chmod=Du+rwx,Fu+rw", "--modify-window=-1", "--no-implied-dirs",
				"--debug=OWN2", "-ii", "--out-format=%i %l %n", "--partial-dir=" + partial, "--from0", "--files-from=-"}
			if checksum {
				args = append(args, "--checksum")
			}
			if src.Bandwidth > 0 {
				args = append(args, "--bwlimit="+source.Bandwidth(src.Bandwidth, len(streams)))
			}
			args = append(args, at.RemoteOptions(src, ft.env.Config.SSH, secluded)...)
			return append(args, "--", operand, dir+"/")
		}
		var list bytes.Buffer
		for _, it := range slices.Concat(s.dirs, s.files) {
			list.WriteString(prefix + it.path + "\x00")
		}
		g.Go(func() error {
			if err := adopt(s.files, cut, partial); err != nil {
				return err
			}
			r, err := source.Reach(ctx, ft.env, src, at, args, list.Bytes(), func(line []byte) error {
				mu.Lock()
				defer mu.Unlock()
				if names.Read(line) {
					return nil
				}
				if size, ok := came.read(line); ok {
					here := ft.env.Flow.Fetched.Load() + ft.env.Flow.Arriving.Add(size)
					done += size
					ft.env.Stage("fetch", here, max(ft.env.Flow.Planned.Load(), here))
				}
				return nil
			})
			if err != nil {
				return err
			}
			if r.Exit != 0 && !r.Partial() {
				return r.Err()
			}
			runs[i] = r
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	return came, runs, nil
}
