package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/catalog/owners"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/fs/recall"
)

// Options say what is restored, and where to.
type Options struct {
	To        string     // a directory; made if it is not there
	Overwrite bool       // replace what is there and differs
	Version   catalog.ID // of the one file that is named; 0: the current one
	At        time.Time  // restore the tree as it was then; zero: as it is
	// Exclude leaves out what matches one of these patterns, with all below it: one without a slash is held against the last part of
	// each path, another against the whole path in the archive.
	Exclude []string
	// Listed are paths of files and directories that come back below the target with their whole paths. Nil: those that Run names.
	Listed []string
}

// MissingTape is a tape outside the library, and what waits for it.
type MissingTape struct {
	Barcode string `json:"tape"`
	Files   int64  `json:"files"`
	Bytes   int64  `json:"bytes"`
}

// Summary is what a restore did.
type Summary struct {
	Run      int64         `json:"run"`
	Files    int64         `json:"files"`    // written, symlinks among them
	Symlinks int64         `json:"symlinks"` // of these
	Bytes    int64         `json:"bytes"`
	Present  int64         `json:"present"` // were there already
	Failed   int64         `json:"failed"`
	Without  int64         `json:"attributes_refused"` // are there, but not with the owner, mode or time that they should have
	Older    int64         `json:"older"`              // of what was asked for: older states, because the newest cannot be read
	Tapes    []string      `json:"tapes"`              // that were read
	Missing  []MissingTape `json:"missing"`
}

// restoration is one restore under way.
type restoration struct {
	env   *job.Env
	o     Options
	run   catalog.Run
	noted *job.Problems
	root  *os.Root
	dirs  *heldDirs
	queue *recall.Queue
	inv   *changer.Inventory // nil: no library
	super bool               // we may give files away
	kept  atomic.Int64       // how many files and directories stayed ours although they were not
	names *owners.Names
	tree  *catalog.View
	args  []restoreArg
	where placements

	mu        sync.Mutex // protects all below
	tapes     map[string]*tapeList
	primaries map[catalog.ID]*primary // by inode: hard-linked files only
	parted    map[partedKey]*assembly
	missing   map[string]*MissingTape
	sum       Summary
}

// restoreArg is one path that was asked for.
type restoreArg struct {
	path string // clean, in the archive
	base string // its name below the target; "" for the whole archive
	v    catalog.Version
	some *chosen // of what lies below; nil: all
}

// primary is the name of a hard-linked file that gets the bytes; the others are linked to it.
type primary struct {
	id   catalog.ID
	dest string
	done bool
	away string // the tape outside the library that has the bytes
}

// Run brings paths of the archive, with all below them, back to a directory, without the mount: each
// tape is read once and forwards. Files that are there already with the right size, time and sum are
// kept. It returns ErrPartial when some files failed (the run lists them), and ErrNeedsOperator when
// tapes are missing; all else is restored then.
func Run(ctx context.Context, env *job.Env, paths []string, o Options) (Summary, error) {
	r := newRestoration(env, o)
	var err error
	if r.args, err = r.arguments(ctx, paths); err != nil {
		return r.sum, err
	}
	if err := os.MkdirAll(o.To, 0o755); err != nil {
		return r.sum, fmt.Errorf("make the target: %w", err)
	}
	if r.root, err = os.OpenRoot(o.To); err != nil {
		return r.sum, fmt.Errorf("open the target: %w", err)
	}
	defer r.root.Close()
	r.dirs = newHeldDirs(r.root)
	defer r.dirs.close()
	if r.run, err = env.StartRun(ctx, "restore", append([]string{"--to", o.To}, paths...)); err != nil {
		return r.sum, err
	}
	r.sum.Run = r.run.ID
	r.noted = job.NewProblems(env, r.run)
	err = r.all(ctx)
	if err == nil {
		err = r.noted.Result()
	}
	end := r.finish(ctx, err)
	if errors.Is(end, job.ErrNeedsOperator) {
		return r.sum, end // says more than that some files failed
	}
	return r.sum, errors.Join(err, end)
}

func newRestoration(env *job.Env, o Options) *restoration {
	return &restoration{env: env, o: o, tree: env.DB.View(o.At, false), super: os.Geteuid() == 0, names: owners.New(),
		tapes: map[string]*tapeList{}, primaries: map[catalog.ID]*primary{}, parted: map[partedKey]*assembly{},
		missing: map[string]*MissingTape{}, where: newPlacements(env.DB)}
}

