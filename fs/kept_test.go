package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

var requestLine = regexp.MustCompile(`rx \d+: ([A-Z]+) [in](\d+)`)

// requests are the kernel's questions since it was last called, as "READ 17": what it asks of which node.
func (tr *tree) requests() map[string]int {
	asked := map[string]int{}
	for _, m := range requestLine.FindAllStringSubmatch(tr.log.take(), -1) {
		asked[m[1]+" "+m[2]]++
	}
	return asked
}

// lookAll lists a directory, asks for all attributes, and reads one file.
func lookAll(t *testing.T, dir, file string) []byte {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, e.Name()), &st); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What the kernel was told once it does not ask again: names, attributes and bytes, the latter also not after the file
// was closed. When something is archived, only the directory that got it is asked for.
func TestKernelKeepsWhatStays(t *testing.T) {
	tr := newTree(t, true)
	tr.debug = true
	var dirs, files []catalog.ID
	for _, name := range []string{"changes", "stays"} {
		dir := tr.mkdir(tr.source.Root, name)
		dirs = append(dirs, dir)
		files = append(files, tr.add(dir, 300_000, "one", "two", "three")[0])
	}
	src := tr.serve()
	changes, stays := filepath.Join(src, "changes"), filepath.Join(src, "stays")
	look := func() {
		t.Helper()
		for i, dir := range []string{changes, stays} {
			if got := lookAll(t, dir, "one"); !bytes.Equal(got, tr.content.bytes(files[i])) {
				t.Errorf("%s: %d bytes", dir, len(got))
			}
		}
	}
	look()
	asked := tr.requests()
	for _, want := range []string{fmt.Sprint("READDIRPLUS ", dirs[0]), fmt.Sprint("READDIRPLUS ", dirs[1]), fmt.Sprint("READ ", files[1])} {
		if asked[want] == 0 {
			t.Fatalf("the first look did not ask %s, only %v", want, asked)
		}
	}
	// kept looks, and tells whether the kernel asked only what it must: opening and closing. A kernel that reclaims memory gives
	// pages back as it likes, so where only bytes were asked for it is looked again: one look must do without.
	kept := func(when string, look func(), but ...string) {
		t.Helper()
		var beyond []string
		for range 20 {
			look()
			beyond = nil
			for what := range tr.requests() {
				var op string
				var node int
				if _, err := fmt.Sscan(what, &op, &node); err != nil {
					t.Fatal(err)
				}
				switch op {
				case "OPEN", "OPENDIR", "RELEASE", "RELEASEDIR", "FLUSH":
				default:
					if !slices.Contains(but, what) {
						beyond = append(beyond, what)
					}
				}
			}
			if len(beyond) == 0 {
				return
			}
			if slices.ContainsFunc(beyond, func(what string) bool { return !strings.HasPrefix(what, "READ ") }) {
				break
			}
		}
		t.Errorf("%s the kernel asked %s", when, strings.Join(beyond, ", "))
	}
	kept("the second time", look)

	tr.add(dirs[0], 5, "new")
	waitFor(t, "the new name shows", func() bool {
		list, err := listNames(changes)
		return err == nil && len(list) == 4
	})
	tr.requests()
	kept("of a directory that stayed as it was", func() {
		if got := lookAll(t, stays, "one"); !bytes.Equal(got, tr.content.bytes(files[1])) {
			t.Errorf("%d bytes", len(got))
		}
	})
	// The changed directory's own attributes go with its listing; its files stay.
	kept("of files in a directory that changed", func() { lookAll(t, changes, "one") }, fmt.Sprint("GETATTR ", dirs[0]), fmt.Sprint("READDIRPLUS ", dirs[0]), fmt.Sprint("LOOKUP ", dirs[0]))
}

// Reads around the end of a file, of an empty file, and of nothing.
func TestReadsAtTheEnd(t *testing.T) {
	for _, complete := range []bool{false, true} {
		tr := newTree(t, complete)
		sizes := []int64{0, 1, 4095, 4096, 4097, 1<<20 - 1, 1 << 20, 1<<20 + 1}
		var ids []catalog.ID
		for _, size := range sizes {
			ids = append(ids, tr.add(tr.source.Root, size, fmt.Sprint(size))[0])
		}
		src := tr.serve()
		for i, size := range sizes {
			f, err := os.Open(filepath.Join(src, fmt.Sprint(size)))
			if err != nil {
				t.Fatal(err)
			}
			want := tr.content.bytes(ids[i])
			for _, off := range []int64{0, size - 4097, size - 1, size, size + 1, size + 4096, 1 << 62} {
				for _, length := range []int{0, 1, 2, 4096, 1<<20 + 1} {
					if off < 0 {
						continue
					}
					buf := make([]byte, length)
					n, err := unix.Pread(int(f.Fd()), buf, off)
					expected := want[min(off, size):min(off+int64(length), size)]
					if off > size {
						expected = nil
					}
					if err != nil || !bytes.Equal(buf[:n], expected) {
						t.Errorf("complete %v: %d bytes at %d of %d: %d, %v", complete, length, off, size, n, err)
					}
				}
			}
			if _, err := unix.Pread(int(f.Fd()), make([]byte, 1), -1); !errors.Is(err, unix.EINVAL) {
				t.Errorf("before the beginning: %v", err)
			}
			if end, err := f.Seek(0, io.SeekEnd); err != nil || end != size {
				t.Errorf("the end of %d is at %d, %v", size, end, err)
			}
			f.Close()
		}
	}
}
