package source

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

	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
)

// Format is what rsync prints of each entry: itemized change, size, mode, numeric owner
// and group, mtime, name. No name holds two slashes in a row, so the first two after a name end
// it; what follows is " -> target" of a symlink or " => name" of a further hard-linked name.
const Format = "--out-format=%i %l %B %U %G %M %n//%L"

// Entry is what a listing says of one path.
type Entry struct {
	Path   string // below the source's top; "" the top itself
	Kind   catalog.Kind
	Size   int64 // bytes; 0 of a directory
	Mode   uint32
	Uid    uint32
	Gid    uint32
	Mtime  int64  // Unix seconds
	rough  bool   // mtime is about what it is: its year has not four digits
	Target string // of a symlink; "" also when only its first hard-linked name shows it
	Link   string // path of the first of its hard-linked names; "" when it is that or has none
	First  bool   // other names of the listing are hard links to this one

	// What the text of a listing does not tell, of files.
	Exact bool      // nsec is known
	Nsec  int32     // of mtime
	Ctime time.Time // of a source that is read in place; zero: unknown
	Ino   uint64
}

// errNoEntry: a line that lists nothing we keep.
var errNoEntry = errors.New("no entry")

// errSpecial: a socket, fifo or device.
var errSpecial = errors.New("special file")

