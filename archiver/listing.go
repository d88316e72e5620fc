package archiver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tapefs/archiver/localfs"
	"tapefs/catalog"
)

// listFormat is what rsync prints of each entry: itemized change, size, mode, numeric owner
// and group, mtime, name. No name holds two slashes in a row, so the first two after a name end
// it; what follows is " -> target" of a symlink or " => name" of a further hard-linked name.
const listFormat = "--out-format=%i %l %B %U %G %M %n//%L"

// listEntry is what a listing says of one path.
type listEntry struct {
	path   string // below the source's top; "" the top itself
	kind   catalog.Kind
	size   int64 // bytes; 0 of a directory
	mode   uint32
	uid    uint32
	gid    uint32
	mtime  int64  // Unix seconds
	rough  bool   // mtime is about what it is: its year has not four digits
	target string // of a symlink; "" also when only its first hard-linked name shows it
	link   string // path of the first of its hard-linked names; "" when it is that or has none
	first  bool   // other names of the listing are hard links to this one

	// What the text of a listing does not tell, of files.
	exact bool      // nsec is known
	nsec  int32     // of mtime
	ctime time.Time // of a source that is read in place; zero: unknown
	ino   uint64
}

// errNoEntry: a line that lists nothing we keep.
var errNoEntry = errors.New("no entry")

// errSpecial: a socket, fifo or device.
var errSpecial = errors.New("special file")

// parseEntry reads one line of the listing.
func parseEntry(line []byte) (listEntry, error) {
	if bytes.HasPrefix(line, []byte("created directory ")) { // what it would do
		return listEntry{}, errNoEntry
	}
	bad := func(what string) (listEntry, error) {
		const shown = 200
		return listEntry{}, fmt.Errorf("listing line %q: %s", line[:min(len(line), shown)], what)
	}
	item, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(item) < 2 || bytes.IndexByte([]byte("<>ch."), item[0]) < 0 {
		return bad("not an itemized entry")
	}
	var fields [4]string
	for i := range fields {
		rest = bytes.TrimLeft(rest, " ")
		f, r, ok := bytes.Cut(rest, []byte(" "))
		if !ok {
			return bad("it ends early")
		}
		fields[i], rest = string(f), r
	}
	rest = bytes.TrimLeft(rest, " ") // rsync pads years before 1000
	stamp, name, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return bad("no name")
	}
	var e listEntry
	var err error
	if e.size, err = strconv.ParseInt(fields[0], 10, 64); err != nil || e.size < 0 {
		return bad("size")
	}
	if e.mode, ok = parseMode(fields[1]); !ok {
		return bad("mode")
	}
	uid, err1 := strconv.ParseUint(fields[2], 10, 32)
	gid, err2 := strconv.ParseUint(fields[3], 10, 32)
	if err1 != nil || err2 != nil {
		return bad("owner")
	}
	e.uid, e.gid = uint32(uid), uint32(gid)
	if e.mtime, e.rough, ok = parseStamp(string(stamp)); !ok {
		return bad("time")
	}
	var tail []byte
	switch item[1] {
	case 'd':
		e.kind, e.size = catalog.Directory, 0
		if name, ok = bytes.CutSuffix(name, []byte("///")); !ok {
			return bad("the name does not end")
		}
	case 'f', 'L':
		e.kind = catalog.File
		if item[1] == 'L' {
			e.kind = catalog.Symlink
		}
		if name, tail, ok = bytes.Cut(name, []byte("//")); !ok {
			return bad("the name does not end")
		}
	case 'S', 'D':
		return listEntry{}, errSpecial
	default:
		return bad("unknown kind")
	}
	e.path = string(unescape(name))
	if e.kind == catalog.Directory && e.path == "." {
		e.path = ""
	} else if !localfs.ProperPath(e.path) {
		return bad("no proper path")
	}
	if overlong(e.path) {
		return listEntry{}, &nameTooLong{e.path}
	}
	if t, ok := bytes.CutPrefix(tail, []byte(" => ")); ok && item[0] == 'h' {
		if e.link = string(unescape(t)); !localfs.ProperPath(e.link) {
			return bad("no proper path of a hard link")
		}
	} else if t, ok := bytes.CutPrefix(tail, []byte(" -> ")); ok && e.kind == catalog.Symlink {
		e.target = string(unescape(t))
	} else if len(tail) > 0 {
		return bad("unknown end")
	}
	return e, nil
}

// maxName is the longest name that Linux file systems hold, bytes. Others hold longer ones, and one such name would
// make a whole directory of the mount unreadable.
const maxName = 255

// nameTooLong is a listed path with a name that could never be given back.
type nameTooLong struct{ path string }

func (e *nameTooLong) Error() string {
	return fmt.Sprintf("not archived: a name in its path is longer than %d bytes, which no Linux file system holds", maxName)
}

func overlong(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if len(name) > maxName {
			return true
		}
	}
	return false
}

