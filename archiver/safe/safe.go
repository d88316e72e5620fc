package safe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tapefs/tapefs/archiver/diff"
	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// ErrNotSafe: some files of the source may not be deleted there.
var ErrNotSafe = errors.New("not all files of the source are safe on tape")

// Why a file at the source is not safe. The words are part of the command's output.
const (
	NotArchived  = "not archived"      // no version of the path, or one that was not read whole
	NotTheSame   = "changed"           // size, time, kind or target differ from every version
	TimeUnsure   = "time is not exact" // the source tells whole seconds only: another file may have taken its name within one
	OtherBytes   = "other content"     // its bytes are not those of the version whose size and time it has
	NotCompared  = "not compared"      // its bytes were to tell, and could not be read, or nobody knows the version's sum
	SameSecond   = "same second"       // the second of its time is that of a version, the rest of it is not
	TakenTooSoon = "taken too soon"    // it was changed so shortly before it was taken that a change in between would not show
	NotOnTape    = "not on tape"       // no durable copy
	TooFew       = "too few copies"    // fewer durable copies than asked for
	NotReadBack  = "not verified"      // enough copies, but not read back
	NoKey        = "key is missing"    // the key that opens the copy is not in the keys folder
	NotNamed     = "not journalled"    // its bytes lie under another path, and no tape says so yet
	NotListed    = "not listed"        // the source could not tell
	Special      = "special file"      // sockets, fifos and devices are not archived
)

// Options say what safe means.
type Options struct {
	Copies   int  // durable copies, each in another pool; 0: as many as the source asks for
	Verified bool // only copies that were read back count
	Checksum bool // compare the content of every file
}

// File is one file or symlink of the source as it is now.
type File struct {
	Path     string // below the source's top
	Size     int64
	Version  catalog.ID // that it equals; 0: none
	Copies   int        // durable ones, in different pools
	Verified int        // of these, read back
	Why      string     // it is not safe; "": it is
}

// Summary counts what was found.
type Summary struct {
	Copies    int // that were asked for
	Files     int64
	Safe      int64
	SafeBytes int64
	NotSafe   map[string]int64 // by reason
	Filtered  bool             // the source has filters: what they leave out was not looked at
}

// Check lists a source now and calls fn for each file and symlink in it, safe or not. Nothing is fetched and nothing
// recorded. What it says of a file was so when it was listed. ErrNotSafe when any is not.
func Check(ctx context.Context, env *job.Env, name string, o Options, fn func(File) error) (sum Summary, err error) {
	chosen, err := env.ChooseSources([]string{name})
	if err != nil {
		return sum, err
	}
	src := chosen[0]
	at, err := source.ParseAddress(src.URL)
	if err != nil {
		return sum, fmt.Errorf("source %s: %w", name, err)
	}
	row, err := env.SourceRow(ctx, src, true)
	if err != nil {
		return sum, err
	}
	if row.ID != 0 && row.URL != src.URL {
		return sum, fmt.Errorf("source %s was archived from %q and is configured as %q: run tapefs archive %s first", name, row.URL, src.URL, name)
	}
	if o.Copies <= 0 {
		o.Copies = max(1, len(src.Copies))
	}
	sum = Summary{Copies: o.Copies, NotSafe: map[string]int64{}, Filtered: len(src.Include)+len(src.Exclude) > 0}
	work, done, err := localfs.WorkDir(env.Config.SpoolDir, src.Name)
	if err != nil {
		return sum, err
	}
	defer done(&err)
	entries := &extsort.Sorter{Dir: work}
	defer entries.Close()
	var st source.Stats
	if err := source.List(ctx, env, 0, src, at, entries, &st); err != nil {
		return sum, err
	}
	if err := entries.Sort(); err != nil {
		return sum, err
	}
	var local *localfs.Tree
	if at.Transport == source.InPlace {
		if local, err = localfs.OpenTree(at.Path); err != nil {
			return sum, fmt.Errorf("source %s: %w", name, err)
		}
		defer local.Close()
	}
	l, err := source.NewListed(entries, local)
	if err != nil {
		return sum, err
	}
	s := &judge{env: env, o: o, at: at, src: src, work: work, tree: local, seconds: &st.Seconds, held: map[int64][]catalog.HeldCopy{}, emit: func(f File) error {
		sum.Files++
		if f.Why == "" {
			sum.Safe++
			sum.SafeBytes += f.Size
		} else {
			sum.NotSafe[f.Why]++
		}
		return fn(f)
	}}
	if err := s.join(ctx, row.Root, l); err != nil {
		return sum, fmt.Errorf("compare source %s: %w", name, err)
	}
	if st.Skipped > 0 {
		sum.NotSafe[Special] += st.Skipped
	}
	if st.Errors > 0 || st.Partial {
		sum.NotSafe[NotListed] += max(st.Errors, 1)
	}
	if len(sum.NotSafe) > 0 {
		return sum, ErrNotSafe
	}
	return sum, nil
}

