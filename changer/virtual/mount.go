package virtual

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// mountedFS is a volume that the kernel shows at a directory.
type mountedFS struct {
	dir    string
	server *fuse.Server
	direct bool // mounted by us, not by fusermount
}

// mountVolume mounts as LTFS does: type fuse, source ltfs:DEVICE. Root mounts by itself, because go-fuse
// would give the type a suffix; others need fusermount.
func mountVolume(v *volume, device, dir string) (*mountedFS, error) {
	root := &fsNode{v: v, n: v.root}
	// Without readdirplus, as the FUSE of LTFS: a listing asks for no attributes.
	second := time.Second
	options := &fusefs.Options{EntryTimeout: &second, AttrTimeout: &second, RootStableAttr: &fusefs.StableAttr{Ino: 1, Gen: 1},
		MountOptions: fuse.MountOptions{FsName: "ltfs:" + device, MaxWrite: 1 << 20, MaxReadAhead: 1 << 20,
			SyncRead: true, DisableReadDirPlus: true, AllowOther: os.Geteuid() == 0, Options: []string{"default_permissions"}}}
	if v.ro {
		options.MountOptions.Options = append(options.MountOptions.Options, "ro")
	}
	mnt := &mountedFS{dir: dir}
	at := dir
	if os.Geteuid() == 0 {
		fd, err := mountDirectly(device, dir, v.ro)
		if err != nil {
			return nil, err
		}
		at = fmt.Sprintf("/dev/fd/%d", fd)
		mnt.direct = true
	}
	var err error
	if mnt.server, err = fusefs.Mount(at, root, options); err != nil {
		if mnt.direct {
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		}
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	return mnt, nil
}

func mountDirectly(device, dir string, ro bool) (int, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return 0, err
	}
	if !st.IsDir() {
		return 0, fmt.Errorf("mount %s: %w", dir, syscall.ENOTDIR)
	}
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open /dev/fuse: %w", err)
	}
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if ro {
		flags |= syscall.MS_RDONLY
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", fd)
	if err := syscall.Mount("ltfs:"+device, dir, "fuse", flags, data); err != nil {
		syscall.Close(fd)
		return 0, fmt.Errorf("mount %s: %w", dir, err)
	}
	return fd, nil
}

func (m *mountedFS) unmount() error {
	if !m.direct {
		return m.server.Unmount()
	}
	return syscall.Unmount(m.dir, 0)
}

// asyncDelay is how long HPE's timer thread takes to begin with an index that it was woken for.
const asyncDelay = 300 * time.Millisecond

// serve returns when the volume is unmounted. A signal unmounts it, lazily when it is in use.
func (m *mountedFS) serve(v *volume, every time.Duration, signals <-chan os.Signal) {
	done := make(chan struct{})
	go func() {
		m.server.Wait()
		close(done)
	}()
	var tick <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-done:
			return
		case <-v.wake:
			time.Sleep(v.faults().duration("late-index", asyncDelay))
			if errno := v.sync("Periodic Sync"); errno != 0 {
				v.msgs.raw("ltfs: sync: %v", errno) // and whoever asked for it never hears of it
			}
		case <-tick:
			if errno := v.sync("Periodic Sync"); errno != 0 {
				v.msgs.raw("ltfs: periodic sync: %v", errno)
			}
		case <-signals:
			if m.unmount() != nil {
				_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
				return
			}
			<-done
			return
		}
	}
}

// clean takes away data files that the index does not know: an ltfs that was killed left them.
func (v *volume) clean() {
	if v.ro {
		return
	}
	known := map[string]bool{}
	eachFile(v.root, func(n *node) { known[n.data] = true })
	_ = filepath.WalkDir(v.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && !known[strings.TrimPrefix(path, v.dir+"/")] {
			_ = os.Remove(path)
		}
		return nil
	})
}