// parseEntry reads one line of the listing.
func parseEntry(line []byte) (Entry, error) {
	if bytes.HasPrefix(line, []byte("created directory ")) { // what it would do
		return Entry{}, errNoEntry
	}
	bad := func(what string) (Entry, error) {
		const shown = 200
		return Entry{}, fmt.Errorf("listing line %q: %s", line[:min(len(line), shown)], what)
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
	var e Entry
	var err error
	if e.Size, err = strconv.ParseInt(fields[0], 10, 64); err != nil || e.Size < 0 {
		return bad("size")
	}
	if e.Mode, ok = parseMode(fields[1]); !ok {
		return bad("mode")
	}
	uid, err1 := strconv.ParseUint(fields[2], 10, 32)
	gid, err2 := strconv.ParseUint(fields[3], 10, 32)
	if err1 != nil || err2 != nil {
		return bad("owner")
	}
	e.Uid, e.Gid = uint32(uid), uint32(gid)
	if e.Mtime, e.rough, ok = parseStamp(string(stamp)); !ok {
		return bad("time")
	}
	var tail []byte
	switch item[1] {
	case 'd':
		e.Kind, e.Size = catalog.Directory, 0
		if name, ok = bytes.CutSuffix(name, []byte("///")); !ok {
			return bad("the name does not end")
		}
	case 'f', 'L':
		e.Kind = catalog.File
		if item[1] == 'L' {
			e.Kind = catalog.Symlink
		}
		if name, tail, ok = bytes.Cut(name, []byte("//")); !ok {
			return bad("the name does not end")
		}
	case 'S', 'D':
		return Entry{}, errSpecial
	default:
		return bad("unknown kind")
	}
	e.Path = string(Unescape(name))
	if e.Kind == catalog.Directory && e.Path == "." {
		e.Path = ""
	} else if !localfs.ProperPath(e.Path) {
		return bad("no proper path")
	}
	if overlong(e.Path) {
		return Entry{}, &nameTooLong{e.Path}
	}
	if t, ok := bytes.CutPrefix(tail, []byte(" => ")); ok && item[0] == 'h' {
		if e.Link = string(Unescape(t)); !localfs.ProperPath(e.Link) {
			return bad("no proper path of a hard link")
		}
	} else if t, ok := bytes.CutPrefix(tail, []byte(" -> ")); ok && e.Kind == catalog.Symlink {
		e.Target = string(Unescape(t))
	} else if len(tail) > 0 {
		return bad("unknown end")
	}
	return e, nil
}

// maxName is the longest name that Linux file systems hold, bytes. Others hold longer ones, and one such name would
// make a whole directory of the mount unreadable.
const maxName = 255

// maxFetched is the longest path that is asked of a server, bytes. rsync itself takes up to 4095 for what it writes, but its receiver refuses a whole
// transfer ("rejecting unrequested file-list name") for a folder whose path has more than about 3,400 that was asked for by name.
const maxFetched = 3000

// nameTooLong is a listed path that could never be fetched, or with a name that could never be given back.
type nameTooLong struct{ path string }

func (e *nameTooLong) Error() string {
	if !overlong(e.path) {
		return fmt.Sprintf("not archived: its path is longer than the %d bytes that can be fetched from a server", maxFetched)
	}
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

// Unescape undoes rsync's \#ooo. A backslash that no # and three octal digits follow is one.
func Unescape(b []byte) []byte {
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

// PathKey orders paths as a walk by name does: a directory before what is in it, and that
// before its next sibling. No name holds a NUL.
func PathKey(p string) []byte { return bytes.ReplaceAll([]byte(p), []byte("/"), []byte{0}) }

func keyPath(k []byte) string { return strings.ReplaceAll(string(k), "\x00", "/") }

// What encode has in place of nanoseconds.
const (
	secondsKnown = int64(-1)
	timeRough    = int64(-2)
)

// Encode is an entry without its path, which is the sorter's key.
func (e *Entry) Encode(b []byte) []byte {
	b = append(b, byte(e.Kind))
	b = binary.AppendUvarint(b, uint64(e.Size))
	b = binary.AppendVarint(b, e.Mtime)
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, uint64(e.Uid))
	b = binary.AppendUvarint(b, uint64(e.Gid))
	exact := secondsKnown
	switch {
	case e.Exact:
		exact = int64(e.Nsec)
	case e.rough:
		exact = timeRough
	}
	b = binary.AppendVarint(b, exact)
	b = binary.AppendUvarint(b, uint64(len(e.Target)))
	b = append(b, e.Target...)
	return append(b, e.Link...)
}

// LinkMark is the value under a path that other names are hard links to.
var LinkMark = []byte{0}

func DecodeEntry(key, val []byte) Entry {
	e := Entry{Path: keyPath(key), Kind: catalog.Kind(val[0])}
	d := Decoder(val[1:])
	e.Size = int64(d.Uvarint())
	e.Mtime = d.Varint()
	e.Mode = uint32(d.Uvarint())
	e.Uid = uint32(d.Uvarint())
	e.Gid = uint32(d.Uvarint())
	switch n := d.Varint(); n {
	case secondsKnown:
	case timeRough:
		e.rough = true
	default:
		e.Exact, e.Nsec = true, int32(n)
	}
	e.Target = d.bytes(int(d.Uvarint()))
	e.Link = string(d)
	return e
}

// refine adds the time of a record that listTimes made, if it is one of the entry that the text of the listing has.
func (e *Entry) refine(val []byte) {
	d := Decoder(val[1:])
	kind, size, sec, nsec := catalog.Kind(d.Varint()), d.Varint(), d.Varint(), d.Varint()
	if e.Kind != kind || e.Kind == catalog.File && e.Size != size || !e.rough && e.Mtime != sec {
		return
	}
	e.Mtime, e.rough = sec, false
	if e.Kind == catalog.File {
		e.Exact, e.Nsec = true, int32(nsec)
	}
}

// askTime replaces a rough time by the one that this machine's file system tells.
func (e *Entry) askTime(t *localfs.Tree) {
	if !e.rough || t == nil {
		return
	}
	var info fs.FileInfo
	var err error
	if e.Path == "" {
		info, err = t.Root.Stat(".")
	} else {
		info, err = t.Lstat(e.Path)
	}
	if err != nil {
		return // fetching says what is wrong
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		e.Mtime, e.rough = st.Mtim.Sec, false
	}
}

// Decoder reads what encode wrote in this process.
type Decoder []byte

func (d *Decoder) Uvarint() uint64 {
	v, n := binary.Uvarint(*d)
	*d = (*d)[max(n, 0):]
	return v
}

func (d *Decoder) Varint() int64 {
	v, n := binary.Varint(*d)
	*d = (*d)[max(n, 0):]
	return v
}

func (d *Decoder) bytes(n int) string {
	n = min(n, len(*d))
	s := string((*d)[:n])
	*d = (*d)[n:]
	return s
}

// LookInPlace adds what this machine's file system tells of a listed file. One that is not what was listed any more
// keeps what the listing said.
func (e *Entry) LookInPlace(t *localfs.Tree) {
	info, err := t.Lstat(e.Path)
	if err != nil {
		return // fetching says what is wrong
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() && st.Size == e.Size && st.Mtim.Sec == e.Mtime {
		e.Exact, e.Nsec = true, int32(st.Mtim.Nsec)
		e.Ctime, e.Ino = time.Unix(st.Ctim.Unix()).UTC(), st.Ino
	}
}
