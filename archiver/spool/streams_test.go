package spool

import (
	"strings"
	"testing"

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
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
