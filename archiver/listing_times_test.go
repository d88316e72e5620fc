package archiver

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/source"
)

// timesOf lists a directory by way of a daemon and returns what it says of files' times.
func timesOf(t *testing.T, dir string, seen func(e source.Entry)) source.Stats {
	t.Helper()
	f := newFront(t, 1<<30)
	into := &extsort.Sorter{Dir: t.TempDir()}
	defer into.Close()
	src := Source{Name: "media", URL: startDaemon(t, dir, "use chroot = no")}
	at, err := source.ParseAddress(src.URL)
	ok(t, err)
	var st source.Stats
	ok(t, source.List(t.Context(), f.env, 0, src, at, into, &st))
	ok(t, into.Sort())
	l, err := source.NewListed(into, nil)
	ok(t, err)
	for l.Ok {
		seen(l.Head)
		ok(t, l.Advance())
	}
	return st
}

// A listing by rsync tells the times of files to the nanosecond, whatever they are called and however deep they lie.
func TestListingHasNanoseconds(t *testing.T) {
	dir := t.TempDir()
	want := map[string]unix.Timespec{}
	for i, name := range []string{"a", "a.b", "a b\n", "d/x", "d/\xff\xfe", "d/e/f/" + strings.Repeat("n", 250), "d/e/y", "z/" + strings.Repeat("é", 100)} {
		path := filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
		ok(t, os.WriteFile(path, bytes.Repeat([]byte("x"), i*70000), 0o644))
		times := unix.Timespec{Sec: int64(i-3) * 300_000_000, Nsec: int64(i) * 123456789 % 1e9}
		ok(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{times, times}, 0))
		want[name] = times
	}
	for i := range 3000 { // directories enough that rsync sends their lists one by one
		path := filepath.Join(dir, "many", strings.Repeat("m", i%7), "s", string(rune('a'+i%26)), time.Unix(int64(i), 0).Format("150405"))
		ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
		ok(t, os.WriteFile(path, nil, 0o600))
	}
	ok(t, os.Symlink("a", filepath.Join(dir, "link")))
	ok(t, os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "d", "a2")))
	ok(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	files := 0
	st := timesOf(t, dir, func(e source.Entry) {
		if e.Kind != 1 {
			return
		}
		files++
		if !e.Exact {
			t.Errorf("%q: no exact time", e.Path)
		}
		if w, known := want[e.Path]; known && (e.Mtime != w.Sec || int64(e.Nsec) != w.Nsec) {
			t.Errorf("%q: %d.%09d, want %d.%09d", e.Path, e.Mtime, e.Nsec, w.Sec, w.Nsec)
		}
	})
	if files != len(want)+3000+1 || st.Seconds {
		t.Errorf("%d files, seconds only %v", files, st.Seconds)
	}
}
