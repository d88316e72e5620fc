package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tapefs/archiver/localfs"
	"tapefs/archiver/pack"
	"tapefs/catalog"
)

const (
	checkFiles = 1000    // one rsync brings at most so many files to be compared by content
	checkBytes = 1 << 30 // or so many bytes, but one file in any case
)

// content is how a file at the source compares with a version by its bytes.
type content int

const (
	contentUnknown content = iota // it could not be read, or nobody knows the version's sum
	contentEqual
	contentDiffers
)

// suspicion is a file whose size and time are a version's, or nearly, and whose bytes must tell.
type suspicion struct {
	listEntry
	version catalog.ID
	sum     []byte // SHA-256 of the version's content
	found   content
	why     string // it is unknown
}

// contentCheck reads files at a source, where it is read in place, or brings them into a folder that is emptied again.
// Nothing is recorded.
type contentCheck struct {
	a    *Archiver
	src  Source
	at   address
	tree *localfs.Tree // of a source that is read in place
	work string        // a folder in the spool
}

// sumOf is the SHA-256 of a version's content, nil when nobody knows it.
func (a *Archiver) sumOf(ctx context.Context, v *catalog.Version) ([]byte, error) {
	if len(v.SHA256) > 0 || v.Data == v.ID {
		return v.SHA256, nil
	}
	first, err := a.env.DB.Get(ctx, v.Data)
	if err != nil {
		return nil, fmt.Errorf("look for the content of version %d: %w", v.ID, err)
	}
	return first.SHA256, nil
}

// run compares files page by page and calls fn for each, in order.
func (c *contentCheck) run(ctx context.Context, files []suspicion, fn func(*suspicion) error) error {
	for len(files) > 0 {
		n, size := 0, int64(0)
		for n < len(files) && n < checkFiles && (n == 0 || size+files[n].size <= checkBytes) {
			size += files[n].size
			n++
		}
		if err := c.page(ctx, files[:n], size); err != nil {
			return err
		}
		for i := range files[:n] {
			if err := fn(&files[i]); err != nil {
				return err
			}
		}
		files = files[n:]
	}
	return nil
}

func (c *contentCheck) page(ctx context.Context, files []suspicion, size int64) (err error) {
	var readable []*suspicion
	for i := range files {
		s := &files[i]
		s.found, s.why = contentUnknown, ""
		if len(s.sum) != sha256.Size {
			s.why = "its content is not summed in the archive"
			continue
		}
		readable = append(readable, s)
	}
	if len(readable) == 0 {
		return nil
	}
	c.a.env.Activity.Set(fmt.Sprintf("comparing %s by content", readable[0].path))
	from := c.tree
	if from == nil {
		dir := filepath.Join(c.work, "content")
		if err := os.Mkdir(dir, 0o700); err != nil {
			return fmt.Errorf("compare by content: %w", err)
		}
		defer localfs.RemoveAll(dir, &err)
		var room unix.Statfs_t
		if err := unix.Statfs(dir, &room); err != nil {
			return fmt.Errorf("compare by content: %w", err)
		}
		if size > int64(room.Bavail)*room.Bsize-int64(room.Blocks)/20*room.Bsize {
			for _, s := range readable {
				s.why = "the spool has no room to compare its content"
			}
			return nil
		}
		if err := c.bring(ctx, readable, dir); err != nil {
			return err
		}
		if from, err = localfs.OpenTree(dir); err != nil {
			return fmt.Errorf("compare by content: %w", err)
		}
		defer from.Close()
	}
	for _, s := range readable {
		if err := c.compare(ctx, from, s); err != nil {
			return err
		}
	}
	return nil
}

// bring copies files into a folder. What does not come stays unknown.
func (c *contentCheck) bring(ctx context.Context, files []*suspicion, dir string) error {
	operand, prefix := c.at.fetched()
	var list bytes.Buffer
	for _, s := range files {
		list.WriteString(prefix + s.path + "\x00")
	}
	args := func(secluded bool) []string {
		args := []string{"-t", "--whole-file", "--no-implied-dirs", "--from0", "--files-from=-"}
		if c.src.Bandwidth > 0 {
			args = append(args, "--bwlimit="+bandwidthOf(c.src.Bandwidth, 1))
		}
		args = append(args, c.at.remoteOptions(c.src, c.a.env.Config.SSH, secluded)...)
		return append(args, "--", operand, dir+"/")
	}
	r, err := c.a.rsyncReach(ctx, c.src, c.at, args, list.Bytes(), func([]byte) error { return nil })
	if err != nil {
		return fmt.Errorf("compare by content: %w", err)
	}
	if r.exit != 0 && !r.partial() {
		return fmt.Errorf("compare by content: %w", r.err())
	}
	return nil
}

// compare sums one file.
func (c *contentCheck) compare(ctx context.Context, from *localfs.Tree, s *suspicion) error {
	in, err := from.OpenFile(s.path)
	if err != nil {
		s.why = "it could not be read: " + shortError(err)
		return nil
	}
	before, err := pack.StateOf(in)
	if err != nil || before.Size != s.size {
		in.Close()
		s.why = "it changes"
		return nil
	}
	sum, err := sumFile(ctx, in, before.Size, catalog.Time{Sec: before.Mtime.Sec, Nsec: int32(before.Mtime.Nsec)}, map[string]int64{}, io.Discard)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.why = "it could not be read: " + shortError(err)
	case bytes.Equal(sum[:], s.sum):
		s.found = contentEqual
	default:
		s.found = contentDiffers
	}
	return nil
}

