package virtual

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
)

// extent is a run of a file's bytes in consecutive blocks of the data partition.
type extent struct {
	Off   int64 `json:"off"` // in the file
	Block int64 `json:"block"`
	Len   int64 `json:"len"` // bytes
}

// node is a file, directory or link of a mounted volume. The volume's lock protects it.
type node struct {
	uid      uint64
	name     string
	parent   *node
	kind     string // file, dir, link
	size     int64
	readonly bool
	target   string
	xattrs   map[string][]byte
	extents  []extent
	children map[string]*node

	created, modified, changed, accessed, backup time.Time

	data    string   // file below files/ that holds the bytes, "" before there is one
	file    *os.File // data, open while handles are
	handles int
	indexed int64 // size in the index on tape, -1 when it is not there
	stale   bool  // data may hold bytes behind the end that no index tells of
	gone    bool  // unlinked
}

func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	return path.Join(n.parent.path(), n.name)
}

// volume is a mounted LTFS volume.
type volume struct {
	d    *openedDrive
	dir  string // files/ of the cartridge
	msgs *messages
	ro   bool
	now  watched[*state]
	flt  watched[faults]

	requests atomic.Int64 // that the kernel made of the mounted volume

	mu        sync.Mutex
	x         *index // without Root
	root      *node
	dirty     bool
	pos       tapePosition
	posFile   *os.File
	full      bool
	dropped   bool // to read-only mode, after an error of writing: nothing is written any more, no index either
	async     bool // user.ltfs.sync only wakes the timer, which writes the index later
	wake      chan struct{}
	late      map[*node]int64 // files with bytes that were accepted but do not fit, and where to cut them
	overshoot int64           // sum of those bytes
	failed    map[*node]int64 // files with bytes that were accepted and could not be written, and where to cut them
	sticky    bool            // every write fails until the volume is unmounted
	garbage   []string        // data files that only the index on tape still needs
	head      head
	lastWrite *node // whose data is at the append point
}

// openVolume reads the index of the loaded tape.
func openVolume(d *openedDrive, msgs *messages) (*volume, error) {
	x, err := d.l.loadIndex(d.id)
	if err != nil {
		return nil, err
	}
	v := &volume{d: d, dir: filepath.Join(d.l.tapeDir(d.id), "files"), msgs: msgs, x: x, full: d.m.Full,
		late: map[*node]int64{}, failed: map[*node]int64{}, wake: make(chan struct{}, 1),
		head: head{l: d.l, drive: d.n, barcode: d.m.Barcode, capacity: d.m.Capacity}}
	v.now = watched[*state]{path: filepath.Join(d.l.Dir, stateFile), load: d.l.view}
	v.flt = watched[faults]{path: filepath.Join(d.l.Dir, faultsFile), load: d.l.loadFaults}
	v.root = fromIndex(x.Root, nil)
	x.Root = nil
	if v.posFile, err = d.l.openPosition(d.id); err != nil {
		return nil, err
	}
	if v.pos, err = readPosition(v.posFile); err != nil {
		v.posFile.Close()
		return nil, err
	}
	return v, nil
}

func fromIndex(i *indexNode, parent *node) *node {
	n := &node{uid: i.UID, name: i.Name, parent: parent, kind: i.Kind, size: i.Size, readonly: i.ReadOnly,
		target: i.Target, data: i.Data, xattrs: i.Xattrs, extents: i.Extents, indexed: i.Size, stale: true,
		created: i.Created, modified: i.Modified, changed: i.Changed, accessed: i.Accessed, backup: i.Backup}
	if i.Kind == "dir" {
		n.children = make(map[string]*node, len(i.Children))
		for _, c := range i.Children {
			n.children[c.Name] = fromIndex(c, n)
		}
	}
	return n
}

// toIndex describes the tree as it is now. Data files get the place that fits the name, by a link: the
// old place serves the old index until the new one is there.
func (v *volume) toIndex(n *node) *indexNode {
	if n.kind == "file" && n.data != "" {
		v.relink(n)
	}
	i := &indexNode{UID: n.uid, Name: n.name, Kind: n.kind, Size: n.size, ReadOnly: n.readonly, Target: n.target,
		Data: n.data, Xattrs: n.xattrs, Extents: n.extents, Created: n.created, Modified: n.modified,
		Changed: n.changed, Accessed: n.accessed, Backup: n.backup}
	names := make([]string, 0, len(n.children))
	for name := range n.children {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		i.Children = append(i.Children, v.toIndex(n.children[name]))
	}
	return i
}

func (v *volume) relink(n *node) {
	want := dataName(n)
	if want == n.data {
		return
	}
	to := filepath.Join(v.dir, want)
	if os.MkdirAll(filepath.Dir(to), 0o755) != nil || os.Link(filepath.Join(v.dir, n.data), to) != nil {
		return // the old name does as well
	}
	v.garbage = append(v.garbage, n.data)
	n.data = want
}

// eachFile calls f for every file of the tree.
func eachFile(n *node, f func(*node)) {
	if n.kind == "file" {
		f(n)
	}
	for _, c := range n.children {
		eachFile(c, f)
	}
}

func countFiles(n *node) (files int64) {
	eachFile(n, func(*node) { files++ })
	return files
}

