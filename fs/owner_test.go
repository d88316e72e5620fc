package fs

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
)

func TestOwners(t *testing.T) {
	root := catalog.Owner{UID: 4242, GID: 4343, User: "root", Group: "root"}
	unknown := catalog.Owner{UID: 0, GID: 0, User: "no such user here", Group: "\xff"}
	unnamed := catalog.Owner{UID: 4242, GID: 4343}
	self := fuse.Owner{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	for _, c := range []struct {
		mode string
		from catalog.Owner
		want fuse.Owner
	}{
		{"name", root, fuse.Owner{Uid: 0, Gid: 0}},
		{"", root, fuse.Owner{Uid: 0, Gid: 0}},
		{"name", unknown, fuse.Owner{Uid: nobody, Gid: nobody}}, // never root by accident
		{"name", catalog.Owner{UID: 4242, GID: 4343, User: "no such user here", Group: "\xff"}, fuse.Owner{Uid: 4242, Gid: 4343}},
		{"name", unnamed, fuse.Owner{Uid: 4242, Gid: 4343}},
		{"number", root, fuse.Owner{Uid: 4242, Gid: 4343}},
		{"squash", root, self},
	} {
		o, err := newOwners(c.mode)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from memory
			if got := o.of(c.from); got != c.want {
				t.Errorf("owners %q: %+v became %+v, want %+v", c.mode, c.from, got, c.want)
			}
		}
	}
	if _, err := newOwners("everybody"); err == nil {
		t.Error("a mode that does not exist was accepted")
	}
}
