package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/localfs"
)

// cannotLink reports whether a file system takes no hard links, or no more of this file.
func cannotLink(err error) bool {
	for _, no := range []error{unix.EPERM, unix.EOPNOTSUPP, unix.ENOSYS, unix.EMLINK, unix.EXDEV} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// copyLinked gives a further name of a file its bytes where it cannot be linked, and says so.
func (r *restoration) copyLinked(ctx context.Context, p *primary, dest string) (err error) {
	v, err := r.env.DB.Get(ctx, p.id)
	if err != nil {
		return err
	}
	as, err := r.assembly(piece{id: v.ID, of: 1}, dest, &v)
	if err != nil {
		return err
	}
	in, err := r.root.Open(p.dest)
	if err == nil {
		_, err = io.Copy(io.MultiWriter(&localfs.SparseWriter{F: as.file}, as.sum), in)
		err = errors.Join(err, in.Close())
	}
	if err != nil {
		r.drop(as)
		return fmt.Errorf("copy it from %q: %w", p.dest, err)
	}
	as.refused = errCopied(p)
	return r.complete(as)
}

func errCopied(p *primary) error {
	return fmt.Errorf("link it to %q: the file system cannot; it is a copy", p.dest)
}

// linkCopy makes a link of a copy that an earlier restore had to make, or keeps it where that is still so. False: dest is something else.
func (r *restoration) linkCopy(ctx context.Context, p *primary, dest string) (done bool, err error) {
	v, err := r.env.DB.Get(ctx, p.id)
	if err != nil {
		return false, err
	}
	if same, err := r.present(dest, &v); err != nil || !same {
		return false, nil //nolint:nilerr // the caller says what is in its place
	}
	temp := tempLink(p, dest)
	if err := r.root.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return true, err
	}
	if err := r.root.Link(p.dest, temp); err != nil {
		if !cannotLink(err) {
			return true, err
		}
		r.sum.Present++
		return true, r.mend(dest, &v, errCopied(p))
	}
	if err := r.root.Rename(temp, dest); err != nil {
		return true, errors.Join(err, r.root.Remove(temp))
	}
	r.sum.Present++
	return true, nil
}

// tempLink is the temporary name of a link.
func tempLink(p *primary, dest string) string {
	dir, _ := path.Split(dest)
	return dir + fmt.Sprintf(".tapefs-%d.link", p.id)
}
