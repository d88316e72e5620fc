package archiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tapefs/archiver/extsort"
	"tapefs/archiver/job"
	"tapefs/archiver/localfs"
	"tapefs/catalog"
)

// listed streams a sorted listing with one entry of foresight. The marks of names that
// others are hard links to have become entry.first.
type listed struct {
	s    *extsort.Sorter
	tree *localfs.Tree // of a source on this machine; nil for others
	key  []byte        // of the record taken from s last
	val  []byte
	more bool
	head listEntry
	ok   bool
}

func newListed(s *extsort.Sorter, t *localfs.Tree) (*listed, error) {
	l := &listed{s: s, tree: t}
	if err := l.pull(); err != nil {
		return nil, err
	}
	return l, l.advance()
}

func (l *listed) pull() error {
	k, v, ok, err := l.s.Next()
	l.key, l.val, l.more = append(l.key[:0], k...), append(l.val[:0], v...), ok
	return err
}

// advance puts the next entry into head.
func (l *listed) advance() error {
	for l.more {
		key := string(l.key)
		e, found := listEntry{}, false
		first := false
		var times []byte
		for l.more && string(l.key) == key {
			if bytes.Equal(l.val, mark) {
				first = true
			} else if l.val[0] == timesMark {
				times = bytes.Clone(l.val)
			} else if !found {
				e, found = decodeEntry(l.key, l.val), true
			}
			if err := l.pull(); err != nil {
				return err
			}
		}
		if found {
			e.first = first
			if times != nil {
				e.refine(times)
			}
			e.askTime(l.tree)
			l.head, l.ok = e, true
			return nil
		}
	}
	l.ok = false
	return nil
}

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
	settledBefore = clockSkew
)

func judge(e *listEntry, v *catalog.Version) verdict {
	switch {
	case e.kind != v.Kind:
		return changed
	case v.State == catalog.Void && sameInode(e, v) && time.Since(v.Since) < retryUnread:
		return unread
	case v.State != catalog.Present && e.kind != catalog.Directory, v.Grew:
		return changed // it was not read whole
	case e.kind == catalog.File && e.size != v.Size:
		return changed
	case e.kind == catalog.Symlink && e.target != v.Target && (e.target != "" || e.link == ""):
		return changed
	case e.mtime != v.MTime.Sec:
		return changed
	case e.kind == catalog.File && e.exact && e.nsec != v.MTime.Nsec && v.MTime.Nsec != 0:
		return changed
	case e.kind == catalog.File && e.exact && e.nsec != v.MTime.Nsec: // a spool or an rsync of that time may not have told
		return doubtful
	case e.kind == catalog.File && !inodeKept(e, v):
		return doubtful
	case e.uid != v.Owner.UID || e.gid != v.Owner.GID:
		return metadataOnly
	case e.mode != v.Mode && e.kind != catalog.Symlink: // a symlink's mode means nothing
		return metadataOnly
	}
	return same
}

// sameInode reports whether size, time and inode are all known to be those of a version.
func sameInode(e *listEntry, v *catalog.Version) bool {
	return e.kind == catalog.File && e.exact && e.size == v.Size && (catalog.Time{Sec: e.mtime, Nsec: e.nsec}) == v.MTime &&
		e.ino != 0 && e.ino == v.Ino && e.ctime.Equal(v.CTime)
}

// inodeKept reports whether nothing that a file system tells beside size and time speaks against an unchanged file.
func inodeKept(e *listEntry, v *catalog.Version) bool {
	switch {
	case e.ctime.IsZero(), e.size == 0:
		return true
	case v.Batch != 0 && len(v.SHA256) == 0:
		return true // its bytes are still to be read, whatever they are by then
	case v.CTime.IsZero():
		return e.ctime.Add(settledBefore).Before(v.Since)
	}
	return e.ino == v.Ino && e.ctime.Equal(v.CTime)
}

