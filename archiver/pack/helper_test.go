package pack

import (
	"testing"

	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
)

// members reads a tree as a listing would have recorded it.
func members(t testing.TB, root string) (all []Member) {
	t.Helper()
	packtest.Tree(t, root, func(path string, v catalog.Version) { all = append(all, Member{Path: path, Version: v}) })
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
