package fs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs"
)

// Hard-linked names are one inode, links say where they point, and times before 1970 stay.
func TestLinks(t *testing.T) {
	tr := newTree(t, true)
	root := tr.source.Root
	target := "../no\xff where/" + strings.Repeat("x", 2000)
	ids := tr.record([]catalog.NewVersion{
		{Parent: root, Name: "one", Kind: catalog.File, Size: 70_000},
		{Parent: root, Name: "two", Kind: catalog.File, Size: 70_000},
		{Parent: root, Name: "link", Kind: catalog.Symlink},
	}, func(f []catalog.Fetched) {
		for i := range f[:2] {
			f[i].Inode, f[i].Nlink = f[0].Version, 2
			f[i].Mode, f[i].MTime = 0o4755, catalog.Time{Sec: -86400, Nsec: 7}
		}
		f[2].Target, f[2].Size = target, int64(len(target))
	})
	src := tr.serve()
	for _, listed := range []bool{false, true} { // by lookup, then by readdirplus
		if listed {
			output(t, "ls", "-l", src)
		}
		for _, name := range []string{"one", "two"} {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(src, name), &st); err != nil {
				t.Fatal(err)
			}
			if st.Ino != uint64(ids[0]) || st.Nlink != 2 || st.Size != 70_000 || st.Mode != unix.S_IFREG|0o4755 || st.Mtim.Sec != -86400 || st.Mtim.Nsec != 7 {
				t.Errorf("%s: %+v", name, st)
			}
			if got, err := os.ReadFile(filepath.Join(src, name)); err != nil || !bytes.Equal(got, tr.content.bytes(ids[0])) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if got, err := os.Readlink(filepath.Join(src, "link")); err != nil || got != target {
			t.Errorf("link: %q, %v", got, err)
		}
	}
	copied := filepath.Join(t.TempDir(), "copy")
	output(t, "cp", "-a", src, copied)
	if out := output(t, "rsync", "-aHnc", "--delete", "--itemize-changes", src+"/", copied+"/"); out != "" {
		t.Errorf("cp -a made something else: %s", out)
	}
	one, err1 := os.Lstat(filepath.Join(copied, "one"))
	two, err2 := os.Lstat(filepath.Join(copied, "two"))
	if err1 != nil || err2 != nil || !os.SameFile(one, two) {
		t.Errorf("the copies are not linked: %v, %v", err1, err2)
	}
}

// How the mount shows itself: mountinfo, df, and what a directory says of itself.
func TestMountItself(t *testing.T) {
	tr := newTree(t, true)
	tr.add(tr.source.Root, 5000, "a", "b")
	src := tr.serve()
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(info)) {
		if !strings.Contains(line, " "+tr.dir+" ") {
			continue
		}
		for _, want := range []string{" - fuse.tapefs tapefs ", "ro,", "nosuid", "nodev", "default_permissions"} {
			if !strings.Contains(line, want) {
				t.Errorf("the mount lacks %q: %s", want, line)
			}
		}
	}
	var sfs unix.Statfs_t
	if err := unix.Statfs(src, &sfs); err != nil {
		t.Fatal(err)
	}
	if used := int64(sfs.Blocks-sfs.Bfree) * sfs.Frsize; used < 10_000 || used >= 10_000+sfs.Frsize || sfs.Bavail != 0 || sfs.Files != 2 || sfs.Namelen != 255 {
		t.Errorf("statfs: %+v", sfs)
	}
	var st, up unix.Stat_t
	if err := errors.Join(unix.Stat(src, &st), unix.Stat(filepath.Join(src, ".."), &up)); err != nil {
		t.Fatal(err)
	}
	if st.Nlink != 1 || st.Blksize != 1<<20 || st.Ino != uint64(tr.source.Root) || up.Ino != uint64(catalog.Root) {
		t.Errorf("directory: %+v, its parent: %+v", st, up)
	}
	if err := unix.Stat(filepath.Join(src, "a"), &st); err != nil || st.Blksize == 1<<20 {
		t.Errorf("a file's block size: %d, %v", st.Blksize, err)
	}
}

