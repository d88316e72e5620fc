package safe

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
)

// A listing and a version are the same only if all is that a listing tells, and if the version's bytes are there.
func TestEquals(t *testing.T) {
	version := func(change func(*catalog.Version)) *catalog.Version {
		v := &catalog.Version{Kind: catalog.File, State: catalog.Present, Size: 10, MTime: catalog.Time{Sec: 5, Nsec: 7}}
		if change != nil {
			change(v)
		}
		return v
	}
	file := source.Entry{Kind: catalog.File, Size: 10, Mtime: 5}
	link := source.Entry{Kind: catalog.Symlink, Mtime: 5, Target: "there"}
	for name, c := range map[string]struct {
		e    source.Entry
		v    *catalog.Version
		same bool
	}{
		"the same":                               {file, version(nil), true},
		"another size":                           {file, version(func(v *catalog.Version) { v.Size = 11 }), false},
		"another second":                         {file, version(func(v *catalog.Version) { v.MTime.Sec = 6 }), false},
		"void":                                   {file, version(func(v *catalog.Version) { v.State = catalog.Void }), false},
		"it grew as it was read":                 {file, version(func(v *catalog.Version) { v.Grew = true }), false},
		"a directory now":                        {source.Entry{Kind: catalog.Directory, Mtime: 5}, version(nil), false},
		"symlink":                                {link, version(func(v *catalog.Version) { v.Kind, v.Target = catalog.Symlink, "there" }), true},
		"symlink elsewhere":                      {link, version(func(v *catalog.Version) { v.Kind, v.Target = catalog.Symlink, "here" }), false},
		"symlink that the listing does not show": {source.Entry{Kind: catalog.Symlink, Mtime: 5}, version(func(v *catalog.Version) { v.Kind = catalog.Symlink }), false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := equals(&c.e, c.v); same != c.same {
				t.Errorf("%+v and %+v are the same: %v", c.e, c.v, same)
			}
		})
	}
}

// Of several versions in one second the listing's nanoseconds choose; where they fit none, or the source does not tell them, the file is not named.
func TestExactly(t *testing.T) {
	like := func() []catalog.Version {
		return []catalog.Version{{ID: 1, MTime: catalog.Time{Sec: 5, Nsec: 100}}, {ID: 2, MTime: catalog.Time{Sec: 5, Nsec: 200}}}
	}
	for name, c := range map[string]struct {
		e       source.Entry
		seconds bool
		why     string
		first   catalog.ID
	}{
		"the first":              {source.Entry{Exact: true, Nsec: 100}, false, "", 1},
		"the other":              {source.Entry{Exact: true, Nsec: 200}, false, "", 2},
		"none":                   {source.Entry{Exact: true, Nsec: 300}, false, SameSecond, 1},
		"whole seconds for ever": {source.Entry{}, true, TimeUnsure, 1},
		"rsync is asked later":   {source.Entry{}, false, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, versions := &judge{seconds: &c.seconds}, like()
			if why := s.exactly(&c.e, versions); why != c.why || versions[0].ID != c.first {
				t.Errorf("%q, and version %d is the one; want %q and %d", why, versions[0].ID, c.why, c.first)
			}
		})
	}
}

// A file that was looked at within a tick of its last change may have been changed again without another time.
func TestTooSoon(t *testing.T) {
	taken := time.Unix(1e9, 5e8)
	for name, c := range map[string]struct {
		mtime time.Time
		soon  bool
	}{
		"long before":                    {taken.Add(-time.Hour), false},
		"a tick of nanoseconds before":   {taken.Add(-fineTick), false},
		"within that tick":               {taken.Add(-fineTick + 1), true},
		"the source's clock is ahead":    {taken.Add(time.Minute), true},
		"years ahead: somebody set it":   {taken.AddDate(5, 0, 0), false},
		"whole seconds, a second before": {time.Unix(1e9-1, 0), true},
		"whole seconds, long enough":     {time.Unix(1e9-3, 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			v := &catalog.Version{MTime: catalog.Time{Sec: c.mtime.Unix(), Nsec: int32(c.mtime.Nanosecond())}}
			if soon := tooSoon(v, taken); soon != c.soon {
				t.Errorf("changed at %v, taken at %v: %v", c.mtime, taken, soon)
			}
		})
	}
}

// The files that rsync compares with those of the source have sizes and times to the nanosecond, and no path leads out of their folder.
func TestLikenesses(t *testing.T) {
	dir := t.TempDir()
	at := catalog.Time{Sec: 1_500_000_000, Nsec: 123_456_789}
	err := likenesses(dir, []exactFile{{File: File{Path: "a/b/c", Size: 1 << 40}, mtime: at}, {File: File{Path: "-d", Size: 0}, mtime: catalog.Time{Sec: -5, Nsec: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		size int64
		at   time.Time
	}{"a/b/c": {1 << 40, time.Unix(at.Sec, int64(at.Nsec))}, "-d": {0, time.Unix(-5, 1)}} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() != want.size || !info.ModTime().Equal(want.at) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	outside := filepath.Join(filepath.Dir(dir), "outside")
	for _, bad := range []string{"../outside", "a/b/c"} { // out of the folder; twice
		if err := likenesses(dir, []exactFile{{File: File{Path: bad}, mtime: at}}); err == nil {
			t.Errorf("%s is made", bad)
		}
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a file lies outside")
	}
}

func TestIsBelow(t *testing.T) {
	for path, want := range map[string]bool{"a/b": true, "a/b/c": true, "a": false, "ab": false, "ab/c": false, "": false} {
		if isBelow(path, "a") != want {
			t.Errorf("%q below a: %v", path, !want)
		}
	}
}