// faults in force now; those that cannot be read are none.
func (v *volume) faults() faults {
	f, err := v.flt.get()
	if err != nil {
		return faults{}
	}
	return f
}

// request counts what the kernel asks of the mounted volume, and ends this process as a kill would where that is wanted. The next
// ltfs lives.
func (v *volume) request() {
	arg := fmt.Sprintf("%s:%d", v.d.m.Barcode, v.requests.Add(1))
	if !v.faults().names("dies-at", arg) {
		return
	}
	_ = v.d.l.endFault("dies-at", arg) // it would die again, no more
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// present tells whether the tape that was mounted is still in the drive.
func (v *volume) present() bool {
	st, err := v.now.get()
	if err != nil {
		return true // the library is unreadable, not the drive empty
	}
	d := st.Drives[v.d.n]
	return d.Tape == v.d.id && d.Loads == v.d.loads && !d.Ejected
}

// capacity in force, bytes.
func (v *volume) capacity() int64 {
	if n := v.faults().size("enospc-after"); n >= 0 && n < v.d.m.Capacity {
		return n
	}
	return v.d.m.Capacity
}

func (v *volume) free() int64 { return max(0, v.capacity()-v.pos.used) }

// buffer is how many bytes are accepted after the tape is full.
func (v *volume) buffer() int64 { return min(32<<20, v.d.m.Capacity/8) }

// changeable tells whether anything may be changed; the lock is held.
func (v *volume) changeable() syscall.Errno {
	switch {
	case v.ro, v.dropped, v.d.m.WritePerm:
		return syscall.EROFS
	case !v.present():
		return syscall.EAGAIN
	case v.full:
		return syscall.ENOSPC
	}
	return 0
}

// touch notes that the index on tape is out of date; the lock is held.
func (v *volume) touch() {
	if !v.dirty {
		v.dirty = true
		v.msgs.dirty(v.d.m, 1)
		v.mayNeedCheck()
	}
}

// checkName refuses what an LTFS index cannot hold.
func checkName(name string) syscall.Errno {
	if !utf8.ValidString(name) {
		return syscall.EINVAL
	}
	if utf8.RuneCountInString(name) > 255 {
		return syscall.ENAMETOOLONG
	}
	return 0
}

// add makes a new node; the lock is held.
func (v *volume) add(parent *node, name, kind string) (*node, syscall.Errno) {
	if errno := v.changeable(); errno != 0 {
		return nil, errno
	}
	if errno := checkName(name); errno != 0 {
		return nil, errno
	}
	if parent.children[name] != nil {
		return nil, syscall.EEXIST
	}
	now := time.Now().UTC()
	n := &node{uid: v.x.NextUID, name: name, parent: parent, kind: kind, indexed: -1,
		created: now, modified: now, changed: now, accessed: now, backup: now}
	if kind == "dir" {
		n.children = map[string]*node{}
	}
	v.x.NextUID++
	parent.children[name] = n
	parent.modified, parent.changed = now, now
	v.touch()
	return n, 0
}

// remove takes a node out of its directory; the lock is held.
func (v *volume) remove(parent *node, name string, dir bool) syscall.Errno {
	if errno := v.changeable(); errno != 0 {
		return errno
	}
	n := parent.children[name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case dir && n.kind != "dir":
		return syscall.ENOTDIR
	case !dir && n.kind == "dir":
		return syscall.EISDIR
	case len(n.children) > 0:
		return syscall.ENOTEMPTY
	}
	delete(parent.children, name)
	v.discard(n)
	now := time.Now().UTC()
	parent.modified, parent.changed = now, now
	v.touch()
	return 0
}

// discard forgets the data of a node that has no name any more. Its blocks stay used.
func (v *volume) discard(n *node) {
	n.gone = true
	delete(v.late, n)
	delete(v.failed, n)
	v.dropData(n)
}

func (v *volume) dropData(n *node) {
	if n.data == "" {
		return
	}
	if n.indexed < 0 {
		os.Remove(filepath.Join(v.dir, n.data))
	} else {
		v.garbage = append(v.garbage, n.data)
	}
	n.data = ""
}

// rename moves a node, replacing what has the new name; the lock is held.
func (v *volume) rename(from *node, name string, to *node, newName string, flags uint32) syscall.Errno {
	if errno := v.changeable(); errno != 0 {
		return errno
	}
	if errno := checkName(newName); errno != 0 {
		return errno
	}
	const noReplace = 1
	if flags&^noReplace != 0 {
		return syscall.EINVAL
	}
	n, old := from.children[name], to.children[newName]
	switch {
	case n == nil:
		return syscall.ENOENT
	case old == n:
		return 0
	case old != nil && flags&noReplace != 0:
		return syscall.EEXIST
	case old != nil && old.kind == "dir" && n.kind != "dir":
		return syscall.EISDIR
	case old != nil && old.kind != "dir" && n.kind == "dir":
		return syscall.ENOTDIR
	case old != nil && len(old.children) > 0:
		return syscall.ENOTEMPTY
	}
	if old != nil {
		v.discard(old)
	}
	delete(from.children, name)
	n.name, n.parent = newName, to
	to.children[newName] = n
	now := time.Now().UTC()
	for _, d := range []*node{from, to} {
		d.modified, d.changed = now, now
	}
	n.changed = now
	v.touch()
	return 0
}
