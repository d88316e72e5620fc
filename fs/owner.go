package fs

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"tapefs/catalog"
)

// nobody is where names go that this machine does not know: the kernel's overflow id.
const nobody = 65534

// owners maps the owners that sources gave to this machine's numbers.
type owners struct {
	mode  string
	self  fuse.Owner
	mu    sync.Mutex // guards the maps
	users map[string]uint32
	group map[string]uint32
}

// newOwners: name maps by name and sends unknown names to nobody; an owner that was recorded
// without a name keeps its number, since there is nothing better. number keeps all numbers, squash
// gives everything to whoever mounts.
func newOwners(mode string) (*owners, error) {
	switch mode {
	case "":
		mode = "name"
	case "name", "number", "squash":
	default:
		return nil, fmt.Errorf("owners %q is none of name, number, squash", mode)
	}
	return &owners{
		mode: mode, self: fuse.Owner{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())},
		users: map[string]uint32{}, group: map[string]uint32{},
	}, nil
}

func (o *owners) of(c catalog.Owner) fuse.Owner {
	switch o.mode {
	case "squash":
		return o.self
	case "number":
		return fuse.Owner{Uid: c.UID, Gid: c.GID}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return fuse.Owner{
		Uid: mapped(o.users, c.User, c.UID, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}),
		Gid: mapped(o.group, c.Group, c.GID, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}),
	}
}

func mapped(known map[string]uint32, name string, number uint32, lookup func(string) (string, error)) uint32 {
	if name == "" {
		return number
	}
	if id, ok := known[name]; ok {
		return id
	}
	id := uint32(nobody)
	if text, err := lookup(name); err == nil {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			id = uint32(n)
		}
	}
	known[name] = id
	return id
}
