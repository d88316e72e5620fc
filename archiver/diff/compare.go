package diff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// verdict is how an entry of the listing compares with what the catalog shows.
type verdict int

const (
	same         verdict = iota
	metadataOnly         // mode or owner
	doubtful             // size and time say that it is the same, something finer leaves it open: its bytes must tell
	unread               // it could not be read before, and nothing has changed since
	changed
)

const (
	retryUnread = 7 * 24 * time.Hour // a file that could not be read is tried again after that though nothing changed
	// settled is by how much a file's inode must have been older than the run that took it, for that its bytes are still
	// those that were taken: a file server may have another clock.
	settledBefore = ClockSkew
)

func judge(e *source.Entry, v *catalog.Version) verdict {
	switch {
	case e.Kind != v.Kind:
		return changed
	case v.State == catalog.Void && sameInode(e, v) && time.Since(v.Since) < retryUnread:
		return unread
	case v.State != catalog.Present && e.Kind != catalog.Directory, v.Grew:
		return changed // it was not read whole
	case e.Kind == catalog.File && e.Size != v.Size:
		return changed
	case e.Kind == catalog.Symlink && e.Target != v.Target && (e.Target != "" || e.Link == ""):
		return changed
	case e.Mtime != v.MTime.Sec:
		return changed
	case e.Kind == catalog.File && e.Exact && e.Nsec != v.MTime.Nsec && v.MTime.Nsec != 0:
		return changed
	case e.Kind == catalog.File && e.Exact && e.Nsec != v.MTime.Nsec: // a spool or an rsync of that time may not have told
		return doubtful
	case e.Kind == catalog.File && !InodeKept(e, v):
		return doubtful
	case e.Uid != v.Owner.UID || e.Gid != v.Owner.GID:
		return metadataOnly
	case e.Mode != v.Mode && e.Kind != catalog.Symlink: // a symlink's mode means nothing
		return metadataOnly
	}
	return same
}

// sameInode reports whether size, time and inode are all known to be those of a version.
func sameInode(e *source.Entry, v *catalog.Version) bool {
	return e.Kind == catalog.File && e.Exact && e.Size == v.Size && (catalog.Time{Sec: e.Mtime, Nsec: e.Nsec}) == v.MTime &&
		e.Ino != 0 && e.Ino == v.Ino && e.Ctime.Equal(v.CTime)
}

// InodeKept reports whether nothing that a file system tells beside size and time speaks against an unchanged file.
func InodeKept(e *source.Entry, v *catalog.Version) bool {
	switch {
	case e.Ctime.IsZero(), e.Size == 0:
		return true
	case v.Batch != 0 && len(v.SHA256) == 0:
		return true // its bytes are still to be read, whatever they are by then
	case v.CTime.IsZero():
		return e.Ctime.Add(settledBefore).Before(v.Since)
	}
	return e.Ino == v.Ino && e.Ctime.Equal(v.CTime)
}

// Planner takes what is to be archived. Calls come in the order of paths, but for what is compared by content or may be an archived file
// under another name: that comes last.
type Planner interface {
	// Add plans one file, symlink or, with Existing set, directory entry. target is the length of a symlink's target, bytes.
	Add(ctx context.Context, m Member, target int) error
	// Seen tells where a directory is. id and parent may be stand-ins of the Book.
	Seen(id, parent catalog.ID, path string)
}

// Member is a file, symlink or directory that is to be archived.
type Member struct {
	catalog.NewVersion
	Path  string // below the source's top
	Link  string // the first name of its group, for a further hard link
	First bool   // others are hard links to it
}

// Input says what is compared.
type Input struct {
	Run      int64 // 0 in a dry run
	Src      job.Source
	At       source.Address
	Top      catalog.ID     // of the source; 0 in a dry run of one that the catalog does not know
	Tree     *localfs.Tree  // of a source on this machine; nil for others
	Work     string         // folder for sorted files
	Listed   time.Time      // when the listing began
	Share    int            // of the memory for sorting: one part in so many
	Dry      bool           // nothing is recorded
	Pending  bool           // batches of earlier runs are being fetched: look before planning a file
	Again    bool           // the source was listed before: new names may be those of old files
	Accept   bool           // however much the listing lacks has vanished
	Checksum bool           // compare all unchanged files by content
	Ruined   map[int64]bool // objects whose bytes are gone: what the source still has of them is taken again
	Former   *Former        // gets what is known of files that are planned
}

