package restore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tapefs/tapefs/catalog"
)

// arguments finds what the paths name. One with *, ? or [ that is not the path of anything is a pattern.
func (r *restoration) arguments(ctx context.Context, paths []string) ([]restoreArg, error) {
	if err := CheckPatterns(r.o.Exclude); err != nil {
		return nil, err
	}
	if r.o.Version != 0 {
		arg, err := r.oneVersion(ctx, paths)
		return []restoreArg{arg}, err
	}
	if r.o.Listed != nil {
		top, err := r.tree.Resolve(ctx, "/")
		return []restoreArg{{path: "/", v: top, some: listed(r.o.Listed)}}, err
	}
	var args []restoreArg
	for _, p := range paths {
		arg, err := r.argument(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("restore %q: %w", p, err)
		}
		i := slices.IndexFunc(args, func(other restoreArg) bool { return other.base == arg.base })
		switch {
		case i < 0:
			args = append(args, arg)
		case args[i].path == arg.path && args[i].some != nil && arg.some != nil:
			args[i].some.patterns = append(args[i].some.patterns, arg.some.patterns...)
		case args[i].path == arg.path && (args[i].some != nil || arg.some != nil):
			args[i].some = nil // one of them is all of it
		default:
			return nil, fmt.Errorf("restore %q and %q: both would be %q in the target; restore them one by one", args[i].path, p, arg.base)
		}
	}
	return args, nil
}

// argument is one path, or one pattern: the directory before its first wildcard, and what is chosen below it.
func (r *restoration) argument(ctx context.Context, p string) (arg restoreArg, err error) {
	clean := path.Clean("/" + p)
	arg = restoreArg{path: clean}
	arg.v, err = r.tree.Resolve(ctx, clean)
	if errors.Is(err, catalog.ErrNotFound) && strings.ContainsAny(clean, `*?[`) {
		if err := CheckPatterns([]string{clean}); err != nil {
			return arg, err
		}
		arg.path, arg.some = splitPattern(clean)
		arg.v, err = r.tree.Resolve(ctx, arg.path)
	}
	if arg.path != "/" {
		arg.base = path.Base(arg.path)
	}
	return arg, err
}

// oneVersion is the one file that is named, in the state that is wanted.
func (r *restoration) oneVersion(ctx context.Context, paths []string) (arg restoreArg, err error) {
	if len(paths) != 1 {
		return arg, errors.New("a version belongs to one file: name that file alone")
	}
	arg.path = path.Clean("/" + paths[0])
	arg.base = path.Base(arg.path)
	id := r.o.Version
	arg.v, err = r.env.DB.Get(ctx, id)
	if err == nil {
		var at string
		if at, err = r.env.DB.Path(ctx, id); err == nil && at != arg.path {
			err = fmt.Errorf("version %d is one of %q", id, at)
		}
	}
	switch {
	case err != nil:
	case arg.v.State == catalog.Forgotten:
		err = fmt.Errorf("version %d was forgotten", id)
	case arg.v.Kind != catalog.File:
		err = errors.New("only files have versions")
	}
	if err != nil {
		err = fmt.Errorf("restore %q: %w", paths[0], err)
	}
	return arg, err
}
