package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/catalog/owners"
)

// prepare makes directories, symlinks and empty files, and plans what has bytes.
func (r *restoration) prepare(ctx context.Context, arg int, dest string, v *catalog.Version) error {
	var err error
	if v.InsteadOf != 0 {
		r.mu.Lock()
		r.sum.Older++
		r.mu.Unlock()
		r.env.Log.Warn("an older state is restored: the newest cannot be read", "path", dest, "version", v.ID, "newest", v.InsteadOf)
	}
	switch v.Kind {
	case catalog.Directory:
		err = r.mkdir(dest)
	case catalog.Symlink:
		err = r.symlink(dest, v)
	case catalog.File:
		if v.Nlink > 1 {
			if p := r.primaries[v.Inode]; p != nil && p.dest != dest {
				return nil // linked at the end
			}
			r.primaries[v.Inode] = &primary{id: v.ID, dest: dest}
		}
		var there bool
		if there, err = r.present(dest, v); err != nil {
			break
		}
		switch {
		case there:
			r.mu.Lock()
			r.sum.Present++
			r.linkable(v)
			r.mu.Unlock()
			err = r.mend(dest, v, nil)
		case v.Size == 0:
			err = r.empty(arg, dest, v)
		default:
			return r.planFile(ctx, arg, dest, v)
		}
	default:
		err = fmt.Errorf("kind %d is not known", v.Kind)
	}
	if fatalWrite(err) {
		return fmt.Errorf("write to %s: %w", r.o.To, err)
	}
	if err != nil {
		r.fail(dest, err)
	}
	return nil
}

func (r *restoration) mkdir(dest string) error {
	info, err := r.root.Lstat(dest)
	if err == nil && !info.IsDir() {
		if !r.o.Overwrite {
			return errors.New("something else is in the place of a directory; --overwrite replaces it")
		}
		if err := r.root.Remove(dest); err != nil {
			return err
		}
		err = os.ErrNotExist
	}
	if errors.Is(err, os.ErrNotExist) {
		r.dirs.forget(dest)
		return r.root.Mkdir(dest, 0o700)
	}
	if err == nil && !r.super && info.Mode()&0o700 != 0o700 {
		// finishTree sets it again. Of somebody else's directory it may be refused, which only matters if nothing can be
		// written there.
		if err := r.root.Chmod(dest, info.Mode()|0o700); err != nil {
			r.env.Log.Debug("make a directory writable", "path", dest, "err", err)
		}
	}
	return err
}

func (r *restoration) empty(arg int, dest string, v *catalog.Version) error {
	as, err := r.assembly(piece{id: v.ID, arg: arg, of: 1}, dest, v)
	if err != nil {
		return err
	}
	return r.complete(as)
}

func (r *restoration) symlink(dest string, v *catalog.Version) error {
	info, err := r.root.Lstat(dest)
	if err == nil {
		if info.Mode()&os.ModeSymlink != 0 {
			if target, err := r.root.Readlink(dest); err == nil && target == v.Target {
				r.sum.Present++
				return r.linkAttributes(dest, v)
			}
		}
		if info.IsDir() {
			return errors.New("a directory is in its place")
		}
		if !r.o.Overwrite {
			return errors.New("something else is in its place; --overwrite replaces it")
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dirName, _ := path.Split(dest)
	temp := dirName + fmt.Sprintf(".tapefs-%d.part", v.ID)
	if err := r.root.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := r.root.Symlink(v.Target, temp); err != nil {
		return err
	}
	if err := r.nameTemp(temp, dest); err != nil {
		return err
	}
	r.sum.Files++
	r.sum.Symlinks++
	return r.linkAttributes(dest, v)
}

// nameTemp renames a finished temporary name, or removes it.
func (r *restoration) nameTemp(temp, dest string) error {
	dir, name, err := r.dirs.parent(temp)
	if err != nil {
		return err
	}
	defer dir.release()
	if err := r.rename(dir, name, path.Base(dest)); err != nil {
		return errors.Join(err, r.root.Remove(temp))
	}
	return nil
}

// finishTree links the further names of hard-linked files, and gives directories their attributes once
// nothing changes in them any more.
func (r *restoration) finishTree(ctx context.Context) error {
	var open []entered
	leave := func(dest string) {
		for n := len(open); n > 0 && !strings.HasPrefix(dest, open[n-1].dest+"/"); n = len(open) {
			if err := r.directory(open[n-1].dest, &open[n-1].v); err != nil {
				r.fail(open[n-1].dest, err)
			}
			open = open[:n-1]
		}
	}
	err := r.eachVersion(ctx, func(ctx context.Context, _ int, dest string, v *catalog.Version) error {
		leave(dest)
		switch {
		case v.Kind == catalog.Directory:
			open = append(open, entered{dest, *v})
		case v.Kind == catalog.File && v.Nlink > 1:
			if p := r.primaries[v.Inode]; p != nil && p.dest != dest {
				if err := r.link(ctx, p, dest); err != nil {
					r.fail(dest, err)
				}
			}
		}
		return nil
	})
	leave("")
	return err
}

func (r *restoration) link(ctx context.Context, p *primary, dest string) error {
	if p.away != "" {
		r.missing[p.away].Files++ // comes with the first name
		return nil
	}
	if !p.done {
		return fmt.Errorf("it is a hard link of %q, which was not restored", p.dest)
	}
	first, err := r.root.Lstat(p.dest)
	if err != nil {
		return err
	}
	info, err := r.root.Lstat(dest)
	if err == nil {
		if os.SameFile(first, info) {
			r.sum.Present++
			return nil
		}
		if info.Mode().IsRegular() {
			if done, err := r.linkCopy(ctx, p, dest); done || err != nil {
				return err
			}
		}
		if info.IsDir() || !r.o.Overwrite {
			return errors.New("something else is in its place; --overwrite replaces files")
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	temp := tempLink(p, dest)
	if err := r.root.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := r.root.Link(p.dest, temp); err != nil {
		if cannotLink(err) {
			return r.copyLinked(ctx, p, dest)
		}
		return err
	}
	if err := r.nameTemp(temp, dest); err != nil {
		return err
	}
	r.sum.Files++
	return nil
}

func (r *restoration) directory(dest string, v *catalog.Version) error {
	info, err := r.root.Lstat(dest)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it came into the catalog meanwhile, or could not be made: said before
	}
	if err != nil || !info.IsDir() {
		return err
	}
	f, err := r.root.Open(dest)
	if err != nil {
		return err
	}
	defer f.Close()
	dir, name, err := r.dirs.parent(dest)
	if err != nil {
		return err
	}
	defer dir.release()
	r.without(dest, r.attributes(f, dir, name, v))
	return nil
}

// ownerOf returns this machine's numbers for an owner's names: an unknown name keeps its number, as with tar.
func ownerOf(names *owners.Names, o catalog.Owner) (uid, gid int) {
	uid, gid = int(o.UID), int(o.GID)
	if id, ok := names.Number(owners.User, o.User); ok {
		uid = int(id)
	}
	if id, ok := names.Number(owners.Group, o.Group); ok {
		gid = int(id)
	}
	return uid, gid
}
