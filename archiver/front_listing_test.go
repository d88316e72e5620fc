package archiver

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapefs/archiver/extsort"
	"tapefs/archiver/localfs"
	"tapefs/catalog"
)

var parseCases = []struct {
	line string // as rsync 3.5.0 printed it
	want listEntry
}{
	{`cd+++++++++ 4096 rwxr-xr-x 0 0 2026/11/23-02:24:54 .///`, listEntry{kind: catalog.Directory, mode: 0o755, mtime: 1795400694}},
	{`cd+++++++++ 4096 rwxrwxrwt 1 2 2026/11/23-02:19:24 d/st///`, listEntry{path: "d/st", kind: catalog.Directory, mode: 0o1777, uid: 1, gid: 2, mtime: 1795400364}},
	{`>f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 *?[]//`, listEntry{path: "*?[]", kind: catalog.File, size: 1, mode: 0o644, mtime: 1795400364}},
	{`>f+++++++++ 1 rwsr-sr-T 4294967294 0 1950/01/01-00:00:00  -lead//`, listEntry{path: " -lead", kind: catalog.File, size: 1, mode: 0o7754, uid: 4294967294, mtime: -631152000}},
	{`>f+++++++++ 0 --S--S--- 0 0 2446/05/10-22:38:55 \#134#012//`, listEntry{path: `\#012`, kind: catalog.File, mode: 0o6000, mtime: 15032385535}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 a => b//`, listEntry{path: "a => b", kind: catalog.File, mode: 0o644, mtime: 1795400364}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 a\#b\x\#09//`, listEntry{path: `a\#b\x\#09`, kind: catalog.File, mode: 0o644, mtime: 1795400364}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 inv\#377n\#012l//`, listEntry{path: "inv\xffn\nl", kind: catalog.File, mode: 0o644, mtime: 1795400364}},
	{"hf+++++++++ 2 rwxr-xr-x 0 0 2026/11/23-02:19:24 a// => z/y/r", listEntry{path: "a", kind: catalog.File, size: 2, mode: 0o755, mtime: 1795400364, link: "z/y/r"}},
	{"cL+++++++++ 6 rwxrwxrwx 0 0 2026/11/23-02:19:24 lk2// -> //x//y", listEntry{path: "lk2", kind: catalog.Symlink, size: 6, mode: 0o777, mtime: 1795400364, target: "//x//y"}},
	{"hL+++++++++ 6 rwxrwxrwx 0 0 2026/11/23-02:19:24 lk3// => lk2", listEntry{path: "lk3", kind: catalog.Symlink, size: 6, mode: 0o777, mtime: 1795400364, link: "lk2"}},
	{`>f+++++++++ 0 rw-r--r-- 0 0  950/02/03-04:05:06 old//`, listEntry{path: "old", kind: catalog.File, mode: 0o644, mtime: -32185194894, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 -950/02/03-04:05:06 old//`, listEntry{path: "old", kind: catalog.File, mode: 0o644, mtime: -32185194894, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 ---0/01/01-00:00:00 zero//`, listEntry{path: "zero", kind: catalog.File, mode: 0o644, mtime: -62167219200, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 12345/06/07-08:09:1 far//`, listEntry{path: "far", kind: catalog.File, mode: 0o644, mtime: 327416976541, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 3170843/11/07-09:46 huge//`, listEntry{path: "huge", kind: catalog.File, mode: 0o644, mtime: 99999999999960, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 292277026596/12/04- end//`, listEntry{path: "end", kind: catalog.File, mode: 0o644, mtime: 9223372036854720000, rough: true}},
}

func TestParseEntry(t *testing.T) {
	for _, c := range parseCases {
		got, err := parseEntry([]byte(c.line))
		if err != nil {
			t.Error(err)
			continue
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(listEntry{})); d != "" {
			t.Errorf("%s: %s", c.line, d)
		}
	}
	for _, l := range []string{"cS+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 p//", "cD+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 null//"} {
		if _, err := parseEntry([]byte(l)); !errors.Is(err, errSpecial) {
			t.Errorf("%s: %v", l, err)
		}
	}
	if _, err := parseEntry([]byte("created directory /spool/nothing")); !errors.Is(err, errNoEntry) {
		t.Error(err)
	}
}

var badLines = []string{
	"", "x", ">f+++++++++", "WELCOME TO THE DAEMON",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 name",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 /abs//",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 a/../b//",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 ../b//",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 ./b//",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 .//",
	`>f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 a\#000b//`,
	`>f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 a\#057\#057b//`,
	">f+++++++++ -1 rw-r--r-- 0 0 2026/11/23-02:19:24 a//",
	">f+++++++++ 1 rw-r--r- 0 0 2026/11/23-02:19:24 a//",
	">f+++++++++ 1 rw-r--r-- 0 DEFAULT 2026/11/23-02:19:24 a//",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/13/23-02:19:24 a//",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19 a//",
	">f+++++++++ 1 rw-r--r-- 0 0 -2026/11/23-02:19:24 a//",
	">f+++++++++ 1 rw-r--r-- 0 0 12026 a//",
	">f+++++++++ 1 rw-r--r-- 0 0 12026/1/2-3:4:5:6 a//",
	"hf+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 a// => ../b",
	">f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 a// -> b",
	"cd+++++++++ 1 rwxr-xr-x 0 0 2026/11/23-02:19:24 a//",
	"cd+++++++++ 1 rwxr-xr-x 0 0 2026/11/23-02:19:24 ..///",
}

func TestParseEntryRefuses(t *testing.T) {
	for _, l := range badLines {
		if e, err := parseEntry([]byte(l)); err == nil || errors.Is(err, errNoEntry) || errors.Is(err, errSpecial) {
			t.Errorf("%q is taken as %+v, %v", l, e, err)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, c := range parseCases {
		f.Add([]byte(c.line))
	}
	for _, l := range badLines {
		f.Add([]byte(l))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseEntry(line)
		if err != nil {
			return
		}
		if e.path != "" && !localfs.ProperPath(e.path) || e.path == "" && e.kind != catalog.Directory {
			t.Fatalf("path %q of %q", e.path, line)
		}
		if e.link != "" && !localfs.ProperPath(e.link) {
			t.Fatalf("link %q of %q", e.link, line)
		}
		if e.size < 0 || e.mode > 0o7777 || e.kind < catalog.File || e.kind > catalog.Symlink {
			t.Fatalf("%+v", e)
		}
		if got := decodeEntry(pathKey(e.path), e.encode(nil)); got != e {
			t.Fatalf("%+v comes back as %+v", e, got)
		}
	})
}

func TestPathKeyOrdersAsAWalk(t *testing.T) {
	want := []string{"", "a", "a/b", "a/b/c", "a/z", "a\x01", "a b", "a-b", "a.b", "b"}
	got := slices.Clone(want)
	rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, func(a, b string) int { return bytes.Compare(pathKey(a), pathKey(b)) })
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, p := range want {
		if keyPath(pathKey(p)) != p {
			t.Errorf("%q does not come back", p)
		}
	}
}

func TestListedMarksFirstNames(t *testing.T) {
	s := &extsort.Sorter{Dir: t.TempDir(), Limit: 40}
	defer s.Close()
	add := func(e listEntry) {
		if e.link != "" {
			if err := s.Add(pathKey(e.link), mark); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Add(pathKey(e.path), e.encode(nil)); err != nil {
			t.Fatal(err)
		}
	}
	add(listEntry{path: "z/q", kind: catalog.File, link: "m"})
	add(listEntry{path: "a", kind: catalog.File, link: "m"})
	add(listEntry{path: "b", kind: catalog.File})
	add(listEntry{path: "m", kind: catalog.File, size: 5})
	add(listEntry{path: "c", kind: catalog.File, link: "nowhere"})
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	l, err := newListed(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for l.ok {
		got = append(got, fmt.Sprintf("%s %v", l.head.path, l.head.first))
		if err := l.advance(); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"a false", "b false", "c false", "m true", "z/q false"}, got); d != "" {
		t.Error(d)
	}
}
