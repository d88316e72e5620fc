package source

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
)

var parseCases = []struct {
	line string // as rsync 3.5.0 printed it
	want Entry
}{
	{`cd+++++++++ 4096 rwxr-xr-x 0 0 2026/11/23-02:24:54 .///`, Entry{Kind: catalog.Directory, Mode: 0o755, Mtime: 1795400694}},
	{`cd+++++++++ 4096 rwxrwxrwt 1 2 2026/11/23-02:19:24 d/st///`, Entry{Path: "d/st", Kind: catalog.Directory, Mode: 0o1777, Uid: 1, Gid: 2, Mtime: 1795400364}},
	{`>f+++++++++ 1 rw-r--r-- 0 0 2026/11/23-02:19:24 *?[]//`, Entry{Path: "*?[]", Kind: catalog.File, Size: 1, Mode: 0o644, Mtime: 1795400364}},
	{`>f+++++++++ 1 rwsr-sr-T 4294967294 0 1950/01/01-00:00:00  -lead//`, Entry{Path: " -lead", Kind: catalog.File, Size: 1, Mode: 0o7754, Uid: 4294967294, Mtime: -631152000}},
	{`>f+++++++++ 0 --S--S--- 0 0 2446/05/10-22:38:55 \#134#012//`, Entry{Path: `\#012`, Kind: catalog.File, Mode: 0o6000, Mtime: 15032385535}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 a => b//`, Entry{Path: "a => b", Kind: catalog.File, Mode: 0o644, Mtime: 1795400364}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 a\#b\x\#09//`, Entry{Path: `a\#b\x\#09`, Kind: catalog.File, Mode: 0o644, Mtime: 1795400364}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 2026/11/23-02:19:24 inv\#377n\#012l//`, Entry{Path: "inv\xffn\nl", Kind: catalog.File, Mode: 0o644, Mtime: 1795400364}},
	{"hf+++++++++ 2 rwxr-xr-x 0 0 2026/11/23-02:19:24 a// => z/y/r", Entry{Path: "a", Kind: catalog.File, Size: 2, Mode: 0o755, Mtime: 1795400364, Link: "z/y/r"}},
	{"cL+++++++++ 6 rwxrwxrwx 0 0 2026/11/23-02:19:24 lk2// -> //x//y", Entry{Path: "lk2", Kind: catalog.Symlink, Size: 6, Mode: 0o777, Mtime: 1795400364, Target: "//x//y"}},
	{"hL+++++++++ 6 rwxrwxrwx 0 0 2026/11/23-02:19:24 lk3// => lk2", Entry{Path: "lk3", Kind: catalog.Symlink, Size: 6, Mode: 0o777, Mtime: 1795400364, Link: "lk2"}},
	{`>f+++++++++ 0 rw-r--r-- 0 0  950/02/03-04:05:06 old//`, Entry{Path: "old", Kind: catalog.File, Mode: 0o644, Mtime: -32185194894, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 -950/02/03-04:05:06 old//`, Entry{Path: "old", Kind: catalog.File, Mode: 0o644, Mtime: -32185194894, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 ---0/01/01-00:00:00 zero//`, Entry{Path: "zero", Kind: catalog.File, Mode: 0o644, Mtime: -62167219200, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 12345/06/07-08:09:1 far//`, Entry{Path: "far", Kind: catalog.File, Mode: 0o644, Mtime: 327416976541, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 3170843/11/07-09:46 huge//`, Entry{Path: "huge", Kind: catalog.File, Mode: 0o644, Mtime: 99999999999960, rough: true}},
	{`>f+++++++++ 0 rw-r--r-- 0 0 292277026596/12/04- end//`, Entry{Path: "end", Kind: catalog.File, Mode: 0o644, Mtime: 9223372036854720000, rough: true}},
}

func TestParseEntry(t *testing.T) {
	for _, c := range parseCases {
		got, err := parseEntry([]byte(c.line))
		if err != nil {
			t.Error(err)
			continue
		}
		if d := cmp.Diff(c.want, got, cmp.AllowUnexported(Entry{})); d != "" {
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
		if e.Path != "" && !localfs.ProperPath(e.Path) || e.Path == "" && e.Kind != catalog.Directory {
			t.Fatalf("path %q of %q", e.Path, line)
		}
		if e.Link != "" && !localfs.ProperPath(e.Link) {
			t.Fatalf("link %q of %q", e.Link, line)
		}
		if e.Size < 0 || e.Mode > 0o7777 || e.Kind < catalog.File || e.Kind > catalog.Symlink {
			t.Fatalf("%+v", e)
		}
		if got := DecodeEntry(PathKey(e.Path), e.Encode(nil)); got != e {
			t.Fatalf("%+v comes back as %+v", e, got)
		}
	})
}

func TestPathKeyOrdersAsAWalk(t *testing.T) {
	want := []string{"", "a", "a/b", "a/b/c", "a/z", "a\x01", "a b", "a-b", "a.b", "b"}
	got := slices.Clone(want)
	rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, func(a, b string) int { return bytes.Compare(PathKey(a), PathKey(b)) })
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, p := range want {
		if keyPath(PathKey(p)) != p {
			t.Errorf("%q does not come back", p)
		}
	}
}

func TestListedMarksFirstNames(t *testing.T) {
	s := &extsort.Sorter{Dir: t.TempDir(), Limit: 40}
	defer s.Close()
	add := func(e Entry) {
		if e.Link != "" {
			if err := s.Add(PathKey(e.Link), LinkMark); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Add(PathKey(e.Path), e.Encode(nil)); err != nil {
			t.Fatal(err)
		}
	}
	add(Entry{Path: "z/q", Kind: catalog.File, Link: "m"})
	add(Entry{Path: "a", Kind: catalog.File, Link: "m"})
	add(Entry{Path: "b", Kind: catalog.File})
	add(Entry{Path: "m", Kind: catalog.File, Size: 5})
	add(Entry{Path: "c", Kind: catalog.File, Link: "nowhere"})
	if err := s.Sort(); err != nil {
		t.Fatal(err)
	}
	l, err := NewListed(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for l.Ok {
		got = append(got, fmt.Sprintf("%s %v", l.Head.Path, l.Head.First))
		if err := l.Advance(); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"a false", "b false", "c false", "m true", "z/q false"}, got); d != "" {
		t.Error(d)
	}
}
