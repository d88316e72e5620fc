package removal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
)

// Wanted is a file or symlink as it must be to be taken away.
type Wanted struct {
	Path   string // below the source's top
	Aside  string // a name that nothing has, in the same directory
	Kind   catalog.Kind
	Size   int64
	MTime  catalog.Time
	SHA256 []byte // of a file
	Target string // of a symlink
}

// Why something was not taken away.
var (
	ErrGone     = errors.New("it is not there any more")
	ErrChanged  = errors.New("it is not the file that was archived")
	ErrInUse    = errors.New("somebody has it open for writing")
	ErrNoLease  = errors.New("nobody can tell whether somebody writes to it: its file system, or this user's rights, allow no lease on it")
	ErrLeftOver = errors.New("it was put aside, and something else has its name now")
)

// exchanging is called between the proof of a file and its renaming. Tests change the file there.
var exchanging = func() {}

// Place is a source's top directory. Not safe for concurrent use; closed by Close.
type Place struct{ tree *localfs.Tree }

// Open opens a source's top directory.
func Open(dir string) (*Place, error) {
	tree, err := localfs.OpenTree(dir)
	if err != nil {
		return nil, err
	}
	return &Place{tree}, nil
}

// Close closes what is open.
func (p *Place) Close() { p.tree.Close() }

// Take removes a file or symlink, if it is still what is wanted. An error that is none of this package's says that the system refused.
// Whatever happens, what was not removed has its name again, or ErrLeftOver says that it lies aside.
func (p *Place) Take(ctx context.Context, w Wanted) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir, name, err := p.directory(w.Path)
	if err != nil {
		return gone(err)
	}
	defer dir.Close()
	at := int(dir.Fd())
	switch w.Kind {
	case catalog.File:
		return takeFile(ctx, at, name, w)
	case catalog.Symlink:
		return takeLink(at, name, w)
	}
	return fmt.Errorf("%w: only files and symlinks are taken away", ErrChanged)
}

func (p *Place) directory(path string) (dir *os.File, name string, err error) {
	parent, name := localfs.SplitPath(path)
	if !localfs.ProperPath(name) {
		return nil, name, fmt.Errorf("%w: %q is no name", ErrChanged, name)
	}
	dir, err = p.tree.OpenDir(parent)
	return dir, name, err
}

func takeFile(ctx context.Context, at int, name string, w Wanted) error {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return gone(err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() // gives the lease back, too
	var was, now unix.Stat_t
	if err := unix.Fstat(fd, &was); err != nil {
		return err
	}
	if was.Mode&unix.S_IFMT != unix.S_IFREG || !looksLike(&was, w) {
		return ErrChanged
	}
	if err := lease(fd); err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, &canceledReader{ctx, f}); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	if !bytes.Equal(sum.Sum(nil), w.SHA256) {
		return fmt.Errorf("%w: its SHA-256 is another", ErrChanged)
	}
	if err := unix.Fstat(fd, &now); err != nil {
		return err
	}
	if now.Ctim != was.Ctim || !looksLike(&now, w) || !leased(fd) {
		return ErrChanged
	}
	exchanging()
	if err := putAside(at, name, w.Aside); err != nil {
		return err
	}
	err = unix.Fstatat(at, w.Aside, &now, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && (now.Ino != was.Ino || now.Dev != was.Dev || !looksLike(&now, w)) {
		err = ErrChanged
	}
	if err == nil && !leased(fd) {
		err = ErrInUse
	}
	return removeAside(at, name, w.Aside, err)
}

func takeLink(at int, name string, w Wanted) error {
	var was, now unix.Stat_t
	if err := unix.Fstatat(at, name, &was, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return gone(err)
	}
	if was.Mode&unix.S_IFMT != unix.S_IFLNK || timeOf(&was) != w.MTime {
		return ErrChanged
	}
	if err := putAside(at, name, w.Aside); err != nil {
		return err
	}
	target, err := readlinkat(at, w.Aside)
	if err == nil {
		err = unix.Fstatat(at, w.Aside, &now, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err == nil && (target != w.Target || now.Ino != was.Ino || now.Dev != was.Dev) {
		err = ErrChanged
	}
	return removeAside(at, name, w.Aside, err)
}

// putAside renames without replacing anything. A file system that cannot do that takes no files away.
func putAside(at int, name, aside string) error {
	err := unix.Renameat2(at, name, at, aside, unix.RENAME_NOREPLACE)
	if err != nil && !errors.Is(gone(err), ErrGone) {
		return fmt.Errorf("rename it aside: %w", err)
	}
	job.Failpoint("removal-aside")
	return gone(err)
}

// removeAside removes what was put aside or, where something speaks against it, gives it its name back.
func removeAside(at int, name, aside string, against error) error {
	if against == nil {
		if against = unix.Unlinkat(at, aside, 0); against == nil {
			job.Failpoint("removal-gone")
			return nil
		}
	}
	return errors.Join(against, bringBack(at, name, aside))
}

func bringBack(at int, name, aside string) error {
	err := unix.Renameat2(at, aside, at, name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: it is %s", ErrLeftOver, aside)
	}
	if err != nil {
		return fmt.Errorf("give %s its name back: %w", aside, err)
	}
	return nil
}

// Found is what Recover found of a removal that was cut short.
type Found int

const (
	Removed Found = iota // neither name is there: it was proved, and removed
	Kept                 // it has its name, or has it again
)

// Recover looks what became of a removal whose process died. What lies aside gets its name back; ErrLeftOver when that is taken.
func (p *Place) Recover(path, aside string) (Found, error) {
	dir, name, err := p.directory(path)
	if errors.Is(gone(err), ErrGone) {
		return Removed, nil // with its directory
	}
	if err != nil {
		return Kept, err
	}
	defer dir.Close()
	at := int(dir.Fd())
	var st unix.Stat_t
	switch err := unix.Fstatat(at, aside, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil:
		return Kept, bringBack(at, name, aside)
	case !errors.Is(err, unix.ENOENT):
		return Kept, err
	}
	err = unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return Removed, nil
	}
	return Kept, err
}

// lease takes a read lease: it is refused while anybody has the file open for writing, and taken back when somebody wants to.
func lease(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN):
		return ErrInUse
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EACCES), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w", ErrNoLease, err)
	}
	return fmt.Errorf("take a lease on it: %w", err)
}

// leased reports whether nobody has asked to write since the lease was taken.
func leased(fd int) bool {
	kind, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0)
	return err == nil && kind == unix.F_RDLCK
}

func looksLike(st *unix.Stat_t, w Wanted) bool {
	return st.Size == w.Size && timeOf(st) == w.MTime
}

func timeOf(st *unix.Stat_t) catalog.Time {
	return catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}
}

// gone says ErrGone of what is not there, or not reached without a symlink.
func gone(err error) error {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
	}
	return err
}

func readlinkat(at int, name string) (string, error) {
	buf := make([]byte, 1<<16) // a target has 4095 bytes at most
	n, err := unix.Readlinkat(at, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// canceledReader ends a long reading when its context does.
type canceledReader struct {
	ctx context.Context
	in  io.Reader
}

func (r *canceledReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}
