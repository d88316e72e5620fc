package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
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
	v, err := r.a.db.Get(ctx, p.id)
	if err != nil {
		return err
	}
	as, err := r.assembly(piece{id: v.ID, of: 1}, dest, &v)
	if err != nil {
		return err
	}
	in, err := r.root.Open(p.dest)
	if err == nil {
		_, err = io.Copy(io.MultiWriter(as.file, as.sum), in)
		err = errors.Join(err, in.Close())
	}
	if err != nil {
		r.drop(as)
		return fmt.Errorf("copy it from %q: %w", p.dest, err)
	}
	if err := r.complete(as); err != nil {
		return err
	}
	r.without(dest, fmt.Errorf("link it to %q: the file system cannot; it is a copy", p.dest))
	return nil
}