// comparison joins a listing with the catalog and hands what is to be archived to a planner.
type comparison struct {
	env     *job.Env
	in      Input
	plan    Planner
	book    *Book
	stats   *source.Stats
	from    *job.Hearing
	whole   bool // the listing is complete: what it lacks has vanished
	dirs    []OpenDir
	known   int64              // files and symlinks that the catalog shows and that had not vanished
	owners  *source.OwnerNames // of a source on this machine; nil: only the catalog knows names
	gone    *extsort.Sorter    // what the listing lacks, by id
	doubts  *extsort.Sorter    // files whose bytes must tell whether they changed, by path
	renames renames
	marks   marks
}

// marks are what is to be recorded of files that are not planned, many in one transaction.
type marks struct {
	back   []catalog.ID          // that counted as vanished and are there
	metas  []catalog.FileMeta    // mode or owner changed
	states []catalog.SourceState // of doubtful files that did not change
}

// renames are what tells a new name of an old file from a new file.
type renames struct {
	missed map[moveKey][]catalog.ID // files that the listing lacks or has something else for
	misses int                      // in missed
	most   int                      // of them, for the memory's sake
	sought bool                     // a source that was listed before, and not in a dry run
	kept   *extsort.Sorter          // unchanged files that are further hard-linked names, by the first name: that may be new
	news   *extsort.Sorter          // new and changed files, by path
}

// Run holds a listing against what the catalog shows, records what changed but needs no bytes, counts all in stats, and hands the rest
// to the planner. Nothing is marked as vanished unless stats say that the listing is whole.
func Run(ctx context.Context, env *job.Env, in Input, stats *source.Stats, plan Planner, book *Book, l *source.Listed, w *walker) error {
	sorted := func(limit int) *extsort.Sorter {
		return &extsort.Sorter{Dir: in.Work, Limit: limit / max(1, in.Share)}
	}
	c := &comparison{env: env, in: in, plan: plan, book: book, stats: stats, from: env.Heard.Of(in.Src.Name), whole: !stats.Partial,
		gone: sorted(extsort.Memory), doubts: sorted(8 << 20), renames: renames{most: maxMoved / max(1, in.Share), sought: in.Again && !in.Dry, kept: sorted(8 << 20), news: sorted(extsort.Memory)}}
	if in.At.Transport == source.InPlace {
		c.owners = source.NewOwnerNames(true)
	}
	defer func() { // what filters leave out is sorted anew
		for _, s := range []*extsort.Sorter{c.gone, c.doubts, c.renames.kept, c.renames.news} {
			s.Close()
		}
	}()
	return c.join(ctx, l, w)
}

// OpenDir is a directory of the listing that the current entry may be in.
type OpenDir struct {
	Path string
	ID   catalog.ID // 0 in a dry run, when it is new
}