// unescape undoes rsync's \#ooo. A backslash that no # and three octal digits follow is one.
func unescape(b []byte) []byte {
	if !bytes.Contains(b, []byte(`\#`)) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+4 < len(b) && b[i+1] == '#' {
			if n, err := strconv.ParseUint(string(b[i+2:i+5]), 8, 8); err == nil {
				out = append(out, byte(n))
				i += 4
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

// parseMode reads permissions like rwsr-xr-t.
func parseMode(s string) (uint32, bool) {
	if len(s) != 9 {
		return 0, false
	}
	var mode uint32
	for i := range 9 {
		bit := uint32(0o400) >> i
		special, letter := uint32(0), byte('s')
		switch i {
		case 2:
			special = 0o4000
		case 5:
			special = 0o2000
		case 8:
			special, letter = 0o1000, 't'
		}
		switch c := s[i]; {
		case c == '-':
		case c == "rwxrwxrwx"[i]:
			mode |= bit
		case special != 0 && c == letter:
			mode |= bit | special
		case special != 0 && c == letter-'a'+'A':
			mode |= special
		default:
			return 0, false
		}
	}
	return mode, true
}

// parseStamp reads 2026/11/23-02:19:24 in UTC. rsync pads years before 1000 with dashes, which are signs as well, and cuts what follows
// one after 9999 off: such a time is rough.
func parseStamp(s string) (sec int64, rough, ok bool) {
	digits := strings.TrimLeft(s, "-")
	date, clock, _ := strings.Cut(digits, "-")
	year, _, whole := strings.Cut(date, "/")
	y, err := strconv.ParseInt(year, 10, 40)
	if err != nil || y < 0 {
		return 0, false, false
	}
	rough = y < 1000 || y > 9999
	n := [6]int{int(y), 1, 1, 0, 0, 0}
	fields := append(strings.Split(date, "/"), strings.Split(clock, ":")...)
	if !rough && (len(fields) != len(n) || len(digits) != len(s)) || len(fields) > len(n) || !whole {
		return 0, false, false
	}
	for i, f := range fields[1:] {
		v, err := strconv.ParseUint(f, 10, 6)
		if err != nil && !(rough && f == "") || v > 60 {
			return 0, false, false
		}
		n[i+1] = int(v)
	}
	if rough {
		n[1], n[2] = max(n[1], 1), max(n[2], 1)
	}
	if n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 31 || n[3] > 23 {
		return 0, false, false
	}
	return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC).Unix(), rough, true
}

// pathKey orders paths as a walk by name does: a directory before what is in it, and that
// before its next sibling. No name holds a NUL.
func pathKey(p string) []byte { return bytes.ReplaceAll([]byte(p), []byte("/"), []byte{0}) }

func keyPath(k []byte) string { return strings.ReplaceAll(string(k), "\x00", "/") }

// What encode has in place of nanoseconds.
const (
	secondsKnown = int64(-1)
	timeRough    = int64(-2)
)

// encode is an entry without its path, which is the sorter's key.
func (e *listEntry) encode(b []byte) []byte {
	b = append(b, byte(e.kind))
	b = binary.AppendUvarint(b, uint64(e.size))
	b = binary.AppendVarint(b, e.mtime)
	b = binary.AppendUvarint(b, uint64(e.mode))
	b = binary.AppendUvarint(b, uint64(e.uid))
	b = binary.AppendUvarint(b, uint64(e.gid))
	exact := secondsKnown
	switch {
	case e.exact:
		exact = int64(e.nsec)
	case e.rough:
		exact = timeRough
	}
	b = binary.AppendVarint(b, exact)
	b = binary.AppendUvarint(b, uint64(len(e.target)))
	b = append(b, e.target...)
	return append(b, e.link...)
}

// mark is the value under a path that other names are hard links to.
var mark = []byte{0}

func decodeEntry(key, val []byte) listEntry {
	e := listEntry{path: keyPath(key), kind: catalog.Kind(val[0])}
	d := decoder(val[1:])
	e.size = int64(d.uvarint())
	e.mtime = d.varint()
	e.mode = uint32(d.uvarint())
	e.uid = uint32(d.uvarint())
	e.gid = uint32(d.uvarint())
	switch n := d.varint(); n {
	case secondsKnown:
	case timeRough:
		e.rough = true
	default:
		e.exact, e.nsec = true, int32(n)
	}
	e.target = d.bytes(int(d.uvarint()))
	e.link = string(d)
	return e
}

// refine adds the time of a record that listTimes made, if it is one of the entry that the text of the listing has.
func (e *listEntry) refine(val []byte) {
	d := decoder(val[1:])
	kind, size, sec, nsec := catalog.Kind(d.varint()), d.varint(), d.varint(), d.varint()
	if e.kind != kind || e.kind == catalog.File && e.size != size || !e.rough && e.mtime != sec {
		return
	}
	e.mtime, e.rough = sec, false
	if e.kind == catalog.File {
		e.exact, e.nsec = true, int32(nsec)
	}
}

// askTime replaces a rough time by the one that this machine's file system tells.
func (e *listEntry) askTime(t *localfs.Tree) {
	if !e.rough || t == nil {
		return
	}
	var info fs.FileInfo
	var err error
	if e.path == "" {
		info, err = t.Root.Stat(".")
	} else {
		info, err = t.Lstat(e.path)
	}
	if err != nil {
		return // fetching says what is wrong
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.mtime, e.rough = st.Mtim.Sec, false
	}
}

// decoder reads what encode wrote in this process.
type decoder []byte

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(*d)
	*d = (*d)[max(n, 0):]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(*d)
	*d = (*d)[max(n, 0):]
	return v
}

func (d *decoder) bytes(n int) string {
	n = min(n, len(*d))
	s := string((*d)[:n])
	*d = (*d)[n:]
	return s
}