// Files have no holes, and what is not there cannot be sought.
func TestSeekForHoles(t *testing.T) {
	tr := newTree(t, true)
	tr.add(tr.source.Root, 10_000, "file")
	f, err := os.Open(filepath.Join(tr.serve(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		off    int64
		whence int
		want   int64
		err    error
	}{
		{0, unix.SEEK_DATA, 0, nil}, {9_999, unix.SEEK_DATA, 9_999, nil}, {0, unix.SEEK_HOLE, 10_000, nil},
		{10_000, unix.SEEK_DATA, 0, unix.ENXIO}, {10_000, unix.SEEK_HOLE, 0, unix.ENXIO}, {-1, unix.SEEK_END, 9_999, nil},
	} {
		got, err := unix.Seek(int(f.Fd()), c.off, c.whence)
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("seek(%d, %d): %d, %v", c.off, c.whence, got, err)
		}
	}
}

// Programs that ask each file for what no file here has are told once that it does not exist here.
func TestForeignXattrs(t *testing.T) {
	tr := newTree(t, true)
	tr.add(tr.source.Root, 10, "file")
	file := filepath.Join(tr.serve(), "file")
	for _, name := range []string{"system.posix_acl_access", "security.capability", "trusted.x"} {
		if _, err := unix.Getxattr(file, name, make([]byte, 100)); !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Handles that NFS keeps survive a remount; those of what never was are stale.
func TestHandlesSurviveRemount(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root opens by handle")
		}
		t.Skip("only root opens by handle")
	}
	tr := newTree(t, true)
	sub := tr.mkdir(tr.source.Root, "sub")
	ids := tr.add(sub, 1000, "file")
	src := tr.serve()
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(src, "sub/file"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.mount.Unmount(); err != nil {
		t.Fatal(err)
	}
	tr.serve()
	mount, err := os.Open(tr.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer mount.Close()
	fd, err := unix.OpenByHandleAt(int(mount.Fd()), handle, unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "by handle")
	defer f.Close()
	got := make([]byte, 1000)
	if n, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, tr.content.bytes(ids[0])) {
		t.Errorf("by handle: %d bytes, %v", n, err)
	}
	bytes := handle.Bytes()
	for i := range 8 { // the node id is at the start
		bytes[i] = 0
	}
	bytes[2] = 0x7f
	if fd, err := unix.OpenByHandleAt(int(mount.Fd()), unix.NewFileHandle(handle.Type(), bytes), unix.O_RDONLY); !errors.Is(err, unix.ESTALE) {
		unix.Close(fd)
		t.Errorf("a handle of nothing: %v", err)
	}
}

// signalledFiles is how many files are asked for while signals come in: an answer takes longer than
// the time between two of them.
const signalledFiles = 300

// The folder of reports is in no listing, and tools that look at it find nothing odd.
func TestReports(t *testing.T) {
	tr := newTree(t, true)
	tr.add(tr.source.Root, 10, "file")
	times := 0
	tr.reports = []fs.Report{{Name: "count", Text: func(context.Context, uint32) ([]byte, error) {
		times++
		return fmt.Appendf(nil, "read %d\n", times), nil
	}}}
	tr.serve()
	if names, err := listNames(tr.dir); err != nil || !slices.Equal(names, []string{"src"}) {
		t.Errorf("the root lists %q, %v", names, err)
	}
	dir := filepath.Join(tr.dir, ".tapefs")
	if names, err := listNames(dir); err != nil || !slices.Equal(names, []string{"count"}) {
		t.Errorf("the folder lists %q, %v", names, err)
	}
	output(t, "ls", "-la", dir)
	if out := output(t, "getfattr", "-d", "--absolute-names", filepath.Join(dir, "count")); out != "" {
		t.Errorf("attributes of a report: %s", out)
	}
	for i := range 3 {
		want := fmt.Sprintf("read %d\n", i+1)
		if got := output(t, "cat", filepath.Join(dir, "count")); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "other")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a report that is not there: %v", err)
	}
}

// A signal that a program handles does not make the quick calls fail.
func TestSignalsDisturbNothing(t *testing.T) {
	tr := newTree(t, true)
	var names []string
	for i := range signalledFiles {
		names = append(names, fmt.Sprintf("file %d", i))
	}
	tr.add(tr.source.Root, 10, names...)
	src := tr.serve()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TAPEFS_TEST_SIGNALS="+src)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// askUnderSignals asks for names and attributes while signals hit the asking thread.
func askUnderSignals(dir string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	runtime.LockOSThread()
	thread := unix.Gettid()
	done := make(chan struct{})
	var hail sync.WaitGroup
	hail.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				unix.Tgkill(os.Getpid(), thread, syscall.SIGUSR1)
			}
		}
	})
	defer hail.Wait()
	defer close(done)
	value := make([]byte, 100)
	for i := range signalledFiles {
		path := filepath.Join(dir, fmt.Sprintf("file %d", i))
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return fmt.Errorf("stat %s: %w", path, err)
		}
		if _, err := unix.Getxattr(path, "user.tapefs.version", value); err != nil {
			return fmt.Errorf("getxattr %s: %w", path, err)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		unix.Close(fd)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			return fmt.Errorf("list %s: %w", dir, err)
		}
		if n == 0 {
			return nil
		}
	}
}
