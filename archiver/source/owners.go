package source

import (
	"bytes"
	"regexp"
	"strconv"
	"sync"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/catalog/owners"
)

// OwnerNames finds the names of owners: those that rsync tells, or this machine's. Not safe for concurrent use.
type OwnerNames struct {
	names map[ownerKey]string
	host  *owners.Names // of this machine; nil: it is not asked
}

func NewOwnerNames(local bool) *OwnerNames {
	o := &OwnerNames{names: map[ownerKey]string{}}
	if local {
		o.host = owners.New()
	}
	return o
}

// ownerKey tells users from groups.
type ownerKey struct {
	group bool
	id    uint32
}

// uid 1000(alice) maps to 1001
var ownerLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([ug])id (\d+)\((.*)\) maps to \d+$`) })

// Read takes a line of rsync's --debug=OWN2; false: it is another line.
func (o *OwnerNames) Read(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("uid ")) && !bytes.HasPrefix(line, []byte("gid ")) {
		return false
	}
	m := ownerLine().FindSubmatch(line)
	if m == nil {
		return false
	}
	if id, err := strconv.ParseUint(string(m[2]), 10, 32); err == nil {
		o.names[ownerKey{m[1][0] == 'g', uint32(id)}] = string(Unescape(m[3]))
	}
	return true
}

// Complete gives an owner the names that are known; a name it has stays when none is.
func (o *OwnerNames) Complete(w catalog.Owner) catalog.Owner {
	if n := o.name(ownerKey{false, w.UID}); n != "" {
		w.User = n
	}
	if n := o.name(ownerKey{true, w.GID}); n != "" {
		w.Group = n
	}
	return w
}

func (o *OwnerNames) name(k ownerKey) string {
	n, known := o.names[k]
	if known || o.host == nil {
		return n
	}
	kind := owners.User
	if k.group {
		kind = owners.Group
	}
	n, _ = o.host.Name(kind, k.id)
	o.names[k] = n
	return n
}
