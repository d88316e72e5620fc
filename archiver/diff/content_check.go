package diff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

const (
	MaxChecked = 1000    // one rsync brings at most so many files to be compared by content
	checkBytes = 1 << 30 // or so many bytes, but one file in any case
)

// content is how a file at the source compares with a version by its bytes.
type content int

const (
	Unknown content = iota // it could not be read, or nobody knows the version's sum
	equal
	Differs
)

// Doubt is a file whose size and time are a version's, or nearly, and whose bytes must tell.
type Doubt struct {
	source.Entry
	Version catalog.ID
	Sum     []byte // SHA-256 of the version's content
	Found   content
	why     string // it is unknown
}

// ContentCheck reads files at a source, where it is read in place, or brings them into a folder that is emptied again.
// Nothing is recorded.
type ContentCheck struct {
	Env  *job.Env
	Src  job.Source
	At   source.Address
	Tree *localfs.Tree // of a source that is read in place
	Work string        // a folder in the spool
}

// SumOf is the SHA-256 of a version's content, nil when nobody knows it.
func SumOf(ctx context.Context, db *catalog.DB, v *catalog.Version) ([]byte, error) {
	if len(v.SHA256) > 0 || v.Data == v.ID {
		return v.SHA256, nil
	}
	first, err := db.Get(ctx, v.Data)
	if err != nil {
		return nil, fmt.Errorf("look for the content of version %d: %w", v.ID, err)
	}
	return first.SHA256, nil
}