// all makes the tree, reads the tapes, then links names and sets the directories' times.
func (r *restoration) all(ctx context.Context) (err error) {
	if r.env.Lib != nil {
		if r.inv, err = r.env.Lib.Inventory(ctx); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	defer r.closeLists()
	r.env.Note("planning what is to be read")
	if err := r.eachVersion(ctx, r.prepare); err != nil {
		return err
	}
	r.notMet()
	if err := r.read(ctx); err != nil {
		return err
	}
	if err := r.finishTree(ctx); err != nil {
		return err
	}
	return r.sync()
}

// unsafeName: the catalog takes no such name, but it may be damaged.
func unsafeName(dest string) bool {
	for part := range strings.SplitSeq(dest, "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
			return true
		}
	}
	return false
}

// destOf is where a version that an argument covers goes.
func (r *restoration) destOf(ctx context.Context, arg int, id catalog.ID) (string, error) {
	a := &r.args[arg]
	full, err := r.env.DB.Path(ctx, id)
	if err != nil {
		return "", err
	}
	dest := strings.TrimPrefix(strings.TrimPrefix(full, a.path), "/")
	if a.base != "" {
		dest = strings.TrimSuffix(a.base+"/"+dest, "/")
	}
	if unsafeName(dest) {
		return "", fmt.Errorf("%q leads out of the target", dest)
	}
	return dest, nil
}

// fail records that one path could not be restored.
func (r *restoration) fail(dest string, err error) {
	if r.noted != nil { // else nothing is recorded
		r.noted.Add("", dest, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Failed++
}

// miss records that a file waits for a tape.
func (r *restoration) miss(barcode string, v *catalog.Version) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.primaries[v.Inode]; p != nil && p.id == v.ID {
		p.away = barcode
	}
	size := v.Size
	m := r.missing[barcode]
	if m == nil {
		m = &MissingTape{Barcode: barcode}
		r.missing[barcode] = m
	}
	m.Files++
	m.Bytes += size
}

// finish asks for the missing tapes and records the run's end.
func (r *restoration) finish(ctx context.Context, err error) error {
	ctx = context.WithoutCancel(ctx)
	var operator error
	for _, m := range r.missing {
		r.sum.Missing = append(r.sum.Missing, *m)
	}
	slices.SortFunc(r.sum.Missing, func(a, b MissingTape) int { return strings.Compare(a.Barcode, b.Barcode) })
	var names []string
	for _, m := range r.sum.Missing {
		names = append(names, m.Barcode)
		if _, werr := r.env.DB.Want(ctx, m.Barcode, "restore"); werr != nil {
			r.env.Log.Warn(werr.Error())
		}
		text := fmt.Sprintf("%d files (%d bytes) wait for tape %s, which is outside the library", m.Files, m.Bytes, m.Barcode)
		if rerr := r.env.DB.AddRunError(ctx, r.run.ID, "", "", text); rerr != nil {
			r.env.Log.Warn(rerr.Error())
		}
	}
	if len(names) > 0 && (err == nil || errors.Is(err, job.ErrPartial)) {
		operator = fmt.Errorf("%w: put %s into the library and run it again: it goes on where it was", job.ErrNeedsOperator, strings.Join(names, ", "))
	}
	slices.Sort(r.sum.Tapes)
	state, message := "done", ""
	switch {
	case ctx.Err() != nil, errors.Is(err, context.Canceled):
		state, message = "interrupted", "interrupted"
	case err != nil && !errors.Is(err, job.ErrPartial):
		state, message = "failed", err.Error()
	case err != nil || operator != nil:
		state = "partial"
		if operator != nil {
			message = operator.Error()
		}
	}
	if n := r.sum.Without - maxWithout; n > 0 {
		text := fmt.Sprintf("%d more are restored, but their attributes are not those of the archive", n)
		r.env.Log.Warn(text)
		if rerr := r.env.DB.AddRunError(ctx, r.run.ID, "", "", text); rerr != nil {
			r.env.Log.Warn(rerr.Error())
		}
	}
	if n := r.kept.Load(); n > 0 {
		r.env.Log.Warn("owners were not set: only root may give files away", "entries", n)
	}
	counts := map[string]int64{"restored": r.sum.Files, "symlinks": r.sum.Symlinks, "restored_bytes": r.sum.Bytes, "present": r.sum.Present, "failed": r.sum.Failed,
		"older": r.sum.Older, "attributes_refused": r.sum.Without}
	return errors.Join(operator, r.env.DB.Count(ctx, r.run.ID, "", counts), r.env.DB.FinishRun(ctx, r.run.ID, state, message))
}

// sync makes lasting what was written: one call instead of one for each file.
func (r *restoration) sync() error {
	dir, err := r.root.Open(".")
	if err != nil {
		return fmt.Errorf("sync the target: %w", err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("sync the target: %w", err)
	}
	return nil
}
