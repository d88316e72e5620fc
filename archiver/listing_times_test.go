package archiver

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tapefs/archiver/extsort"
)

// timesOf lists a directory by way of a daemon and returns what it says of files' times.
func timesOf(t *testing.T, dir string, seen func(e listEntry)) listStats {
	t.Helper()
	f := newFront(t, 1<<30)
	into := &extsort.Sorter{Dir: t.TempDir()}
	defer into.Close()
	src := Source{Name: "media", URL: startDaemon(t, dir, "use chroot = no")}
	at, err := parseURL(src.URL)
	ok(t, err)
	var st listStats
	ok(t, f.list(t.Context(), 0, src, at, into, &st))
	ok(t, into.Sort())
	l, err := newListed(into, nil)
	ok(t, err)
	for l.ok {
		seen(l.head)
		ok(t, l.advance())
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
	st := timesOf(t, dir, func(e listEntry) {
		if e.kind != 1 {
			return
		}
		files++
		if !e.exact {
			t.Errorf("%q: no exact time", e.path)
		}
		if w, known := want[e.path]; known && (e.mtime != w.Sec || int64(e.nsec) != w.Nsec) {
			t.Errorf("%q: %d.%09d, want %d.%09d", e.path, e.mtime, e.nsec, w.Sec, w.Nsec)
		}
	})
	if files != len(want)+3000+1 || st.Seconds {
		t.Errorf("%d files, seconds only %v", files, st.Seconds)
	}
}

// What an old or a hostile rsync sends is an error, never a panic, and costs little.
func TestReadTimesRefuses(t *testing.T) {
	head := "\x00\x00\x00\x00\x20\x00\x00\x00\x80\xff\x00\x00\x00\x00" // protocol 32, flags as numbers, one list after the other
	for name, text := range map[string]string{
		"nothing":            "",
		"half a header":      head[:6],
		"no end":             head,
		"longer than before": head + "\x20\x09\x01a",
		"a huge name":        head + "\x40\xef\xff\xff\xff\xff",
		"a number too long":  head + "\x18\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"an index":           strings.Replace(head, "\x80\xff", "\x81\xff", 1) + "\x00\x00\x05",
	} {
		into := &extsort.Sorter{Dir: t.TempDir()}
		if err := readTimes(bufio.NewReader(strings.NewReader(text)), into); err == nil {
			t.Errorf("%s: no error", name)
		}
		into.Close()
	}
	for _, protocol := range []string{"\x1d", "\x1e"} {
		err := readTimes(bufio.NewReader(strings.NewReader(strings.Replace(head, "\x20", protocol, 1))), &extsort.Sorter{Dir: t.TempDir()})
		if !errors.Is(err, errSecondsOnly) {
			t.Errorf("protocol %q: %v", protocol, err)
		}
	}
}

func FuzzReadTimes(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x20\x00\x00\x00\x81\xff\x00\x00\x00\x00\x98\x20\x01a\x00\x00\x02\x00\x00\x00\x05\xa4\x81\x00\x00\x00\x00\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		into := &extsort.Sorter{Dir: t.TempDir()}
		defer into.Close()
		_ = readTimes(bufio.NewReader(bytes.NewReader(data)), into)
	})
}
