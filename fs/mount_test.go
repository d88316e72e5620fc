package fs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestUsualTools(t *testing.T) {
	for _, complete := range []bool{false, true} {
		tr := newTree(t, complete)
		names := []string{"plain", "with space", "new\nline", "invalid\xff", "-dash", strings.Repeat("n", 255), "*?[x]"}
		ids := tr.add(tr.source.Root, 100_003, names...)
		sub := tr.mkdir(tr.source.Root, "sub")
		tr.mkdir(sub, "empty")
		tr.add(sub, 0, "nothing")
		big := tr.add(sub, 9<<20+17, "big")
		src := tr.serve()

		for i, name := range names {
			got, err := os.ReadFile(filepath.Join(src, name))
			if err != nil || !bytes.Equal(got, tr.content.bytes(ids[i])) {
				t.Errorf("complete %v: %q: %d bytes, %v", complete, name, len(got), err)
			}
		}
		if n := strings.Count(output(t, "find", src, "-print0"), "\x00"); n != len(names)+5 {
			t.Errorf("find sees %d entries", n)
		}
		output(t, "ls", "-lR", src)
		copied := filepath.Join(t.TempDir(), "copy")
		output(t, "cp", "-a", src, copied)
		if out := output(t, "rsync", "-aHnc", "--delete", "--itemize-changes", src+"/", copied+"/"); out != "" {
			t.Errorf("cp -a made something else: %s", out)
		}
		for _, flags := range []string{"-cf", "-cSf"} {
			tar := filepath.Join(t.TempDir(), "x.tar")
			output(t, "tar", flags, tar, "-C", src, ".")
			out := filepath.Join(t.TempDir(), "untar")
			if err := os.Mkdir(out, 0o755); err != nil {
				t.Fatal(err)
			}
			output(t, "tar", "-xpf", tar, "-C", out)
			if diff := output(t, "rsync", "-aHnc", "--delete", "--itemize-changes", src+"/", out+"/"); diff != "" {
				t.Errorf("tar %s made something else: %s", flags, diff)
			}
		}
		if out := output(t, "sh", "-c", `grep -rc zzzzzzzzzz "$0" | wc -l`, src); strings.TrimSpace(out) == "0" {
			t.Error("grep -r read nothing")
		}
		output(t, "df", src)
		f, err := os.Open(filepath.Join(src, "sub/big"))
		if err != nil {
			t.Fatal(err)
		}
		want := tr.content.bytes(big[0])
		places := []int64{0, 1, 4095, 4 << 20, int64(len(want)) - 1, int64(len(want)), int64(len(want)) + 1}
		for range 200 {
			places = append(places, rand.Int64N(int64(len(want))))
		}
		for _, at := range places {
			buf := make([]byte, 5000)
			n, err := f.ReadAt(buf, at)
			expected := want[min(at, int64(len(want))):min(at+int64(len(buf)), int64(len(want)))]
			if !bytes.Equal(buf[:n], expected) || (n < len(buf)) != errors.Is(err, io.EOF) {
				t.Errorf("read at %d: %d bytes, %v", at, n, err)
			}
		}
		f.Close() // a process that serves files must not hold them open while it starts another
		if got := mapped(t, f.Name()); got != fmt.Sprintf("%[1]x\n%[1]x", sha256.Sum256(want)) {
			t.Errorf("complete %v: mmap shows something else: %s", complete, got)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(src, "sub/big"), &st); err != nil || st.Blocks == 0 || st.Uid != 1 || st.Gid != 2 || st.Mtim.Nsec != 123456789 {
			t.Errorf("stat: %+v, %v", st, err)
		}
		if err := unix.Stat(filepath.Join(src, "sub/nothing"), &st); err != nil || st.Blocks != 0 {
			t.Errorf("stat of an empty file: %+v, %v", st, err)
		}
	}
}

// mapped is the SHA-256 of a file as a private and as a shared mmap show it, to another process: a page fault in the server's
// own would wait for a server that waits for the fault.
func mapped(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TAPEFS_TEST_MMAP="+path)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("mmap: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// printMapped prints the sums of a mapped file.
func printMapped(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for _, kind := range []int{unix.MAP_PRIVATE, unix.MAP_SHARED} {
		m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, kind)
		if err != nil {
			return err
		}
		fmt.Printf("%x\n", sha256.Sum256(m))
		if err := unix.Munmap(m); err != nil {
			return err
		}
	}
	return nil
}

