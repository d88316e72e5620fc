package archiver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/source"
)

// hostile is an archiver whose rsync is a script. Its listing of exact times fails, which is no matter here.
func hostile(t *testing.T, script string) (*front, *extsort.Sorter, func() (source.Stats, error)) {
	t.Helper()
	f := newFront(t, 1<<30)
	program := filepath.Join(t.TempDir(), "rsync")
	ok(t, os.WriteFile(program, []byte("#!/bin/sh\ncase \"$*\" in *only-write-batch*) exit 5 ;; esac\n"+script), 0o755))
	f.env.Config.Rsync = program
	into := &extsort.Sorter{Dir: t.TempDir()}
	t.Cleanup(into.Close)
	return f, into, func() (source.Stats, error) {
		var st source.Stats
		src := Source{Name: "media", URL: "host:/x"}
		at, err := source.ParseAddress(src.URL)
		ok(t, err)
		err = source.List(t.Context(), f.env, f.run.ID, src, at, into, &st)
		return st, err
	}
}

// Junk of a hostile rsync is counted, and little of it is kept.
func TestHostileListingCostsLittle(t *testing.T) {
	f, _, list := hostile(t, `head -c 20000000 /dev/zero | tr '\0' j | fold -w 20000
head -c 6000000 /dev/zero | tr '\0' e | fold -w 60000 >&2
head -c 300000 /dev/zero | tr '\0' l >&2
echo >&2
exit 23
`)
	st, err := list()
	ok(t, err)
	if st.Errors < 1000 || !st.Partial {
		t.Errorf("%d errors, partial %v", st.Errors, st.Partial)
	}
	report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
	ok(t, err)
	junk, size := 0, 0
	for _, e := range report.Errors {
		size += len(e.Message)
		if strings.HasPrefix(e.Message, "listing line") {
			junk++
		}
	}
	if junk != source.MaxJunk || size > 1<<20 || len(report.Errors) > job.MaxNamed+1 {
		t.Errorf("%d lines of junk, %d errors, %d bytes of messages", junk, len(report.Errors), size)
	}
}

// A name that no Linux file system holds is refused by itself: what is beside and below is judged for itself.
// TestListingRefusesLongPaths: a server's path that rsync could not be asked for is refused by itself, and not what is a byte shorter.
func TestListingRefusesLongPaths(t *testing.T) {
	folder := strings.Repeat(strings.Repeat("n", 249)+"/", 11) // 2750 bytes
	fits, long := folder+strings.Repeat("f", 250), folder+strings.Repeat("f", 251)
	f, _, list := hostile(t, fmt.Sprintf(`p=rw-r--r--
echo "cd+++++++++ 0 rwxr-xr-x 0 0 2024/05/01-12:00:00 .///"
echo ">f+++++++++ 1 $p 0 0 2024/05/01-12:00:00 %s//"
echo ">f+++++++++ 1 $p 0 0 2024/05/01-12:00:00 %s//"
`, fits, long))
	st, err := list()
	ok(t, err)
	if st.Errors != 1 || st.Partial || st.Listed != 1 {
		t.Errorf("%+v", st)
	}
	report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
	ok(t, err)
	if len(report.Errors) != 1 || report.Errors[0].Path != long || !strings.Contains(report.Errors[0].Message, "3000 bytes that can be fetched") {
		t.Errorf("errors: %+v", report.Errors)
	}
}