// doubt keeps a file until all is listed: then its bytes are compared with those of the version it looks like.
func (c *comparison) doubt(e *listEntry, id catalog.ID) error {
	val := binary.AppendVarint(nil, int64(id))
	first := int64(0)
	if e.first {
		first = 1
	}
	val = binary.AppendVarint(val, first)
	ctime := int64(0)
	if !e.ctime.IsZero() {
		ctime = e.ctime.UnixNano()
	}
	val = binary.AppendVarint(val, ctime)
	val = binary.AppendUvarint(val, e.ino)
	return c.doubts.Add(pathKey(e.path), e.encode(val))
}

// settleDoubts compares the doubtful files by content: those that are what they were stay, and what the source tells
// of them now is recorded; the others are planned.
func (c *comparison) settleDoubts(ctx context.Context) error {
	if err := c.doubts.Sort(); err != nil {
		return err
	}
	check := &contentCheck{a: c.a, src: c.src, at: c.at, tree: c.tree, work: c.doubts.Dir}
	var page []suspicion
	settle := func() error {
		err := check.run(ctx, page, func(s *suspicion) error { return c.settled(ctx, s) })
		page = page[:0]
		return err
	}
	for {
		key, val, more, err := c.doubts.Next()
		if err != nil {
			return err
		}
		if more {
			s, err := c.suspicion(ctx, key, val)
			if err != nil {
				return err
			}
			page = append(page, s)
		}
		if len(page) >= checkFiles || !more && len(page) > 0 {
			if err := settle(); err != nil {
				return err
			}
		}
		if !more {
			return c.updateStates(ctx)
		}
	}
}

func (c *comparison) suspicion(ctx context.Context, key, val []byte) (suspicion, error) {
	d := decoder(val)
	id, first, ctime, ino := catalog.ID(d.varint()), d.varint(), d.varint(), d.uvarint()
	s := suspicion{listEntry: decodeEntry(key, d), version: id}
	s.first, s.ino = first == 1, ino
	if ctime != 0 {
		s.ctime = time.Unix(0, ctime).UTC()
	}
	v, err := c.db.Get(ctx, id)
	if err != nil {
		return s, fmt.Errorf("look for what %q was: %w", s.path, err)
	}
	s.sum, err = c.a.sumOf(ctx, &v)
	return s, err
}

// settled acts on what the bytes of one file told.
func (c *comparison) settled(ctx context.Context, s *suspicion) error {
	v, err := c.db.Get(ctx, s.version)
	if err != nil {
		return fmt.Errorf("look for what %q was: %w", s.path, err)
	}
	c.stats.Compared++
	switch s.found {
	case contentUnknown:
		// Nothing says that it changed, and nothing that it did not: it is asked again by the next run, and safe does not name it.
		c.stats.Uncompared++
		c.a.env.Log.Info("a file could not be compared by content", "source", c.source, "path", s.path, "why", s.why)
	case contentDiffers:
		if c.young(&s.listEntry) {
			c.stats.Young++
			return nil
		}
		c.stats.Changed++
		c.lost(&v)
		if later, err := c.later(&s.listEntry, v.Parent); later || err != nil {
			return err
		}
		return c.plan.add(ctx, member{path: s.path, link: s.link, first: s.first,
			NewVersion: catalog.NewVersion{Parent: v.Parent, Name: v.Name, Kind: s.kind, Size: s.size, Meta: entryMeta(&s.listEntry)}}, 0)
	default:
		if s.exact {
			c.states = append(c.states, catalog.SourceState{ID: v.ID, Nsec: s.nsec, CTime: s.ctime, Ino: s.ino})
		}
	}
	if err := c.stays(&s.listEntry, &v); err != nil {
		return err
	}
	if s.uid != v.Owner.UID || s.gid != v.Owner.GID || s.mode != v.Mode {
		return c.changedMeta(ctx, &s.listEntry, &v)
	}
	c.stats.Same++
	if len(c.states) >= markPage {
		return c.updateStates(ctx)
	}
	return nil
}

func (c *comparison) updateStates(ctx context.Context) error {
	states := c.states
	c.states = nil
	if c.dry || len(states) == 0 {
		return nil
	}
	return c.db.UpdateSourceStates(ctx, states)
}

// lookInPlace adds what this machine's file system tells of a listed file. One that is not what was listed any more
// keeps what the listing said.
func (e *listEntry) lookInPlace(t *localfs.Tree) {
	info, err := t.Lstat(e.path)
	if err != nil {
		return // fetching says what is wrong
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && st.Size == e.size && st.Mtim.Sec == e.mtime {
		e.exact, e.nsec = true, int32(st.Mtim.Nsec)
		e.ctime, e.ino = time.Unix(st.Ctim.Unix()).UTC(), st.Ino
	}
}
