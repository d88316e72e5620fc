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

	"github.com/tapefs/tapefs/archiver/source"
)

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
	ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[0]))
	want := onDisk(t, tree)
	if d := cmp.Diff(want, f.shown(t, "media")); d != "" {
		t.Errorf("the catalog differs: %s", d)
	}
	sums := contents(t, tree, files(want), func(p string) (*os.File, error) { return os.Open(filepath.Join(tree, p)) })
	have := contents(t, tree, files(want), func(p string) (*os.File, error) { return f.spool.OpenMember(batches[0], p) })
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
	if err := f.spool.FetchBatch(t.Context(), f.run, src, batches[0]); err == nil || !strings.Contains(err.Error(), "exit 12") {
		t.Fatalf("a stream that ended badly: %v", err)
	}
	if len(f.shown(t, "media")) > 2 { // the top and d
		t.Errorf("files count as fetched: %v", f.shown(t, "media"))
	}
	f.env.Config.Rsync = ""
	ok(t, f.spool.FetchBatch(t.Context(), f.run, src, batches[0]))
	if d := cmp.Diff(onDisk(t, tree), f.shown(t, "media")); d != "" {
		t.Error(d)
	}
	file, err := f.spool.OpenMember(batches[0], "d/3")
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
	want(t, "first run", f.bring(t, src), source.Stats{New: 1})
	touch(t, dir+"/changes", "another", now.Unix()-10, 0)
	touch(t, dir+"/young", "x", now.Unix()-10, 0)
	touch(t, dir+"/ahead", "x", now.Unix()+10, 0)
	touch(t, dir+"/old", "x", now.Unix()-7200, 0)
	touch(t, dir+"/far ahead", "x", now.Unix()+1e6, 0)
	src.MinAge = time.Hour
	want(t, "with min_age", f.bring(t, src), source.Stats{New: 2, Young: 3})
	src.MinAge = 0
	want(t, "without", f.bring(t, src), source.Stats{New: 2, Changed: 1, Same: 2})
	if d := cmp.Diff(onDisk(t, dir), f.shown(t, "media")); d != "" {
		t.Error(d)
	}
}