// comparison joins a listing with the catalog and hands what is to be archived to a planner.
type comparison struct {
	a       *Archiver
	db      *catalog.DB
	run     int64
	source  string
	top     catalog.ID // 0 in a dry run of a source that the catalog does not know
	whole   bool       // the listing is complete: what it lacks has vanished
	dry     bool
	pending bool // batches of earlier runs are being fetched: look before planning a file
	plan    *planner
	minAge  time.Duration
	listed  time.Time // when the listing began
	stats   *listStats
	dirs    []openDir
	known   int64           // files and symlinks that the catalog shows and that had not vanished
	gone    *extsort.Sorter // what the listing lacks, by id
	back    []catalog.ID
	accept  bool // however much the listing lacks has vanished
	metas   []catalog.FileMeta
	again   bool                     // the source was listed before: new names may be those of old files
	missed  map[moveKey][]catalog.ID // files that the listing lacks or has something else for
	misses  int                      // in missed
	kept    *extsort.Sorter          // unchanged files that are further hard-linked names, by the first name: that may be new
	news    *extsort.Sorter          // new and changed files, by path
	share   int                      // of the memory: one part in so many
	src     Source
	at      address
	from    *job.Hearing
	tree    *localfs.Tree         // of a source on this machine
	bytes   bool                  // compare all unchanged files by content
	doubts  *extsort.Sorter       // files whose bytes must tell whether they changed, by path
	states  []catalog.SourceState // of those that did not
	names   *ownerNames           // of a source on this machine; nil: only the catalog knows names
	ruined  map[int64]bool        // objects whose bytes are gone: what the source still has of them is taken again
}

// openDir is a directory of the listing that the current entry may be in.
type openDir struct {
	path string
	id   catalog.ID // 0 in a dry run, when it is new
}