// judge holds a listing against the catalog without changing anything.
type judge struct {
	env     *job.Env
	o       Options
	src     job.Source
	at      source.Address
	work    string
	tree    *localfs.Tree                // of a source that is read in place
	held    map[int64][]catalog.HeldCopy // by object: a bundle has thousands of files
	emit    func(File) error
	seconds *bool        // the source tells whole seconds only
	files   []diff.Doubt // whose content is to be compared
	judged  []File       // the same files
	exact   []exactFile  // to be compared to the nanosecond
}

// maxHeld bounds how many objects' copies are remembered.
const maxHeld = 4096

func (s *judge) join(ctx context.Context, top catalog.ID, l *source.Listed) error {
	w := diff.NewWalker(ctx, s.env.DB, top, diff.WalkPieces)
	defer w.Close()
	if err := w.Advance(); err != nil {
		return err
	}
	dirs := []diff.OpenDir{{ID: top}} // directories that both have, for versions that the path does not show any more
	for l.Ok {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := l.Head
		if err := l.Advance(); err != nil {
			return err
		}
		if e.Path == "" {
			continue
		}
		for w.OK && bytes.Compare(w.Key, source.PathKey(e.Path)) < 0 {
			if err := w.Advance(); err != nil {
				return err
			}
		}
		var v *catalog.Version
		if w.OK && w.Path == e.Path {
			known := w.Head
			v = &known
		}
		dir, name := localfs.SplitPath(e.Path)
		for len(dirs) > 1 && !isBelow(e.Path, dirs[len(dirs)-1].Path) {
			dirs = dirs[:len(dirs)-1]
		}
		if e.Kind == catalog.Directory {
			if v != nil && v.Kind == catalog.Directory {
				dirs = append(dirs, diff.OpenDir{Path: e.Path, ID: v.ID})
			}
			continue
		}
		parent := catalog.ID(0)
		if d := dirs[len(dirs)-1]; d.Path == dir {
			parent = d.ID
		}
		if err := s.file(ctx, &e, v, parent, name); err != nil {
			return err
		}
	}
	if err := s.compareContent(ctx); err != nil {
		return err
	}
	return s.compareExact(ctx)
}

