package archiver

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tapefs/archiver/localfs"
	"tapefs/catalog"
)

func TestShareKeepsLinksAndDirectoriesTogether(t *testing.T) {
	dirs := []wanted{{path: "a"}, {path: "a/b"}, {path: "c"}, {path: "empty"}}
	var list []wanted
	add := func(path string, size int64, sec int64) {
		list = append(list, wanted{path: path, object: 1, Version: catalog.Version{Kind: catalog.File, Size: size, MTime: catalog.Time{Sec: sec}}})
	}
	add("a/b/one", 100<<20, 1)
	add("a/two", 30<<20, 2)
	add("a/three", 30<<20, 3)
	add("c/link", 30<<20, 2) // as two: it may be the same inode
	add("top", 1, 4)
	list = append(list, wanted{path: "c/symlink", object: 1, Version: catalog.Version{Kind: catalog.Symlink}})
	for _, n := range []int{1, 2, 3, 99} {
		streams := share(dirs, list, n)
		if len(streams) > n || len(streams) > len(list) {
			t.Fatalf("%d streams of %d", len(streams), n)
		}
		where := map[string]int{}
		var files int
		var all []string
		for i, s := range streams {
			have := map[string]bool{"": true}
			for _, d := range s.dirs {
				have[d.path] = true
				all = append(all, d.path)
			}
			for _, f := range s.files {
				where[f.path] = i
				files++
				if dir, _ := localfs.SplitPath(f.path); !have[dir] {
					t.Errorf("stream %d has %s without its directory", i, f.path)
				}
			}
		}
		if files != len(list) || len(where) != len(list) {
			t.Errorf("%d streams carry %d files", n, files)
		}
		if where["a/two"] != where["c/link"] {
			t.Errorf("%d streams: names that may be one inode are apart", n)
		}
		for _, d := range dirs {
			if !strings.Contains(strings.Join(all, " ")+" ", d.path+" ") {
				t.Errorf("%d streams: nobody has directory %s", n, d.path)
			}
		}
		if n == 2 && where["a/b/one"] == where["a/two"] {
			t.Error("the large files are in one stream")
		}
	}
	if s := share(dirs, nil, 4); len(s) != 1 || len(s[0].dirs) != len(dirs) {
		t.Errorf("directories alone: %+v", s)
	}
}

func TestFetchInStreamsWithALimit(t *testing.T) {
	f := newFront(t, 1<<30)
	tree := filepath.Join(t.TempDir(), "tree")
	ok(t, os.Mkdir(tree, 0o755))
	oddTree(t, tree)
	for i := range 60 {
		touch(t, fmt.Sprintf("%s/many/%d/%d", tree, i%5, i), strings.Repeat("y", i*100), 1200000000+int64(i), int64(i))
	}
	for i := range 5 {
		at := time.Unix(1400000000+int64(i), 987654321)
		ok(t, os.Chtimes(fmt.Sprintf("%s/many/%d", tree, i), at, at))
	}
	s := startSSHD(t, "")
	src := Source{Name: "media", URL: s.URL(tree), SSH: s.Args, BundleBelow: 100 << 10, Streams: 3, Bandwidth: 30 << 20}
	log := filepath.Join(t.TempDir(), "log")
	f.wrapped(t, `case " $* " in *--files-from*) echo "$*" >>`+log+`;; esac; exec "$REAL" "$@"`)
	st, batches := f.plan(t, src, Options{})
	ok(t, f.fetchBatch(t.Context(), f.run, src, batches[0]))
	want := onDisk(t, tree)
	if d := cmp.Diff(want, f.shown(t, "media")); d != "" {
		t.Errorf("the catalog differs: %s", d)
	}
	sums := contents(t, tree, files(want), func(p string) (*os.File, error) { return os.Open(filepath.Join(tree, p)) })
	have := contents(t, tree, files(want), func(p string) (*os.File, error) { return f.openMember(batches[0], p) })
	if d := cmp.Diff(sums, have); d != "" {
		t.Errorf("the bytes differ: %s", d)
	}
	checkLinks(t, f, "plain", "d/hard", "A hard")
	checkLinks(t, f, "big", "z hard")
	text, err := os.ReadFile(log)
	ok(t, err)
	if n := strings.Count(string(text), "--bwlimit=10240 "); n != 3 {
		t.Errorf("%d rsyncs fetched with a third of the limit each, want 3:\n%s", n, text)
	}
	if again, _ := f.plan(t, src, Options{}); again.Same != st.Listed {
		t.Errorf("a second listing finds news: %+v", again)
	}
}

func TestOneStreamThatFailsFailsTheBatch(t *testing.T) {
	f := newFront(t, 1<<30)
	tree := filepath.Join(t.TempDir(), "tree")
	for i := range 6 {
		touch(t, fmt.Sprintf("%s/d/%d", tree, i), fmt.Sprintf("content %d", i), 1000+int64(i), 7)
	}
	s := startSSHD(t, "")
	src := Source{Name: "media", URL: s.URL(tree), SSH: s.Args, Streams: 2}
	_, batches := f.plan(t, src, Options{})
	f.wrapped(t, `case "$*" in *--partial-dir=*/partial1*) exit 12;; esac; exec "$REAL" "$@"`)
	if err := f.fetchBatch(t.Context(), f.run, src, batches[0]); err == nil || !strings.Contains(err.Error(), "exit 12") {
		t.Fatalf("a stream that ended badly: %v", err)
	}
	if len(f.shown(t, "media")) > 2 { // the top and d
		t.Errorf("files count as fetched: %v", f.shown(t, "media"))
	}
	f.env.Config.Rsync = ""
	ok(t, f.fetchBatch(t.Context(), f.run, src, batches[0]))
	if d := cmp.Diff(onDisk(t, tree), f.shown(t, "media")); d != "" {
		t.Error(d)
	}
	file, err := f.openMember(batches[0], "d/3")
	ok(t, err)
	defer file.Close()
	if text, err := io.ReadAll(file); err != nil || string(text) != "content 3" {
		t.Errorf("the spool has %q, %v", text, err)
	}
}

func TestYoungFilesAreLeftAlone(t *testing.T) {
	f := newFront(t, 1<<30)
	dir := t.TempDir()
	src := Source{Name: "media", URL: dir}
	now := time.Now()
	touch(t, dir+"/changes", "one", 1000, 1)
	want(t, "first run", f.bring(t, src), listStats{New: 1})
	touch(t, dir+"/changes", "another", now.Unix()-10, 0)
	touch(t, dir+"/young", "x", now.Unix()-10, 0)
	touch(t, dir+"/ahead", "x", now.Unix()+10, 0)
	touch(t, dir+"/old", "x", now.Unix()-7200, 0)
	touch(t, dir+"/far ahead", "x", now.Unix()+1e6, 0)
	src.MinAge = time.Hour
	want(t, "with min_age", f.bring(t, src), listStats{New: 2, Young: 3})
	src.MinAge = 0
	want(t, "without", f.bring(t, src), listStats{New: 2, Changed: 1, Same: 2})
	if d := cmp.Diff(onDisk(t, dir), f.shown(t, "media")); d != "" {
		t.Error(d)
	}
}