func (c *comparison) join(ctx context.Context, l *listed, w *walker) error {
	if err := w.advance(); err != nil {
		return err
	}
	if l.ok && l.head.path == "" {
		if err := c.topEntry(ctx, &l.head); err != nil {
			return err
		}
		if err := l.advance(); err != nil {
			return err
		}
	}
	c.dirs = []openDir{{"", c.top}}
	for l.ok || w.ok {
		if err := ctx.Err(); err != nil {
			return err
		}
		order := 0
		switch {
		case !w.ok:
			order = -1
		case !l.ok:
			order = 1
		default:
			order = bytes.Compare(pathKey(l.head.path), w.key)
		}
		if order >= 0 && w.head.Vanished.IsZero() && w.head.Kind != catalog.Directory {
			c.known++
		}
		if order > 0 {
			if err := c.missing(&w.head, w.path); err != nil {
				return err
			}
			if err := w.advance(); err != nil {
				return err
			}
			continue
		}
		e := l.head
		var v *catalog.Version
		if order == 0 {
			known := w.head
			v = &known
		}
		if err := l.advance(); err != nil {
			return err
		}
		empty := e.kind == catalog.Directory && !(l.ok && strings.HasPrefix(l.head.path, e.path+"/"))
		if err := c.entry(ctx, &e, v, empty); err != nil {
			return err
		}
		if order == 0 {
			if err := w.advance(); err != nil {
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
func (c *comparison) topEntry(ctx context.Context, e *listEntry) error {
	if c.dry {
		return nil
	}
	v, err := c.db.Get(ctx, c.top)
	if err != nil {
		return fmt.Errorf("source %s: %w", c.source, err)
	}
	if judge(e, &v) == same {
		return nil
	}
	_, err = c.db.EnsureDir(ctx, c.run, catalog.Root, c.source, dirMeta(e, &v))
	return err
}

// dirMeta is a listed directory's metadata; the names of its owner stay when the numbers do,
// and so do the nanoseconds when the second does.
func dirMeta(e *listEntry, v *catalog.Version) catalog.Meta {
	m := entryMeta(e)
	if v != nil && v.Kind == catalog.Directory {
		m.Owner = keepNames(m.Owner, v.Owner)
		if v.MTime.Sec == m.MTime.Sec {
			m.MTime = v.MTime
		}
	}
	return m
}

func entryMeta(e *listEntry) catalog.Meta {
	return catalog.Meta{Mode: e.mode, Owner: catalog.Owner{UID: e.uid, GID: e.gid}, MTime: catalog.Time{Sec: e.mtime, Nsec: e.nsec}}
}

// entry handles one path of the listing; v is what the catalog shows there, or nil.
func (c *comparison) entry(ctx context.Context, e *listEntry, v *catalog.Version, empty bool) error {
	for len(c.dirs) > 1 && !strings.HasPrefix(e.path, c.dirs[len(c.dirs)-1].path+"/") {
		c.dirs = c.dirs[:len(c.dirs)-1]
	}
	parent := c.dirs[len(c.dirs)-1]
	dir, name := "", e.path
	if i := strings.LastIndexByte(e.path, '/'); i >= 0 {
		dir, name = e.path[:i], e.path[i+1:]
	}
	if dir != parent.path {
		// rsync lists the directories of what it lists.
		c.stats.Errors++
		c.stats.Partial = true
		c.whole = false
		return c.a.env.RunError(ctx, c.run, c.source, e.path, "listed without its directory")
	}
	if v != nil && !v.Vanished.IsZero() && v.Kind == e.kind && (e.kind == catalog.Directory || judge(e, v) != changed) {
		if err := c.revived(ctx, v.ID); err != nil {
			return err
		}
	}
	if e.kind == catalog.Directory {
		return c.directory(ctx, e, v, parent.id, name, empty)
	}
	ruined := false
	if v != nil {
		if c.tree != nil && e.kind == catalog.File {
			c.from.Call(func() { e.lookInPlace(c.tree) })
		}
		found := judge(e, v)
		if c.bytes && (found == same || found == metadataOnly) && e.kind == catalog.File && e.size > 0 {
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
			return c.stays(e, v)
		case found == doubtful:
			return c.doubt(e, v.ID)
		case found == unread:
			c.stats.Unreadable++
			return c.a.env.RunError(ctx, c.run, c.source, e.path, "it could not be read when it was archived, and nothing has changed since: it is tried again when it does, or after a week")
		case found == metadataOnly:
			if err := c.stays(e, v); err != nil {
				return err
			}
			return c.changedMeta(ctx, e, v)
		}
	}
	if parent := c.plan.book.id(parent.id); c.pending && parent > 0 {
		// A batch of an earlier run may have it planned, or may just have brought it in.
		planned, err := c.db.PlannedAt(ctx, parent, name)
		if err != nil {
			return err
		}
		if planned {
			c.stats.Waiting++
			return nil
		}
		now, err := c.db.Lookup(ctx, parent, name)
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
		if !c.dry {
			c.a.again.Store(movedName(c.source, e.path), true)
		}
	default:
		c.stats.Changed++
		c.lost(v) // its bytes may be there under another name now
	}
	if later, err := c.later(e, parent.id); later || err != nil {
		return err
	}
	return c.plan.add(ctx, member{
		path: e.path, link: e.link, first: e.first,
		NewVersion: catalog.NewVersion{Parent: parent.id, Name: name, Kind: e.kind, Size: e.size, Meta: entryMeta(e)},
	}, len(e.target))
}

// isRuined reports whether the object that an unchanged file or symlink lies in is gone from the archive. Also what has no
// bytes, a symlink or an empty file, is on tape only as a member of an object.
func (c *comparison) isRuined(ctx context.Context, v *catalog.Version) (bool, error) {
	if len(c.ruined) == 0 {
		return false, nil
	}
	object, _, err := c.db.BytesAt(ctx, v.Data)
	return c.ruined[object], err
}

// young says whether a file was modified so recently that it may still be being uploaded. A time far
// in the future says nothing: such a file would never be taken.
func (c *comparison) young(e *listEntry) bool {
	age := c.listed.Sub(time.Unix(e.mtime, 0))
	return age < c.minAge && age > -c.minAge
}

func (c *comparison) directory(ctx context.Context, e *listEntry, v *catalog.Version, parent catalog.ID, name string, empty bool) error {
	d := openDir{path: e.path}
	isDir := v != nil && v.Kind == catalog.Directory
	if isDir {
		d.id = v.ID
	}
	if !c.dry && (!isDir || judge(e, v) != same) {
		id, err := c.plan.book.ensure(ctx, d.id, parent, name, dirMeta(e, v))
		if err != nil {
			return fmt.Errorf("record directory %q: %w", e.path, err)
		}
		d.id = id
	}
	c.dirs = append(c.dirs, d)
	if c.dry {
		return nil
	}
	c.plan.seen(d.id, parent, e.path)
	if !empty {
		return nil // the objects of what is in it carry it
	}
	if id := c.plan.book.id(d.id); id > 0 {
		stored, err := c.db.HasMember(ctx, id)
		if err != nil || stored {
			return err
		}
	}
	return c.plan.add(ctx, member{path: e.path, NewVersion: catalog.NewVersion{Existing: d.id}}, 0)
}
