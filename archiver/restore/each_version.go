package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/tapefs/tapefs/catalog"
)

// visitor is called for an entry that is wanted, with the number of its argument and its path below the target.
type visitor func(ctx context.Context, arg int, dest string, v *catalog.Version) error

// eachVersion walks all that was asked for, directories before what they hold.
func (r *restoration) eachVersion(ctx context.Context, fn visitor) error {
	for i := range r.args {
		w := argWalk{r: r, arg: i, a: &r.args[i], fn: fn}
		if err := w.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// argWalk is the walk through one argument. Where only some of it is wanted, a directory is visited when the first entry below it is.
type argWalk struct {
	r     *restoration
	arg   int
	a     *restoreArg
	fn    visitor
	above []entered // directories that are not visited yet, each in the one before
	taken string    // the directory, as a path below the argument and a slash, of which all is wanted
}

// entered is a directory that is being walked.
type entered struct {
	dest string
	v    catalog.Version
}

func (w *argWalk) run(ctx context.Context) error {
	if w.a.some != nil && w.a.some.all() {
		w.a.some = nil
	}
	if w.a.base != "" {
		if err := w.meet(ctx, w.a.base, &w.a.v, w.a.some == nil); err != nil {
			return err
		}
	}
	if w.a.v.Kind != catalog.Directory {
		return nil
	}
	return w.r.tree.Walk(ctx, w.a.v.ID, func(rel string, v *catalog.Version) error { return w.entry(ctx, rel, v) })
}

// entry judges one entry below the argument.
func (w *argWalk) entry(ctx context.Context, rel string, v *catalog.Version) error {
	skip := error(nil)
	if v.Kind == catalog.Directory {
		skip = fs.SkipDir
	}
	if len(w.r.o.Exclude) > 0 && Matches(w.r.o.Exclude, path.Join(w.a.path, rel)) {
		return skip
	}
	all := w.a.some == nil || w.taken != "" && strings.HasPrefix(rel, w.taken)
	if !all {
		switch w.a.some.of(rel) {
		case whole:
			all = true
			if v.Kind == catalog.Directory {
				w.taken = rel + "/"
			}
		case inside:
			if v.Kind != catalog.Directory {
				return nil
			}
		default:
			return skip
		}
	}
	dest := rel
	if w.a.base != "" {
		dest = w.a.base + "/" + rel
	}
	return w.meet(ctx, dest, v, all)
}

// meet visits an entry and the directories above it, or keeps a directory until something in it is wanted.
func (w *argWalk) meet(ctx context.Context, dest string, v *catalog.Version, wanted bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for n := len(w.above); n > 0 && !strings.HasPrefix(dest, w.above[n-1].dest+"/"); n = len(w.above) {
		w.above = w.above[:n-1]
	}
	if !wanted {
		w.above = append(w.above, entered{dest, *v})
		return nil
	}
	above := w.above
	w.above = nil
	for i := range above {
		if err := w.visit(ctx, above[i].dest, &above[i].v); err != nil {
			return err
		}
	}
	return w.visit(ctx, dest, v)
}

func (w *argWalk) visit(ctx context.Context, dest string, v *catalog.Version) error {
	if unsafeName(dest) {
		w.r.fail(dest, errors.New("its name leads out of the target"))
		return nil
	}
	return w.fn(ctx, w.arg, dest, v)
}

// notMet records what was asked for by pattern or list and is not in the archive.
func (r *restoration) notMet() {
	for _, a := range r.args {
		if a.some == nil {
			continue
		}
		for _, p := range a.some.unmet() {
			r.fail(p, fmt.Errorf("nothing in the archive is called so: %w", catalog.ErrNotFound))
		}
	}
}
