package archiver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/archiver/source"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
)

// front is an archiver with a catalog, a key and a pool with one small tape, and a run.
type front struct {
	*Archiver
	run catalog.Run
}

func newFront(t testing.TB, tape int64) *front {
	t.Helper()
	needProgram(t, "rsync")
	ctx := t.Context()
	dir := t.TempDir()
	db, err := catalog.Create(ctx, filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	key, err := crypto.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "keys")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	ring, err := crypto.LoadKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Add(keys, key); err != nil {
		t.Fatal(err)
	}
	if ring, err = crypto.LoadKeyring(keys); err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{DB: db, Keys: ring, SpoolDir: filepath.Join(dir, "spool"), RunDir: filepath.Join(dir, "run"), Pools: []Pool{{Name: "main"}}})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := db.EnsurePool(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.AddTape(ctx, catalog.Tape{Barcode: "A00001L8", UUID: "u", Pool: pool.ID, State: catalog.TapeOpen, Capacity: tape, Free: tape}); err != nil {
		t.Fatal(err)
	}
	run, err := db.StartRun(ctx, "archive", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &front{a, run}
}

// plan runs planSource and returns what it planned.
func (f *front) plan(t testing.TB, src Source, o Options) (source.Stats, []catalog.Batch) {
	t.Helper()
	var batches []catalog.Batch
	src.Copies = []string{"main"}
	st, err := f.planSource(t.Context(), f.run, src, o, func(b catalog.Batch) error {
		batches = append(batches, b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return st, batches
}

// bring plans and fetches, and returns the counts of planning.
func (f *front) bring(t testing.TB, src Source) source.Stats {
	t.Helper()
	return f.bringWith(t, src, Options{})
}

func (f *front) bringWith(t testing.TB, src Source, o Options) source.Stats {
	t.Helper()
	st, batches := f.plan(t, src, o)
	for _, b := range batches {
		if err := f.spool.FetchBatch(t.Context(), f.run, src, b); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

// members are the paths of each object of a batch, directories with a slash.
func (f *front) members(t testing.TB, b catalog.Batch) [][]string {
	t.Helper()
	objects, err := f.env.DB.BatchObjects(t.Context(), b.ID)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for _, o := range objects {
		var names []string
		for _, v := range o.Versions {
			p, err := f.env.DB.Path(t.Context(), v.ID)
			if err != nil {
				t.Fatal(err)
			}
			if v.Kind == catalog.Directory {
				p += "/"
			}
			names = append(names, p)
		}
		all = append(all, names)
	}
	return all
}

// shown is what the catalog shows below a source: path, kind, size, mtime, target, mark.
func (f *front) shown(t testing.TB, source string) map[string]string {
	t.Helper()
	top, err := f.env.DB.Lookup(t.Context(), catalog.Root, source)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	err = f.env.DB.Walk(t.Context(), top.ID, func(p string, v *catalog.Version) error {
		all[p] = describe(v.Kind, v.Size, v.Mode, v.MTime, v.Target)
		if !v.Vanished.IsZero() {
			all[p] += " vanished"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func describe(k catalog.Kind, size int64, mode uint32, at catalog.Time, target string) string {
	switch k {
	case catalog.Directory:
		return fmt.Sprintf("directory %04o %d.%09d", mode, at.Sec, at.Nsec)
	case catalog.Symlink:
		return fmt.Sprintf("symlink %d.%09d %q", at.Sec, at.Nsec, target)
	}
	return fmt.Sprintf("file %d %04o %d.%09d", size, mode, at.Sec, at.Nsec)
}

// onDisk is what shown should say of a directory.
func onDisk(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == dir {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		kind, target := catalog.File, ""
		switch {
		case d.IsDir():
			kind = catalog.Directory
		case d.Type()&os.ModeSymlink != 0:
			kind = catalog.Symlink
			if target, err = os.Readlink(p); err != nil {
				return err
			}
		case !d.Type().IsRegular():
			return nil
		}
		all[p[len(dir)+1:]] = describe(kind, info.Size(), st.Mode&0o7777, catalog.Time{Sec: st.Mtim.Sec, Nsec: int32(st.Mtim.Nsec)}, target)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// touch writes a file and sets its time, in seconds and ns.
func touch(t testing.TB, path, text string, sec, ns int64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Unix(sec, ns), time.Unix(sec, ns)); err != nil {
		t.Fatal(err)
	}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, what string, got, want source.Stats) {
	t.Helper()
	got.Listed, got.Dirs, got.Planned, got.Bytes = 0, 0, 0, 0
	if got != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

func TestCompareNewChangedVanishedRevived(t *testing.T) {
	f := newFront(t, 1<<30)
	dir := t.TempDir()
	src := Source{Name: "media", URL: dir}
	touch(t, dir+"/a", "one", 1000, 111)
	touch(t, dir+"/d/b", "two", 2000, 222)
	touch(t, dir+"/d/e/c", "three", 3000, 333)
	ok(t, os.Symlink("a", dir+"/l"))
	ok(t, os.MkdirAll(dir+"/empty/er", 0o750))
	ok(t, syscall.Mkfifo(dir+"/fifo", 0o600))
	want(t, "first run", f.bring(t, src), source.Stats{New: 4, Skipped: 1})
	if d := cmp.Diff(onDisk(t, dir), f.shown(t, "media")); d != "" {
		t.Errorf("after the first run: %s", d)
	}
	st, batches := f.plan(t, src, Options{})
	want(t, "nothing new", st, source.Stats{Same: 4, Skipped: 1})
	if len(batches) != 0 {
		t.Errorf("nothing new made batches: %v", batches)
	}

	touch(t, dir+"/a", "ONE", 1001, 0)        // same size
	touch(t, dir+"/d/b", "two two", 2000, 0)  // same time
	touch(t, dir+"/d-x", "beside", 1, 5)      // sorts between d and d/b for others
	ok(t, os.Chmod(dir+"/d/e/c", 0o600))      // metadata
	ok(t, os.Remove(dir+"/l"))                // gone and
	ok(t, os.Symlink("elsewhere", dir+"/l"))  // another
	ok(t, os.RemoveAll(dir+"/empty/er"))      // a directory
	ok(t, os.Rename(dir+"/fifo", dir+"/f-o")) // skipped still
	want(t, "changes", f.bring(t, src), source.Stats{New: 1, Changed: 3, Metadata: 1, Skipped: 1})
	wanted := onDisk(t, dir)
	got := f.shown(t, "media")
	if !strings.HasSuffix(got["empty/er"], " vanished") {
		t.Errorf("empty/er: %s", got["empty/er"])
	}
	delete(got, "empty/er")
	// Its entries changed; nanoseconds come only with a fetch.
	delete(got, "empty")
	delete(wanted, "empty")
	if d := cmp.Diff(wanted, got); d != "" {
		t.Errorf("after changes: %s", d)
	}

	ok(t, os.RemoveAll(dir+"/d"))
	ok(t, os.Mkdir(dir+"/empty/er", 0o750))
	want(t, "vanishing", f.bringWith(t, src, Options{AcceptDeletions: true}), source.Stats{Same: 3, Vanished: 2, Revived: 1, Skipped: 1})
	for _, p := range []string{"d", "d/b", "d/e", "d/e/c"} {
		if s := f.shown(t, "media")[p]; !strings.HasSuffix(s, " vanished") {
			t.Errorf("%s: %s", p, s)
		}
	}
	want(t, "vanished before", f.bring(t, src), source.Stats{Same: 3, Skipped: 1})

	touch(t, dir+"/d/b", "two two", 2000, 0) // as it was
	touch(t, dir+"/d/e/c", "another", 3000, 0)
	want(t, "revival", f.bring(t, src), source.Stats{Same: 4, Changed: 1, Revived: 3, Skipped: 1})
	for p, s := range f.shown(t, "media") {
		if strings.HasSuffix(s, " vanished") {
			t.Errorf("%s is back but counts as vanished", p)
		}
	}
}

func TestFilesAndDirectoriesChangePlaces(t *testing.T) {
	f := newFront(t, 1<<30)
	dir := t.TempDir()
	src := Source{Name: "media", URL: dir}
	touch(t, dir+"/x", "a file", 1000, 1)
	touch(t, dir+"/y/in/side", "deep", 1000, 1)
	touch(t, dir+"/z", "link to be", 1000, 1)
	f.bring(t, src)
	ok(t, os.RemoveAll(dir+"/x"))
	ok(t, os.RemoveAll(dir+"/y"))
	ok(t, os.RemoveAll(dir+"/z"))
	touch(t, dir+"/x/y/z", "deep now", 1000, 1)
	touch(t, dir+"/y", "flat now", 1000, 1)
	ok(t, os.Symlink("x", dir+"/z"))
	st := f.bring(t, src)
	if st.New != 1 || st.Changed != 2 {
		t.Errorf("%+v", st)
	}
	if d := cmp.Diff(onDisk(t, dir), f.shown(t, "media")); d != "" {
		t.Error(d)
	}
	st = f.bring(t, src)
	if st.Same != 3 || st.New+st.Changed != 0 {
		t.Errorf("again: %+v", st)
	}
}

func TestPlanCutsObjects(t *testing.T) {
	f := newFront(t, 64<<20) // parts of 8 MiB
	dir := t.TempDir()
	src := Source{Name: "media", URL: dir, BundleBelow: 1 << 20, BundleSize: 600 << 10}
	var all []string
	for i := range 10 {
		p := fmt.Sprintf("d/%02d/file", i)
		touch(t, dir+"/"+p, strings.Repeat("x", 100<<10), 1000, 1)
		all = append(all, "/media/"+p)
	}
	touch(t, dir+"/large", strings.Repeat("x", 1<<20), 1000, 1)
	all = append(all, "/media/large")
	for _, p := range []string{"d/03/hard", "z/hard", "a/hard"} {
		ok(t, os.MkdirAll(filepath.Dir(dir+"/"+p), 0o755))
		ok(t, os.Link(dir+"/d/05/file", dir+"/"+p))
		all = append(all, "/media/"+p)
	}
	ok(t, os.Mkdir(dir+"/void", 0o755))
	all = append(all, "/media/void/")
	st, batches := f.plan(t, src, Options{})
	if st.Planned != 14 || st.Bytes != 10*100<<10+1<<20 {
		t.Errorf("%+v", st)
	}
	var got []string
	var oids []string
	for _, b := range batches {
		objects, err := f.env.DB.BatchObjects(t.Context(), b.ID)
		ok(t, err)
		for i, names := range f.members(t, b) {
			oids = append(oids, objects[i].OID)
			seen := map[string]bool{"/": true}
			hard := 0
			for _, n := range names {
				if parent := filepath.Dir(strings.TrimSuffix(n, "/")); parent != "/" && !seen[parent+"/"] {
					t.Errorf("object %d has %s but not its directory before it: %v", i, n, names)
				}
				if seen[n] {
					t.Errorf("object %d has %s twice", i, n)
				}
				seen[n] = true
				if strings.HasSuffix(n, "hard") || n == "/media/d/05/file" {
					hard++
				}
				if !strings.HasSuffix(n, "/") || n == "/media/void/" {
					got = append(got, n)
				}
			}
			if hard != 0 && hard != 4 {
				t.Errorf("object %d holds %d of 4 hard-linked names", i, hard)
			}
			if seen["/media/large"] && len(names) != 2 {
				t.Errorf("the large file shares an object: %v", names)
			}
			if !seen["/media/large"] && objects[i].PlannedSize > src.BundleSize {
				t.Errorf("object %d is planned with %d bytes", i, objects[i].PlannedSize)
			}
			if objects[i].PartSize != 8<<20 {
				t.Errorf("part size %d", objects[i].PartSize)
			}
		}
	}
	slices.Sort(got)
	slices.Sort(all)
	if d := cmp.Diff(all, got); d != "" {
		t.Errorf("members: %s", d)
	}
	if !slices.IsSorted(oids) || len(slices.Compact(slices.Clone(oids))) != len(oids) {
		t.Errorf("object ids do not rise: %v", oids)
	}
	// What an open batch has planned is not planned again, nor is an empty directory.
	st, batches = f.plan(t, src, Options{})
	if st.Waiting != 14 || len(batches) != 0 {
		t.Errorf("planned twice: %+v %v", st, batches)
	}
}

func TestLimitsOfARun(t *testing.T) {
	f := newFront(t, 1<<30)
	dir := t.TempDir()
	src := Source{Name: "media", URL: dir}
	for i := range 10 {
		touch(t, fmt.Sprintf("%s/%d", dir, i), "0123456789", 1000, 1)
	}
	st, batches := f.plan(t, src, Options{DryRun: true})
	if st.New != 10 || st.Bytes != 100 || len(batches) != 0 {
		t.Errorf("dry run: %+v %v", st, batches)
	}
	if s, err := f.env.DB.Sources(t.Context()); err != nil || len(s) != 0 {
		t.Errorf("a dry run recorded a source: %v %v", s, err)
	}
	st, _ = f.plan(t, src, Options{Until: time.Now().Add(-time.Second)})
	if st.Planned != 0 || st.Left != 10 {
		t.Errorf("after the end: %+v", st)
	}
	st, batches = f.plan(t, src, Options{Limit: 35})
	if st.Planned != 3 || st.Left != 7 || len(batches) != 1 {
		t.Errorf("with a limit: %+v %v", st, batches)
	}
	f.env.Config.SpoolMax = 40 // a batch is at most half of it
	remote := Source{Name: "other", URL: dir}
	p := f.newPlanner(f.run, remote, source.Address{}, catalog.Source{}, Options{}, t.TempDir(), nil, &source.Stats{})
	p.src.Copies = []string{"main"}
	ok(t, p.prepare(t.Context()))
	if p.batch != 20 {
		t.Errorf("batches of %d bytes in a spool of 40", p.batch)
	}
}

func TestListingThatFailedMarksNothing(t *testing.T) {
	f := newFront(t, 1<<30)
	dir := t.TempDir()
	src := Source{Name: "media", URL: dir}
	touch(t, dir+"/a", "x", 1000, 1)
	touch(t, dir+"/b", "x", 1000, 1)
	f.bring(t, src)
	ok(t, os.Remove(dir+"/a"))

	// Programs that say they are rsync: a listing cut short, with each way to end.
	for code, fails := range map[int]bool{23: false, 24: false, 12: true, 255: true} {
		fake := filepath.Join(t.TempDir(), "rsync")
		script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' 'cd+++++++++ 0 rwxr-xr-x 0 0 2026/11/23-02:19:24 .///'\n"+
			"echo 'rsync: [sender] opendir \"%s/sub\" failed: Permission denied (13)' >&2\nexit %d\n", dir, code)
		ok(t, os.WriteFile(fake, []byte(script), 0o700))
		f.env.Config.Rsync = fake
		src.Copies = []string{"main"}
		st, err := f.planSource(t.Context(), f.run, src, Options{}, func(catalog.Batch) error { return nil })
		if (err != nil) != fails {
			t.Errorf("exit %d: %v", code, err)
		}
		if !fails && (!st.Partial || st.Vanished != 0 || st.Unmarked != 2 || st.Errors != 1) {
			t.Errorf("exit %d: %+v", code, st)
		}
		for p, s := range f.shown(t, "media") {
			if strings.HasSuffix(s, " vanished") {
				t.Errorf("exit %d marked %s", code, p)
			}
		}
	}
	report, err := f.env.DB.RunReport(t.Context(), f.run.ID)
	ok(t, err)
	if len(report.Errors) == 0 || report.Errors[0].Path != "sub" {
		t.Errorf("run errors: %+v", report.Errors)
	}
	f.env.Config.Rsync = ""
	if st := f.bringWith(t, src, Options{AcceptDeletions: true}); st.Vanished != 1 {
		t.Errorf("a whole listing: %+v", st)
	}
}

func TestManyFilesSpillAndPage(t *testing.T) {
	f := newFront(t, 1<<40)
	dir := t.TempDir()
	src := Source{Name: "media", URL: dir}
	for i := range 1300 {
		touch(t, fmt.Sprintf("%s/d/%04d", dir, i), "", 1000, 1)
	}
	if st := f.bring(t, src); st.New != 1300 {
		t.Errorf("%+v", st)
	}
	for i := 0; i < 1300; i += 2 {
		ok(t, os.Remove(fmt.Sprintf("%s/d/%04d", dir, i)))
	}
	if st := f.bring(t, src); st.Same != 650 || st.Unmarked != 650 || st.Vanished+st.New+st.Changed != 0 {
		t.Errorf("half of all files gone: %+v", st)
	}
	if st, _ := f.plan(t, src, Options{AcceptDeletions: true}); st.Same != 650 || st.Vanished != 650 || st.Unmarked+st.New+st.Changed != 0 {
		t.Errorf("with leave: %+v", st)
	}
}

func TestCancelledPlanLeavesNoWorkFiles(t *testing.T) {
	f := newFront(t, 1<<30)
	dir := t.TempDir()
	touch(t, dir+"/a", "x", 1000, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.planSource(ctx, f.run, Source{Name: "media", URL: dir, Copies: []string{"main"}}, Options{}, nil); err == nil {
		t.Error("a cancelled plan ended well")
	}
	left, err := filepath.Glob(f.env.Config.SpoolDir + "/.list-*")
	ok(t, err)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