func TestListingRefusesLongNames(t *testing.T) {
	long := strings.Repeat("n", 256)
	f, into, list := hostile(t, fmt.Sprintf(`p=rw-r--r--
echo "cd+++++++++ 0 rwxr-xr-x 0 0 2024/05/01-12:00:00 .///"
echo "cd+++++++++ 0 rwxr-xr-x 0 0 2024/05/01-12:00:00 d///"
echo ">f+++++++++ 1 $p 0 0 2024/05/01-12:00:00 d/%[1]s//"
echo ">f+++++++++ 1 $p 0 0 2024/05/01-12:00:00 d/good//"
echo "cd+++++++++ 0 rwxr-xr-x 0 0 2024/05/01-12:00:00 d/%[1]s.d///"
echo ">f+++++++++ 1 $p 0 0 2024/05/01-12:00:00 d/%[1]s.d/below//"
`, long))
	st, err := list()
	ok(t, err)
	if st.Errors != 3 || st.Partial || st.Listed != 1 || st.Dirs != 2 || !f.env.RunFailed(f.run.ID) {
		t.Errorf("%+v", st)
	}
	ok(t, into.Sort())
	l, err := source.NewListed(into, nil)
	ok(t, err)
	var paths []string
	for l.Ok {
		paths = append(paths, l.Head.Path)
		ok(t, l.Advance())
	}
	if got := strings.Join(paths, " "); got != " d d/good" {
		t.Errorf("listed %q", got)
	}
	report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
	ok(t, err)
	if len(report.Errors) != 3 || report.Errors[0].Path != "d/"+long || !strings.Contains(report.Errors[0].Message, "255 bytes") {
		t.Errorf("errors: %+v", report.Errors)
	}
}

func TestSplitComplaint(t *testing.T) {
	for line, want := range map[string][3]string{
		`rsync: [sender] send_files failed to open "/src/x": Permission denied (13)`: {"send_files failed to open", "/src/x", ": Permission denied (13)"},
		`rsync: [sender] opendir "/src/d" failed: Permission denied (13)`:            {"opendir", "/src/d", " failed: Permission denied (13)"},
		`rsync: read errors mapping "a \"b\" c": Input/output error (5)`:             {"read errors mapping", `a \"b\" c`, ": Input/output error (5)"},
		`file has vanished: "/src/x" (in module)`:                                    {"file has vanished:", "/src/x", ""},
		`rsync: [sender] link_stat "x" (in m) failed: No such file or directory (2)`: {"link_stat", "x", " failed: No such file or directory (2)"},
	} {
		what, path, why, found := source.SplitComplaint(line)
		if !found || (what != want[0] || path != want[1] || why != want[2]) {
			t.Errorf("%s: %q, %q, %q", line, what, path, why)
		}
	}
	for _, line := range []string{"", `"`, `""`, `"x"`, `  "x"`, "IO error encountered", `rsync: [sender] `} {
		if what, path, _, found := source.SplitComplaint(line); found {
			t.Errorf("%q: %q, %q", line, what, path)
		}
	}
}

// The archive's own folders are found wherever they can be seen.
func TestOwnWithin(t *testing.T) {
	mounts := []*mountinfo.Info{
		{Major: 8, Minor: 1, Root: "/", Mountpoint: "/"},
		{Major: 8, Minor: 2, Root: "/", Mountpoint: "/nosuch/data"},
		{Major: 8, Minor: 2, Root: "/home", Mountpoint: "/nosuch/home"},
		{Major: 8, Minor: 2, Root: "/home/state/spool", Mountpoint: "/nosuch/home/bound"},
		{Major: 0, Minor: 9, Root: "/", Mountpoint: "/nosuch/home/archive", FSType: "fuse.tapefs"},
		{Major: 0, Minor: 7, Root: "/", Mountpoint: "/nosuch/home/other"},
	}
	own := []string{"/nosuch/data/home/state"}
	for top, want := range map[string]string{
		"/nosuch/data":            "home/state",
		"/nosuch/home":            "archive bound state",
		"/nosuch/home/docs":       "",
		"/nosuch/home/statements": "",
		"/nosuch":                 "data/home/state home/archive home/bound home/state",
	} {
		found, err := source.OwnWithin(top, own, mounts)
		ok(t, err)
		if got := strings.Join(found, " "); got != want {
			t.Errorf("%s: %q, want %q", top, got, want)
		}
	}
	for _, top := range []string{"/nosuch/data/home/state", "/nosuch/home/state/spool/x", "/nosuch/home/bound", "/nosuch/home/archive/photos"} {
		if found, err := source.OwnWithin(top, own, mounts); err == nil {
			t.Errorf("%s: %q", top, found)
		}
	}
}