// Run compares files page by page and calls fn for each, in order.
func (c *ContentCheck) Run(ctx context.Context, files []Doubt, fn func(*Doubt) error) error {
	for len(files) > 0 {
		n, size := 0, int64(0)
		for n < len(files) && n < MaxChecked && (n == 0 || size+files[n].Size <= checkBytes) {
			size += files[n].Size
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

func (c *ContentCheck) page(ctx context.Context, files []Doubt, size int64) (err error) {
	var readable []*Doubt
	for i := range files {
		s := &files[i]
		s.Found, s.why = Unknown, ""
		if len(s.Sum) != sha256.Size {
			s.why = "its content is not summed in the archive"
			continue
		}
		readable = append(readable, s)
	}
	if len(readable) == 0 {
		return nil
	}
	c.Env.Activity.Set(fmt.Sprintf("comparing %s by content", readable[0].Path))
	from := c.Tree
	if from == nil {
		dir := filepath.Join(c.Work, "content")
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
func (c *ContentCheck) bring(ctx context.Context, files []*Doubt, dir string) error {
	operand, prefix := c.At.Fetched()
	var list bytes.Buffer
	for _, s := range files {
		list.WriteString(prefix + s.Path + "\x00")
	}
	args := func(secluded bool) []string {
		args := []string{"-t", "--whole-file", "--no-implied-dirs", "--from0", "--files-from=-"}
		if c.Src.Bandwidth > 0 {
			args = append(args, "--bwlimit="+source.Bandwidth(c.Src.Bandwidth, 1))
		}
		args = append(args, c.At.RemoteOptions(c.Src, c.Env.Config.SSH, secluded)...)
		return append(args, "--", operand, dir+"/")
	}
	r, err := source.Reach(ctx, c.Env, c.Src, c.At, args, list.Bytes(), func([]byte) error { return nil })
	if err != nil {
		return fmt.Errorf("compare by content: %w", err)
	}
	if r.Exit != 0 && !r.Partial() {
		return fmt.Errorf("compare by content: %w", r.Err())
	}
	return nil
}

// compare sums one file.
func (c *ContentCheck) compare(ctx context.Context, from *localfs.Tree, s *Doubt) error {
	in, err := from.OpenFile(s.Path)
	if err != nil {
		s.why = "it could not be read: " + localfs.ShortError(err)
		return nil
	}
	before, err := pack.StateOf(in)
	if err != nil || before.Size != s.Size {
		in.Close()
		s.why = "it changes"
		return nil
	}
	sum, err := pack.Sum(ctx, in, before.Size, catalog.Time{Sec: before.Mtime.Sec, Nsec: int32(before.Mtime.Nsec)}, map[string]int64{}, io.Discard)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		s.why = "it could not be read: " + localfs.ShortError(err)
	case bytes.Equal(sum[:], s.Sum):
		s.Found = equal
	default:
		s.Found = Differs
	}
	return nil
}

// doubt keeps a file until all is listed: then its bytes are compared with those of the version it looks like.
func (c *comparison) doubt(e *source.Entry, id catalog.ID) error {
	val := binary.AppendVarint(nil, int64(id))
	first := int64(0)
	if e.First {
		first = 1
	}
	val = binary.AppendVarint(val, first)
	ctime := int64(0)
	if !e.Ctime.IsZero() {
		ctime = e.Ctime.UnixNano()
	}
	val = binary.AppendVarint(val, ctime)
	val = binary.AppendUvarint(val, e.Ino)
	return c.doubts.Add(source.PathKey(e.Path), e.Encode(val))
}

// settleDoubts compares the doubtful files by content: those that are what they were stay, and what the source tells
// of them now is recorded; the others are planned.
func (c *comparison) settleDoubts(ctx context.Context) error {
	if err := c.doubts.Sort(); err != nil {
		return err
	}
	check := &ContentCheck{Env: c.env, Src: c.in.Src, At: c.in.At, Tree: c.in.Tree, Work: c.doubts.Dir}
	var page []Doubt
	settle := func() error {
		err := check.Run(ctx, page, func(s *Doubt) error { return c.settled(ctx, s) })
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
		if len(page) >= MaxChecked || !more && len(page) > 0 {
			if err := settle(); err != nil {
				return err
			}
		}
		if !more {
			return c.updateStates(ctx)
		}
	}
}

func (c *comparison) suspicion(ctx context.Context, key, val []byte) (Doubt, error) {
	d := source.Decoder(val)
	id, first, ctime, ino := catalog.ID(d.Varint()), d.Varint(), d.Varint(), d.Uvarint()
	s := Doubt{Entry: source.DecodeEntry(key, d), Version: id}
	s.First, s.Ino = first == 1, ino
	if ctime != 0 {
		s.Ctime = time.Unix(0, ctime).UTC()
	}
	v, err := c.env.DB.Get(ctx, id)
	if err != nil {
		return s, fmt.Errorf("look for what %q was: %w", s.Path, err)
	}
	s.Sum, err = SumOf(ctx, c.env.DB, &v)
	return s, err
}

// settled acts on what the bytes of one file told.
func (c *comparison) settled(ctx context.Context, s *Doubt) error {
	v, err := c.env.DB.Get(ctx, s.Version)
	if err != nil {
		return fmt.Errorf("look for what %q was: %w", s.Path, err)
	}
	c.stats.Compared++
	switch s.Found {
	case Unknown:
		// Nothing says that it changed, and nothing that it did not: it is asked again by the next run, and safe does not name it.
		c.stats.Uncompared++
		c.env.Log.Info("a file could not be compared by content", "source", c.in.Src.Name, "path", s.Path, "why", s.why)
	case Differs:
		if c.young(&s.Entry) {
			c.stats.Young++
			return nil
		}
		c.stats.Changed++
		c.renames.lost(&v)
		if later, err := c.later(&s.Entry, v.Parent); later || err != nil {
			return err
		}
		return c.plan.Add(ctx, Member{Path: s.Path, Link: s.Link, First: s.First,
			NewVersion: catalog.NewVersion{Parent: v.Parent, Name: v.Name, Kind: s.Kind, Size: s.Size, Meta: EntryMeta(&s.Entry)}}, 0)
	default:
		if s.Exact {
			c.marks.states = append(c.marks.states, catalog.SourceState{ID: v.ID, Nsec: s.Nsec, CTime: s.Ctime, Ino: s.Ino})
		}
	}
	if err := c.renames.stays(&s.Entry, &v); err != nil {
		return err
	}
	if s.Uid != v.Owner.UID || s.Gid != v.Owner.GID || s.Mode != v.Mode {
		return c.changedMeta(ctx, &s.Entry, &v)
	}
	c.stats.Same++
	if len(c.marks.states) >= markPage {
		return c.updateStates(ctx)
	}
	return nil
}

func (c *comparison) updateStates(ctx context.Context) error {
	states := c.marks.states
	c.marks.states = nil
	if c.in.Dry || len(states) == 0 {
		return nil
	}
	return c.env.DB.UpdateSourceStates(ctx, states)
}
