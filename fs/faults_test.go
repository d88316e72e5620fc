package fs_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall"
)

// What goes wrong below is told to readers by one errno, and to the operator by its cause.
func TestErrors(t *testing.T) {
	tr := newTree(t, false)
	tr.add(tr.source.Root, 10, "file")
	path := filepath.Join(tr.serve(), "file")
	missing := &os.PathError{Op: "open", Path: "/cache/xyz", Err: syscall.ENOENT}
	for _, c := range []struct {
		err  error
		want syscall.Errno
		told bool
	}{
		{recall.ErrOffline, syscall.ENOMEDIUM, true},
		{recall.ErrDamaged, syscall.EIO, true},
		{recall.ErrNoBytes, syscall.EIO, true},
		{recall.ErrNoKey, syscall.EACCES, true},
		{missing, syscall.EIO, true},
		{errors.New("something else"), syscall.EIO, true},
		{catalog.ErrNotFound, syscall.ENOENT, false},
	} {
		wrapped := fmt.Errorf("read version 7: %w", c.err)
		for _, failing := range []struct{ open, read error }{{open: wrapped}, {read: wrapped}} {
			tr.content.fail(failing.open, failing.read)
			_, err := os.ReadFile(path)
			if !errors.Is(err, c.want) {
				t.Errorf("%v: %v, want %v", failing, err, c.want)
			}
			if log := tr.log.take(); strings.Contains(log, c.err.Error()) != c.told {
				t.Errorf("%v: the log says %q", failing, log)
			}
		}
	}
	tr.content.fail(nil, nil)
	if got, err := os.ReadFile(path); err != nil || len(got) != 10 {
		t.Errorf("afterwards: %d bytes, %v", len(got), err)
	}
}

// A catalog that holds nonsense costs the files it is said of, and nothing else.
func TestNonsenseInCatalog(t *testing.T) {
	tr := newTree(t, true)
	ids := tr.add(tr.source.Root, 10, "size", "kind", "inode", "links", "good")
	raw, err := sql.Open("sqlite", tr.path())
	if err != nil {
		t.Fatal(err)
	}
	for i, change := range []string{"size = -5", "kind = 9", "inode = -1", "nlink = 0"} {
		if _, err := raw.Exec(`UPDATE version SET `+change+` WHERE id = ?`, ids[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	src := tr.serve()
	for range 2 { // by lookup, then after readdirplus
		for _, name := range []string{"size", "kind", "inode"} {
			if _, err := os.Lstat(filepath.Join(src, name)); !errors.Is(err, syscall.EIO) {
				t.Errorf("%s: %v, want EIO", name, err)
			}
		}
		for _, name := range []string{"links", "good"} {
			if got, err := os.ReadFile(filepath.Join(src, name)); err != nil || len(got) != 10 {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		names, err := listNames(src)
		if slices.Sort(names); err != nil || !slices.Equal(names, []string{"good", "inode", "kind", "links", "size"}) {
			t.Errorf("listing: %q, %v", names, err)
		}
	}
}

func listNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// dirent is what getdents says of one name.
type dirent struct {
	name   string
	cookie int64 // of the next one
}

func dirents(t *testing.T, d *os.File) []dirent {
	t.Helper()
	var list []dirent
	for buf := make([]byte, 8192); ; {
		n, err := unix.Getdents(int(d.Fd()), buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return list
		}
		for b := buf[:n]; len(b) > 0; b = b[binary.NativeEndian.Uint16(b[16:]):] {
			name, _, _ := bytes.Cut(b[19:binary.NativeEndian.Uint16(b[16:])], []byte{0})
			list = append(list, dirent{string(name), int64(binary.NativeEndian.Uint64(b[8:]))})
		}
	}
}

// Positions that telldir gave stay right while names come and go.
func TestSeekdir(t *testing.T) {
	tr := newTree(t, true)
	var names []string
	count := 10_000
	if testing.Short() {
		count = 1000
	}
	for i := range count {
		names = append(names, fmt.Sprintf("file %05d", i))
	}
	tr.add(tr.source.Root, 1, names...)
	src := tr.serve()
	d, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	list := dirents(t, d)
	if len(list) != len(names)+2 || list[0].name != "." || list[1].name != ".." {
		t.Fatalf("%d entries, %v", len(list), list[:2])
	}
	for i, e := range list[2:] {
		if e.name != names[i] {
			t.Fatalf("entry %d is %q", i, e.name)
		}
	}
	tr.add(tr.source.Root, 2, "file 00007") // a new version goes to the end
	tr.add(tr.source.Root, 1, "late")
	waitFor(t, "the new name shows", func() bool {
		list, err := listNames(src)
		return err == nil && len(list) == len(names)+1
	})
	for _, at := range []int{0, 1, 2, 5, count / 2, count - 1, count} {
		if _, err := unix.Seek(int(d.Fd()), list[at].cookie, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(list[at+1:]), func(e dirent) bool { return e.name == "file 00007" })
		want = append(want, dirent{name: "file 00007"}, dirent{name: "late"})
		if got := dirents(t, d); !slices.EqualFunc(got, want, func(a, b dirent) bool { return a.name == b.name }) {
			t.Errorf("after seeking to entry %d: %d entries, want %d", at, len(got), len(want))
		}
	}
}

// A handle that was opened while bytes were missing and one of later read the same.
func TestMixedHandles(t *testing.T) {
	tr := newTree(t, false)
	ids := tr.add(tr.source.Root, 3<<20+5, "file")
	path := filepath.Join(tr.serve(), "file")
	early, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	half := make([]byte, 1<<20)
	if _, err := early.ReadAt(half, 0); err != nil {
		t.Fatal(err)
	}
	tr.content.complete.Store(true)
	late, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	want := tr.content.bytes(ids[0])
	var wg sync.WaitGroup
	for _, f := range []*os.File{early, late, early, late} {
		wg.Go(func() {
			got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<40))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
}

// Every content that was opened is closed, and leaves no descriptor.
func TestNothingStaysOpen(t *testing.T) {
	tr := newTree(t, false)
	tr.add(tr.source.Root, 100, "a", "b", "c", "d")
	src := tr.serve()
	read := func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 50 {
					if _, err := os.ReadFile(filepath.Join(src, "abcd"[i%4:i%4+1])); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		waitFor(t, "contents are closed", func() bool { return tr.content.opened.Load() == 0 })
	}
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	read() // opens what is kept: the catalog's connections
	before := descriptors()
	read()
	// The catalog may have opened some more connections by then; what an open file leaves comes 400 times.
	if after := descriptors(); after > before+100 {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
