package spool

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// markPieces is how many files one transaction marks as fetched.
const markPieces = 1000

// recordFetched looks at each file of a batch and records what it is.
func (s fetcher) recordFetched(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch, w *batchWork, dir string, came *arrival, names *source.OwnerNames) error {
	t, err := localfs.OpenTree(dir)
	if err != nil {
		return fmt.Errorf("look at batch %d: %w", b.ID, err)
	}
	defer t.Close()
	from := s.env.Heard.Of(src.Name)
	files := make([]catalog.Fetched, len(w.files))
	links := map[linkKey][]int{}
	counts := map[string]int64{}
	total := w.bytes
	for i, it := range w.files {
		var l looked
		from.Call(func() { l = look(t, it, came, names) })
		f, key := l.Fetched, l.key
		files[i] = f
		if err := s.tellOutcome(ctx, run, src, it.path, &l, counts); err != nil {
			return err
		}
		if f.Gone {
			continue
		}
		counts["fetched"]++
		if it.Kind == catalog.File && key == (linkKey{}) {
			from, err := s.movedFrom(ctx, src.Name, t, it.path, f.Size)
			if err != nil {
				return err
			}
			if from != 0 {
				files[i].Same = from
				counts["moved"]++
				counts["moved_bytes"] += f.Size
			}
		}
		if key != (linkKey{}) {
			links[key] = append(links[key], i)
		}
		if it.Kind == catalog.File && len(links[key]) < 2 {
			total += f.Size
			counts["fetched_bytes"] += f.Size
		}
	}
	for _, group := range links {
		for _, i := range group[1:] {
			files[i].Inode = files[group[0]].Version
		}
		from, err := s.movedLinks(ctx, src.Name, t, w, group, files)
		if err != nil {
			return err
		}
		if from != 0 {
			counts["moved"] += int64(len(group))
			counts["moved_bytes"] += files[group[0]].Size
		}
		for _, i := range group {
			files[i].Nlink, files[i].Same = uint32(len(group)), from
		}
	}
	if err := s.completeDirs(ctx, run, t, w.dirs, b.Local, names); err != nil {
		return err
	}
	if w.top != nil {
		if err := s.completeTop(ctx, run, src, b, *w.top, dir, names); err != nil {
			return err
		}
	}
	c, err := s.sameContent(ctx, run, src, b, t, w, files, counts)
	if err != nil {
		return err
	}
	if err := c.settle(ctx, func() error { return s.markFetched(ctx, run, src, b, w, files, total, counts) }); err != nil || run.ID == 0 {
		return err
	}
	return s.env.DB.Count(ctx, run.ID, src.Name, counts)
}

// markFetched records the files of a batch, and that it is there.
func (s fetcher) markFetched(ctx context.Context, run catalog.Run, src job.Source, b catalog.Batch, w *batchWork, files []catalog.Fetched, total int64, counts map[string]int64) error {
	now := time.Now()
	for piece := range slices.Chunk(files, markPieces) {
		if err := s.env.DB.MarkFetched(ctx, run.ID, b.ID, piece, now); err != nil {
			return fmt.Errorf("record what was fetched: %w", err)
		}
		job.Failpoint("mark-fetched")
	}
	s.countDone(src, w, files, counts)
	if err := s.dropEmpty(ctx, w, files); err != nil {
		return err
	}
	same, spared, err := s.dropLinked(ctx, w, files)
	if err != nil {
		return err
	}
	if same > 0 {
		counts["same_content"], counts["same_content_bytes"] = same, spared
	}
	if err := s.env.DB.SetBatchState(ctx, b.ID, catalog.Synced, total); err != nil {
		return fmt.Errorf("record batch %d: %w", b.ID, err)
	}
	return nil
}

// countDone counts what of a batch was archived by what it is to the archive.
func (s fetcher) countDone(src job.Source, w *batchWork, files []catalog.Fetched, counts map[string]int64) {
	for i, f := range files {
		again := s.Former.TakeAgain(src.Name, w.files[i].path)
		if !f.Gone && w.files[i].Kind == catalog.Symlink {
			counts["symlinks"]++ // of those below
		}
		switch {
		case f.Gone:
		case again:
			counts["again"]++
		case f.Replaced:
			counts["changed"]++
		default:
			counts["new"]++
		}
	}
}

// linkKey tells which names are one file. Names in several objects are files of their own:
// each object must give back its members alone.
type linkKey struct {
	object   int64
	dev, ino uint64
}

// completeDirs adds what a listing does not say of directories: nanoseconds and owners' names.
func (s fetcher) completeDirs(ctx context.Context, run catalog.Run, t *localfs.Tree, dirs []wanted, local bool, names *source.OwnerNames) error {
	var found []catalog.DirMeta
	for _, d := range dirs {
		info, err := t.Lstat(d.path)
		if err != nil || !info.IsDir() || !d.Current {
			continue // it went away; the next listing says so
		}
		m := catalog.Meta{Mode: d.Mode, Owner: names.Complete(d.Owner), MTime: d.MTime}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Mtim.Sec == m.MTime.Sec {
			m.MTime.Nsec = int32(st.Mtim.Nsec)
		}
		if m.Owner == d.Owner && m.MTime == d.MTime {
			continue
		}
		found = append(found, catalog.DirMeta{ID: d.ID, Meta: m})
	}
	return s.env.DB.UpdateDirs(ctx, run.ID, found)
}

// dropEmpty drops objects all of whose files are gone. Objects that were planned for the sake
// of a directory stay.
func (s fetcher) dropEmpty(ctx context.Context, w *batchWork, files []catalog.Fetched) error {
	lost, kept := map[int64]bool{}, map[int64]bool{}
	for i, f := range files {
		if f.Gone || f.Same != 0 {
			lost[w.files[i].object] = true
		} else {
			kept[w.files[i].object] = true
		}
	}
	for _, o := range w.objects {
		for _, v := range o.Versions {
			if v.Kind != catalog.Directory && v.State != catalog.Planned {
				kept[o.ID] = true
			}
		}
		if lost[o.ID] && !kept[o.ID] {
			if err := s.env.DB.DropObject(ctx, o.ID); err != nil {
				return fmt.Errorf("drop object %s: %w", o.OID, err)
			}
		}
	}
	return nil
}