func isBelow(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// equals tells whether a listed entry is a version's state, as far as a listing can tell: times in whole seconds.
func equals(e *source.Entry, v *catalog.Version) bool {
	return v.State == catalog.Present && !v.Grew && e.Kind == v.Kind && e.Mtime == v.MTime.Sec &&
		(e.Kind != catalog.File || e.Size == v.Size) &&
		(e.Kind != catalog.Symlink || e.Target != "" && e.Target == v.Target)
}

// file judges one entry. v is what the path shows in the catalog, or nil.
func (s *judge) file(ctx context.Context, e *source.Entry, v *catalog.Version, parent catalog.ID, name string) error {
	f := File{Path: e.Path, Size: e.Size}
	var like []catalog.Version
	if v != nil && equals(e, v) {
		like = append(like, *v)
	}
	seen := v != nil && v.State != catalog.Void
	if parent != 0 && len(like) == 0 {
		past, err := s.env.DB.Versions(ctx, parent, name)
		if err != nil {
			return err
		}
		slices.Reverse(past) // the newest first
		for i := range past {
			if equals(e, &past[i]) {
				like = append(like, past[i])
			}
		}
	}
	if len(like) == 0 {
		if f.Why = NotArchived; seen {
			f.Why = NotTheSame
		}
		return s.emit(f)
	}
	why := ""
	if e.Kind == catalog.File && s.tree == nil {
		why = s.exactly(e, like)
	} else if s.tree != nil {
		var err error
		if why, err = s.inPlace(e, like); err != nil {
			return err
		}
	}
	check := why == inodeChanged || s.o.Checksum && e.Kind == catalog.File && (why == "" || why == SameSecond || why == TimeUnsure)
	if why != "" && !check {
		f.Why = why
		return s.emit(f)
	}
	v = &like[0]
	f.Version = v.ID
	taken, err := s.count(ctx, v, &f)
	if err != nil || f.Why != "" {
		if err == nil {
			err = s.emit(f)
		}
		return err
	}
	if check {
		return s.checkContent(ctx, f, e, v)
	}
	if e.Kind == catalog.File && tooSoon(v, taken) {
		f.Why = TakenTooSoon
		return s.emit(f)
	}
	if s.tree == nil && e.Kind == catalog.File && !e.Exact {
		return s.later(ctx, f, v)
	}
	return s.emit(f)
}

// count finds the durable copies of a version's bytes. It returns when the version was planned.
func (s *judge) count(ctx context.Context, v *catalog.Version, f *File) (taken time.Time, err error) {
	taken = v.Since
	objects, err := s.env.DB.ObjectsWith(ctx, v.ID)
	if err != nil {
		return taken, err
	}
	own := len(objects) > 0
	var named map[int64]bool // pools whose tapes tell of the path, and whether that was read back; nil: each that has the object
	if v.Data != v.ID {
		if !own {
			if named, err = s.env.DB.LinkNamed(ctx, v.ID); err != nil {
				return taken, err
			}
		}
		if objects, err = s.env.DB.ObjectsWith(ctx, v.Data); err != nil {
			return taken, err
		}
	}
	pools, verified := map[int64]bool{}, map[int64]bool{}
	closed, unnamed := false, false
	for _, object := range objects {
		held, ok := s.held[object]
		if !ok {
			if held, err = s.env.DB.HeldCopies(ctx, object); err != nil {
				return taken, err
			}
			if len(s.held) >= maxHeld {
				clear(s.held)
			}
			s.held[object] = held
		}
		for _, h := range held {
			if _, err := s.env.Keys.Key(h.Fingerprint); err != nil {
				closed = true
				continue
			}
			proved, is := named[h.Pool]
			if named != nil && !is {
				unnamed = true
				continue
			}
			pools[h.Pool] = true
			if h.Verified && (named == nil || proved) {
				verified[h.Pool] = true
			}
			if at, err := catalog.TakenAt(h.OID); err == nil && own && at.Before(taken) {
				taken = at
			}
		}
	}
	f.Copies, f.Verified = len(pools), len(verified)
	switch {
	case f.Copies < s.o.Copies && closed:
		f.Why = NoKey
	case f.Copies < s.o.Copies && unnamed:
		f.Why = NotNamed
	case f.Copies == 0:
		f.Why = NotOnTape
	case f.Copies < s.o.Copies:
		f.Why = TooFew
	case s.o.Verified && f.Verified < s.o.Copies:
		f.Why = NotReadBack
	}
	return taken, nil
}
