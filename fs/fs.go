package fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// Content is an open file's bytes. ReadAt follows io.ReaderAt; it is called from several goroutines
// and returns early when ctx ends.
type Content interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
	// Complete tells whether every byte is on disk already, so that no read will wait for a tape.
	Complete() bool
	Close() error
}

// Opener brings content in.
type Opener interface {
	// Open opens a version for a user.
	Open(ctx context.Context, id catalog.ID, user uint32) (Content, error)
	// CachedBytes is how many bytes of a version are on disk, for st_blocks.
	CachedBytes(id catalog.ID) int64
}

// Options for a mount.
type Options struct {
	Owners     string // name, number or squash; "" is name
	AllowOther bool
	Debug      bool
	FsName     string // what mountinfo shows as the source; "" is tapefs
	NoExec     bool   // run no programs from here

	At           time.Time    // show the tree as it was then; zero: now
	HideVanished bool         // do not show what vanished from its source
	Log          *slog.Logger // nil: the default logger

	// Outside tells whether a tape is outside the library, from memory. Nil: none is known to be.
	Outside func(ctx context.Context, barcode string) bool
	// Deny names programs (patterns of path.Match) that may not open what is not on disk, DenyUIDs users.
	Deny     []string
	DenyUIDs []uint32
	// MaxWaiting bounds the reads of one user that are under way in files not wholly on disk; 0: no bound.
	MaxWaiting int
	Reports    []Report // files of the hidden folder /.tapefs
}

// Mount is a served file system.
type Mount struct {
	server  *fuse.Server
	stop    context.CancelFunc
	watched sync.WaitGroup
}

const (
	// cacheFor is how long the kernel may keep entries and attributes: content never changes, and
	// what the catalog adds is announced (news.go).
	cacheFor = time.Hour
	// dirBlockSize makes the kernel ask for directories in pieces of 1 MiB instead of 32 KiB.
	dirBlockSize = 1 << 20
	// maxRequest is the size of one read and of read-ahead.
	maxRequest = 1 << 20
	// maxBackground bounds requests that no process waits for itself, such as read-ahead.
	maxBackground = 64
)

// face answers the kernel. A FUSE node id is a catalog id; nothing is kept per inode.
type face struct {
	fuse.RawFileSystem
	db      *catalog.DB
	tree    *catalog.View // what is shown of it
	content Opener
	owners  *hostOwners
	log     *slog.Logger
	o       Options

	mu      sync.Mutex // guards the fields below
	handles map[uint64]handle
	last    uint64
	opened  map[uint32]int // handles, by the user who opened them
	waiting map[uint32]int // reads that may wait for a tape, by user

	allWaiting int // reads of all users

	deniedSaid sync.Map // names of programs that were denied a recall, and of which that is logged
}

// handle is an open file.
type handle struct {
	Content
	slow bool // it was not wholly on disk when it was opened
	user uint32
}

var _ fuse.RawFileSystem = (*face)(nil)

// Serve mounts the catalog at dir and returns when the kernel has answered a first request. End it
// with Unmount, or by umount from outside.
func Serve(ctx context.Context, dir string, db *catalog.DB, content Opener, o Options) (*Mount, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	mapped, err := newOwners(o.Owners)
	if err != nil {
		return nil, err
	}
	f := &face{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		db:            db, tree: db.View(o.At, o.HideVanished), content: content, owners: mapped, log: o.Log, o: o,
		handles: map[uint64]handle{}, opened: map[uint32]int{}, waiting: map[uint32]int{},
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	// Before the kernel can remember anything: no change may fall between its question and this point.
	n, err := f.begin(watch)
	if err != nil {
		stop()
		return nil, err
	}
	options, flags := []string{"ro", "nosuid", "nodev", "default_permissions"}, uintptr(unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV)
	if o.NoExec {
		options, flags = append(options, "noexec"), flags|unix.MS_NOEXEC
	}
	server, err := newServer(f, dir, &fuse.MountOptions{
		AllowOther: o.AllowOther,
		FsName:     cmp.Or(o.FsName, "tapefs"),
		Name:       "tapefs",
		Options:    options,
		// Root needs no fusermount, and then an error says what the kernel said.
		DirectMountStrict: os.Geteuid() == 0,
		MaxWrite:          maxRequest,
		MaxReadAhead:      maxRequest,
		// A dozen readers waiting for tapes must not stop the others.
		MaxBackground: maxBackground,
		// mmap of files that are read around the page cache; NFS handles that survive a remount.
		ExtraCapabilities:    fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_EXPORT_SUPPORT,
		EnableSymlinkCaching: true,
		// Answers are data. Tried with them first, a pipe costs four system calls a read and is given up then.
		DisableSplice:    true,
		DirectMountFlags: flags,
		Debug:            o.Debug,
		Logger:           fuseLogger(o.Log, o.Debug),
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("mount: %w", err)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		stop()
		return nil, errors.Join(fmt.Errorf("mount: %w", err), server.Unmount())
	}
	if err := setReadAhead(dir); err != nil {
		o.Log.Debug("reading ahead stays as the kernel has it", "dir", dir, "err", err)
	}
	m := &Mount{server: server, stop: stop}
	m.watched.Add(1)
	go func() {
		defer m.watched.Done()
		n.announce(watch, server)
	}()
	return m, nil
}

// newServer mounts. Root's way of it leaves /dev/fuse open in every program that is started later, and a mount whose process is
// killed then lives on in an ltfs: who looks at it hangs. So no program starts until the descriptor is closed on exec.
func newServer(f fuse.RawFileSystem, dir string, o *fuse.MountOptions) (*fuse.Server, error) {
	if !o.DirectMountStrict { // fusermount is a program, and its descriptor is closed on exec
		return fuse.NewServer(f, dir, o)
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	server, err := fuse.NewServer(f, dir, o)
	if err != nil {
		return nil, err
	}
	if err := closeFuseOnExec(); err != nil {
		return nil, errors.Join(fmt.Errorf("close /dev/fuse on exec: %w", err), server.Unmount())
	}
	return server, nil
}

// closeFuseOnExec makes programs that are started not inherit any descriptor of /dev/fuse.
func closeFuseOnExec() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range open {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to == "/dev/fuse" {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil && !errors.Is(err, unix.EBADF) {
				return err
			}
		}
	}
	return nil
}

// fuseLogger keeps go-fuse's own lines for debugging.
func fuseLogger(l *slog.Logger, debug bool) *log.Logger {
	if debug {
		return slog.NewLogLogger(l.Handler(), slog.LevelDebug)
	}
	return log.New(io.Discard, "", 0)
}

// Wait returns when the file system was unmounted, by Unmount or from outside.
func (m *Mount) Wait() error {
	m.server.Wait()
	m.stop()
	m.watched.Wait()
	return nil
}

// Unmount ends the mount; an open file in it makes it fail with EBUSY.
func (m *Mount) Unmount() error {
	if err := m.server.Unmount(); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

func (f *face) String() string { return "tapefs" }

// interrupted is a context that ends when the kernel says that the caller was interrupted. It costs
// no goroutine.
type interrupted struct {
	context.Context
	cancel <-chan struct{}
}

func withCancel(cancel <-chan struct{}) context.Context {
	return interrupted{context.Background(), cancel}
}

func (c interrupted) Done() <-chan struct{} { return c.cancel }

func (c interrupted) Err() error {
	select {
	case <-c.cancel:
		return context.Canceled
	default:
		return nil
	}
}