func (c *comparison) join(ctx context.Context, l *source.Listed, w *walker) error {
	if err := w.Advance(); err != nil {
		return err
	}
	if l.Ok && l.Head.Path == "" {
		if err := c.topEntry(ctx, &l.Head); err != nil {
			return err
		}
		if err := l.Advance(); err != nil {
			return err
		}
	}
	c.dirs = []OpenDir{{"", c.in.Top}}
	for l.Ok || w.OK {
		if err := ctx.Err(); err != nil {
			return err
		}
		order := 0
		switch {
		case !w.OK:
			order = -1
		case !l.Ok:
			order = 1
		default:
			order = bytes.Compare(source.PathKey(l.Head.Path), w.Key)
		}
		if order >= 0 && w.Head.Vanished.IsZero() && w.Head.Kind != catalog.Directory {
			c.known++
		}
		if order > 0 {
			if err := c.missing(&w.Head, w.Path); err != nil {
				return err
			}
			if err := w.Advance(); err != nil {
				return err
			}
			continue
		}
		e := l.Head
		var v *catalog.Version
		if order == 0 {
			known := w.Head
			v = &known
		}
		if err := l.Advance(); err != nil {
			return err
		}
		empty := e.Kind == catalog.Directory && !(l.Ok && strings.HasPrefix(l.Head.Path, e.Path+"/"))
		if err := c.entry(ctx, &e, v, empty); err != nil {
			return err
		}
		if order == 0 {
			if err := w.Advance(); err != nil {
				return err
			}
		}
	}
	if err := c.revive(ctx); err != nil {
		return err
	}
	if err := c.settleDoubts(ctx); err != nil {
		return err
	}
	if err := c.updateMeta(ctx); err != nil {
		return err
	}
	if err := c.planNews(ctx); err != nil {
		return err
	}
	return c.vanish(ctx)
}

// topEntry brings the source's own directory up to date.
func (c *comparison) topEntry(ctx context.Context, e *source.Entry) error {
	if c.in.Dry {
		return nil
	}
	v, err := c.env.DB.Get(ctx, c.in.Top)
	if err != nil {
		return fmt.Errorf("source %s: %w", c.in.Src.Name, err)
	}
	if judge(e, &v) == same {
		return nil
	}
	_, err = c.env.DB.EnsureDir(ctx, c.in.Run, catalog.Root, c.in.Src.Name, dirMeta(e, &v))
	return err
}

// dirMeta is a listed directory's metadata; the names of its owner stay when the numbers do,
// and so do the nanoseconds when the second does.
func dirMeta(e *source.Entry, v *catalog.Version) catalog.Meta {
	m := EntryMeta(e)
	if v != nil && v.Kind == catalog.Directory {
		m.Owner = keepNames(m.Owner, v.Owner)
		if v.MTime.Sec == m.MTime.Sec {
			m.MTime = v.MTime
		}
	}
	return m
}

func EntryMeta(e *source.Entry) catalog.Meta {
	return catalog.Meta{Mode: e.Mode, Owner: catalog.Owner{UID: e.Uid, GID: e.Gid}, MTime: catalog.Time{Sec: e.Mtime, Nsec: e.Nsec}}
}

