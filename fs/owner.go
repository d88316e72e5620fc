package fs

import (
	"fmt"
	"os"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/catalog/owners"
)

// nobody owns what root owned at a source under a name that this machine does not know: the kernel's overflow id.
const nobody = 65534

// hostOwners maps the owners that sources gave to this machine's numbers.
type hostOwners struct {
	mode  string
	self  fuse.Owner
	names *owners.Names
}

// newOwners maps by name where mode is name; owners whose name is unknown here, or was never recorded, keep their
// number. Mode number keeps all numbers, squash gives everything to whoever mounts.
func newOwners(mode string) (*hostOwners, error) {
	switch mode {
	case "":
		mode = "name"
	case "name", "number", "squash":
	default:
		return nil, fmt.Errorf("owners %q is none of name, number, squash", mode)
	}
	return &hostOwners{mode: mode, self: fuse.Owner{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}, names: owners.New()}, nil
}

func (o *hostOwners) of(c catalog.Owner) fuse.Owner {
	switch o.mode {
	case "squash":
		return o.self
	case "number":
		return fuse.Owner{Uid: c.UID, Gid: c.GID}
	}
	return fuse.Owner{Uid: o.number(owners.User, c.User, c.UID), Gid: o.number(owners.Group, c.Group, c.GID)}
}

// number maps a name; an unknown one keeps its number, but nobody becomes root by that.
func (o *hostOwners) number(k owners.Kind, name string, number uint32) uint32 {
	if name == "" {
		return number
	}
	if id, ok := o.names.Number(k, name); ok {
		return id
	}
	if number == 0 {
		return nobody
	}
	return number
}
