package archiver

import (
	"bytes"
	"os/user"
	"regexp"
	"strconv"

	"tapefs/catalog"
)

// owners finds the names of owners. Not safe for concurrent use.
type owners struct {
	names map[ownerKey]string
	local bool // ask this machine
}

// ownerKey tells users from groups.
type ownerKey struct {
	group bool
	id    uint32
}

// uid 1000(alice) maps to 1001
var ownerLine = regexp.MustCompile(`^([ug])id (\d+)\((.*)\) maps to \d+$`)

// read takes a line of rsync's --debug=OWN2; false: it is another line.
func (o *owners) read(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("uid ")) && !bytes.HasPrefix(line, []byte("gid ")) {
		return false
	}
	m := ownerLine.FindSubmatch(line)
	if m == nil {
		return false
	}
	if id, err := strconv.ParseUint(string(m[2]), 10, 32); err == nil {
		o.names[ownerKey{m[1][0] == 'g', uint32(id)}] = string(unescape(m[3]))
	}
	return true
}

// complete gives an owner the names that are known; a name it has stays when none is.
func (o *owners) complete(w catalog.Owner) catalog.Owner {
	if n := o.name(ownerKey{false, w.UID}); n != "" {
		w.User = n
	}
	if n := o.name(ownerKey{true, w.GID}); n != "" {
		w.Group = n
	}
	return w
}

func (o *owners) name(k ownerKey) string {
	n, known := o.names[k]
	if known || !o.local {
		return n
	}
	id := strconv.FormatUint(uint64(k.id), 10)
	if k.group {
		if g, err := user.LookupGroupId(id); err == nil {
			n = g.Name
		}
	} else if u, err := user.LookupId(id); err == nil {
		n = u.Username
	}
	o.names[k] = n
	return n
}