// entry handles one path of the listing; v is what the catalog shows there, or nil.
func (c *comparison) entry(ctx context.Context, e *source.Entry, v *catalog.Version, empty bool) error {
	for len(c.dirs) > 1 && !strings.HasPrefix(e.Path, c.dirs[len(c.dirs)-1].Path+"/") {
		c.dirs = c.dirs[:len(c.dirs)-1]
	}
	parent := c.dirs[len(c.dirs)-1]
	dir, name := "", e.Path
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
		dir, name = e.Path[:i], e.Path[i+1:]
	}
	if dir != parent.Path {
		// rsync lists the directories of what it lists.
		c.stats.Errors++
		c.stats.Partial = true
		c.whole = false
		return c.env.RunError(ctx, c.in.Run, c.in.Src.Name, e.Path, "listed without its directory")
	}
	if v != nil && !v.Vanished.IsZero() && v.Kind == e.Kind && (e.Kind == catalog.Directory || judge(e, v) != changed) {
		if err := c.revived(ctx, v.ID); err != nil {
			return err
		}
	}
	if e.Kind == catalog.Directory {
		return c.directory(ctx, e, v, parent.ID, name, empty)
	}
	ruined := false
	if v != nil {
		if c.in.Tree != nil && e.Kind == catalog.File {
			c.from.Call(func() { e.LookInPlace(c.in.Tree) })
		}
		found := judge(e, v)
		if c.in.Checksum && (found == same || found == metadataOnly) && e.Kind == catalog.File && e.Size > 0 {
			found = doubtful
		}
		if found != changed && found != unread {
			var err error
			if ruined, err = c.isRuined(ctx, v); err != nil {
				return err
			}
		}
		switch {
		case ruined:
		case found == same:
			c.stats.Same++
			return c.renames.stays(e, v)
		case found == doubtful:
			return c.doubt(e, v.ID)
		case found == unread:
			c.stats.Unreadable++
			return c.env.RunError(ctx, c.in.Run, c.in.Src.Name, e.Path, "it could not be read when it was archived, and nothing has changed since: it is tried again when it does, or after a week")
		case found == metadataOnly:
			if err := c.renames.stays(e, v); err != nil {
				return err
			}
			return c.changedMeta(ctx, e, v)
		}
	}
	if parent := c.book.ID(parent.ID); c.in.Pending && parent > 0 {
		// A batch of an earlier run may have it planned, or may just have brought it in.
		planned, err := c.env.DB.PlannedAt(ctx, parent, name)
		if err != nil {
			return err
		}
		if planned {
			c.stats.Waiting++
			return nil
		}
		now, err := c.env.DB.Lookup(ctx, parent, name)
		if err == nil && judge(e, &now) != changed && !(ruined && now.ID == v.ID) {
			c.stats.Same++
			return nil
		}
		if err != nil && !errors.Is(err, catalog.ErrNotFound) {
			return err
		}
	}
	if c.young(e) {
		c.stats.Young++
		return nil
	}
	switch {
	case v == nil:
		c.stats.New++
	case ruined:
		c.stats.Again++
		if !c.in.Dry {
			c.in.Former.setAgain(c.in.Src.Name, e.Path)
		}
	default:
		c.stats.Changed++
		c.renames.lost(v) // its bytes may be there under another name now
	}
	if later, err := c.later(e, parent.ID); later || err != nil {
		return err
	}
	return c.plan.Add(ctx, Member{
		Path: e.Path, Link: e.Link, First: e.First,
		NewVersion: catalog.NewVersion{Parent: parent.ID, Name: name, Kind: e.Kind, Size: e.Size, Meta: EntryMeta(e)},
	}, len(e.Target))
}

// isRuined reports whether the object that an unchanged file or symlink lies in is gone from the archive. Also what has no
// bytes, a symlink or an empty file, is on tape only as a member of an object.
func (c *comparison) isRuined(ctx context.Context, v *catalog.Version) (bool, error) {
	if len(c.in.Ruined) == 0 {
		return false, nil
	}
	object, _, err := c.env.DB.BytesAt(ctx, v.Data)
	return c.in.Ruined[object], err
}

// young says whether a file was modified so recently that it may still be being uploaded. A time far
// in the future says nothing: such a file would never be taken.
func (c *comparison) young(e *source.Entry) bool {
	age := c.in.Listed.Sub(time.Unix(e.Mtime, 0))
	return age < c.in.Src.MinAge && age > -c.in.Src.MinAge
}

func (c *comparison) directory(ctx context.Context, e *source.Entry, v *catalog.Version, parent catalog.ID, name string, empty bool) error {
	d := OpenDir{Path: e.Path}
	isDir := v != nil && v.Kind == catalog.Directory
	if isDir {
		d.ID = v.ID
	}
	if !c.in.Dry && (!isDir || judge(e, v) != same) {
		id, err := c.book.ensure(ctx, d.ID, parent, name, dirMeta(e, v))
		if err != nil {
			return fmt.Errorf("record directory %q: %w", e.Path, err)
		}
		d.ID = id
	}
	c.dirs = append(c.dirs, d)
	if c.in.Dry {
		return nil
	}
	c.plan.Seen(d.ID, parent, e.Path)
	if !empty {
		return nil // the objects of what is in it carry it
	}
	if id := c.book.ID(d.ID); id > 0 {
		stored, err := c.env.DB.HasMember(ctx, id)
		if err != nil || stored {
			return err
		}
	}
	return c.plan.Add(ctx, Member{Path: e.Path, NewVersion: catalog.NewVersion{Existing: d.ID}}, 0)
}

// ClockSkew is how wrong a source's clock may be without that a change can hide in the second of a listing.
const ClockSkew = 24 * time.Hour