func TestNothingCanBeChanged(t *testing.T) {
	tr := newTree(t, true)
	tr.add(tr.source.Root, 10, "file")
	tr.mkdir(tr.source.Root, "dir")
	src := tr.serve()
	file, dir := filepath.Join(src, "file"), filepath.Join(src, "dir")
	now := []unix.Timespec{{Sec: 1}, {Sec: 1}}
	for name, call := range map[string]func() error{
		"create":    func() error { _, err := unix.Open(file+"2", unix.O_CREAT|unix.O_WRONLY, 0o644); return err },
		"write":     func() error { _, err := unix.Open(file, unix.O_WRONLY, 0); return err },
		"readwrite": func() error { _, err := unix.Open(file, unix.O_RDWR, 0); return err },
		"append":    func() error { _, err := unix.Open(file, unix.O_WRONLY|unix.O_APPEND, 0); return err },
		"opentrunc": func() error { _, err := unix.Open(file, unix.O_RDONLY|unix.O_TRUNC, 0); return err },
		"truncate":  func() error { return unix.Truncate(file, 0) },
		"unlink":    func() error { return unix.Unlink(file) },
		"mkdir":     func() error { return unix.Mkdir(dir+"2", 0o755) },
		"rmdir":     func() error { return unix.Rmdir(dir) },
		"rename":    func() error { return unix.Rename(file, file+"2") },
		"link":      func() error { return unix.Link(file, file+"2") },
		"symlink":   func() error { return unix.Symlink(file, file+"2") },
		"mknod":     func() error { return unix.Mkfifo(file+"2", 0o644) },
		"chmod":     func() error { return unix.Chmod(file, 0o600) },
		"chown":     func() error { return unix.Lchown(file, 0, 0) },
		"utimes":    func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, file, now, 0) },
		"setxattr":  func() error { return unix.Setxattr(file, "user.x", []byte("x"), 0) },
		"creat":     func() error { _, err := unix.Creat(file, 0o644); return err },
		"excl":      func() error { _, err := unix.Open(file+"2", unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY, 0o644); return err },
		"tmpfile":   func() error { _, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o644); return err },
		"device":    func() error { return unix.Mknod(file+"2", unix.S_IFCHR|0o644, 0) },
		"exchange":  func() error { return unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE) },
		"noreplace": func() error {
			return unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, file+"2", unix.RENAME_NOREPLACE)
		},
		"move in": func() error { return unix.Rename(dir, filepath.Join(tr.dir, "dir")) },
		"source":  func() error { return unix.Mkdir(filepath.Join(tr.dir, "another"), 0o755) },
		"socket": func() error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Bind(fd, &unix.SockaddrUnix{Name: file + "2"})
		},
		"label":     func() error { return unix.Lsetxattr(file, "security.x", []byte("x"), 0) },
		"acl":       func() error { return unix.Setxattr(dir, "system.posix_acl_access", []byte("x"), 0) },
		"dir chmod": func() error { return unix.Chmod(dir, 0o700) },
		"dir times": func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, dir, now, 0) },
		"rmxattr":   func() error { return unix.Removexattr(file, "user.tapefs.version") },
	} {
		if err := call(); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v, want EROFS", name, err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || len(got) != 10 {
		t.Errorf("the file afterwards: %d bytes, %v", len(got), err)
	}
}

func TestXattrs(t *testing.T) {
	tr := newTree(t, true)
	ids := tr.add(tr.source.Root, 10, "file")
	src := tr.serve()
	for _, name := range []string{"user.tapefs.version", "user.tapefs.state"} {
		if out := output(t, "getfattr", "-n", name, "--absolute-names", filepath.Join(src, "file")); !strings.Contains(out, name+`="`) {
			t.Errorf("getfattr lacks %s:\n%s", name, out)
		}
	}
	// Listed, they would be asked for by whoever copies a tree, and written to the copies.
	if out := output(t, "getfattr", "-d", "-m", "-", "--absolute-names", filepath.Join(src, "file")); out != "" {
		t.Errorf("attributes are listed:\n%s", out)
	}
	buf := make([]byte, 100)
	if _, err := unix.Getxattr(filepath.Join(src, "file"), "user.other", buf); !errors.Is(err, unix.ENODATA) {
		t.Errorf("an unknown attribute: %v", err)
	}
	if _, err := unix.Getxattr(filepath.Join(src, "file"), "user.tapefs.version", buf[:1]); ids[0] > 9 && !errors.Is(err, unix.ERANGE) {
		t.Errorf("a buffer that is too small: %v", err)
	}
}

