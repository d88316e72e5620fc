package archiver

import (
	"testing"

	"github.com/tapefs/tapefs/archiver/pack"
	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
)

// members reads a tree as a listing would have recorded it.
func members(t testing.TB, root string) (all []pack.Member) {
	t.Helper()
	packtest.Tree(t, root, func(path string, v catalog.Version) { all = append(all, pack.Member{Path: path, Version: v}) })
	return all
}