// A hundred readers wait for tapes: cached files, listings and df are served meanwhile. Each is interrupted at once by
// Ctrl-C or kill, and nothing is left behind.
func TestInterruptedRead(t *testing.T) {
	tr := newTree(t, false)
	tr.add(tr.source.Root, 1000, "waits")
	cached := tr.add(tr.source.Root, 3<<20, "cached")
	tr.content.block = make(chan struct{})
	src := tr.serve()
	var readers []*exec.Cmd
	for i := range 100 {
		cmd := exec.Command("cat", filepath.Join(src, "waits"))
		if i%2 == 0 {
			cmd = exec.Command("dd", "if="+filepath.Join(src, "waits"), "iflag=nonblock", "status=none") // as tar and grep -r open
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, cmd)
	}
	waitFor(t, "all wait", func() bool { return tr.content.reading.Load() == int64(len(readers)) })
	tr.content.complete.Store(true)
	for range 3 {
		output(t, "ls", "-lR", src)
		output(t, "df", src)
		if got := output(t, "cat", filepath.Join(src, "cached")); got != string(tr.content.bytes(cached[0])) {
			t.Errorf("a cached file beside them: %d bytes", len(got))
		}
	}
	if n := tr.content.reading.Load(); n != int64(len(readers)) {
		t.Errorf("%d of %d still wait", n, len(readers))
	}
	for i, cmd := range readers {
		cmd.Process.Signal([]os.Signal{os.Interrupt, syscall.SIGTERM, os.Kill}[i%3])
	}
	for _, cmd := range readers {
		if err := cmd.Wait(); err == nil {
			t.Error("a reader ended well although its bytes never came")
		}
	}
	waitFor(t, "no read is left", func() bool { return tr.content.reading.Load() == 0 })
	waitFor(t, "contents are closed", func() bool { return tr.content.opened.Load() == 0 })
	close(tr.content.block)
	if got, err := os.ReadFile(filepath.Join(src, "waits")); err != nil || len(got) != 1000 {
		t.Errorf("afterwards: %d bytes, %v", len(got), err)
	}
	if got := output(t, "dd", "if="+filepath.Join(src, "waits"), "iflag=nonblock", "status=none"); len(got) != 1000 {
		t.Errorf("O_NONBLOCK made a difference: %d bytes", len(got))
	}
}

// A listing goes on rightly while the catalog grows, and new names show without a remount.
func TestFreshWithoutRemount(t *testing.T) {
	tr := newTree(t, true)
	var names []string
	for i := range 3000 {
		names = append(names, "file "+strings.Repeat("x", i%50)+time.Duration(i).String())
	}
	tr.add(tr.source.Root, 1, names...)
	src := tr.serve()
	d, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	first, err := d.Readdirnames(100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(src, "late")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("late: %v", err)
	}
	if list, err := os.ReadDir(src); err != nil || len(list) != len(names) {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	late := tr.add(tr.source.Root, 7, "late")
	rest, err := d.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range append(first, rest...) {
		seen[name]++
	}
	for _, name := range names {
		if seen[name] != 1 {
			t.Fatalf("%q was listed %d times", name, seen[name])
		}
	}
	d.Close()
	waitFor(t, "the new name shows", func() bool {
		list, err := os.ReadDir(src)
		return err == nil && len(list) == len(names)+1
	})
	if info, err := os.Stat(filepath.Join(src, "late")); err != nil || info.Size() != 7 {
		t.Errorf("late: %v, %v", info, err)
	}
	old, err := os.Open(filepath.Join(src, "late"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	newer := tr.add(tr.source.Root, 9, "late")
	waitFor(t, "the new version shows", func() bool {
		info, err := os.Stat(filepath.Join(src, "late"))
		return err == nil && info.Size() == 9 && info.Sys().(*syscall.Stat_t).Ino == uint64(newer[0])
	})
	if got, err := io.ReadAll(old); err != nil || !bytes.Equal(got, tr.content.bytes(late[0])) {
		t.Errorf("the old handle reads %d bytes, %v", len(got), err)
	}
}

func TestParallelReaders(t *testing.T) {
	tr := newTree(t, false)
	ids := tr.add(tr.source.Root, 3<<20+1, "a", "b", "c")
	src := tr.serve()
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			k := i % 3
			got, err := os.ReadFile(filepath.Join(src, []string{"a", "b", "c"}[k]))
			if err != nil || !bytes.Equal(got, tr.content.bytes(ids[k])) {
				t.Errorf("reader %d: %d bytes, %v", i, len(got), err)
			}
		}()
	}
	wg.Wait()
}

func TestUnmountFromOutside(t *testing.T) {
	tr := newTree(t, true)
	tr.add(tr.source.Root, 10, "file")
	src := tr.serve()
	f, err := os.Open(filepath.Join(src, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.mount.Unmount(); err == nil {
		t.Error("unmounted although a file is open")
	}
	f.Close()
	waitFor(t, "umount", func() bool { return exec.Command("umount", tr.dir).Run() == nil })
	if err := tr.mount.Wait(); err != nil {
		t.Error(err)
	}
}

// A cached file that is read in small pieces, as most programs do, is asked for in large ones.
func TestReadsAhead(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root may set how much the kernel reads ahead")
		}
		t.Skip("only root may set how much the kernel reads ahead")
	}
	tr := newTree(t, true)
	id := tr.add(tr.source.Root, 24<<20, "film")[0]
	src := tr.serve()
	f, err := os.Open(filepath.Join(src, "film"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, make([]byte, 16<<10)); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(tr.content.bytes(id)); !bytes.Equal(h.Sum(nil), want[:]) {
		t.Error("other bytes came")
	}
	if n := tr.content.largest.Load(); n != 1<<20 {
		t.Errorf("the largest read has %d bytes, want 1 MiB", n)
	}
}
