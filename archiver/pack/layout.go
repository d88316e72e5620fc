package pack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

const (
	TarBlock = 512
	TarEnd   = 2 * TarBlock // two blocks of zeros end an archive
)

// Member is a version with its place in the tree.
type Member struct {
	catalog.Version
	Path   string // within the source, "" the source's root
	Parent bool   // a directory that is only there for its members: no row will place it
}

// Entry is one header of the tar stream with the bytes that follow it.
type Entry struct {
	Version catalog.ID // 0: a parent directory that is no member
	Path    string     // within the source
	Kind    catalog.Kind
	Header  []byte // header blocks, PAX records included
	At      int64  // plain offset of Header
	Data    int64  // plain offset of the bytes, -1: none of its own
	Size    int64  // bytes of content
	MTime   catalog.Time
	SHA256  []byte // of the content, as it was fetched; nil: nobody summed it
	First   int    // index of the entry that a hard link names, -1
	Void    bool   // its bytes are not to be had: zeros

	// Listed is true when the fields below say which inode was listed: a file that is read in place may be another one's by now.
	Listed   bool
	UID, GID uint32
	Ino      uint64 // 0: unknown
}

// Layout is an object's whole plain stream, known before a byte of content was read: any part of it
// can be made again at any time. Exported fields: it is kept in the spool while copies are owed.
type Layout struct {
	Entries []Entry
	Size    int64 // bytes of the plain stream
}

// NewLayout computes the stream of source's members. Directories come first, parents before what
// they hold, then the rest in the order given. A further name of a hard-linked file is a link to
// the first one in this object.
func NewLayout(source string, members []Member) (*Layout, error) {
	order := make([]*Member, 0, len(members))
	for i := range members {
		if m := &members[i]; m.Kind == catalog.Directory {
			order = append(order, m)
		}
	}
	// A parent's path is a prefix of its children's, so it sorts before them.
	sort.SliceStable(order, func(i, j int) bool { return order[i].Path < order[j].Path })
	for i := range members {
		if m := &members[i]; m.Kind != catalog.Directory {
			order = append(order, m)
		}
	}
	l := &Layout{Entries: make([]Entry, 0, len(order))}
	first := map[catalog.ID]int{} // by inode
	for _, m := range order {
		if err := CheckPath(m.Path); err != nil {
			return nil, err
		}
		e := Entry{Version: m.ID, Path: m.Path, Kind: m.Kind, At: l.Size, Data: -1, MTime: m.MTime, First: -1}
		if m.Parent {
			e.Version = 0
		}
		h := tar.Header{
			Format: tar.FormatPAX, Name: MemberName(source, m.Path),
			Mode: int64(m.Mode & 0o7777), ModTime: time.Unix(m.MTime.Sec, int64(m.MTime.Nsec)),
			Uid: int(m.Owner.UID), Gid: int(m.Owner.GID), Uname: m.Owner.User, Gname: m.Owner.Group,
		}
		switch m.Kind {
		case catalog.Directory:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case catalog.Symlink:
			h.Typeflag, h.Linkname = tar.TypeSymlink, m.Target
		case catalog.File:
			if i, ok := first[InodeOf(&m.Version)]; ok {
				h.Typeflag, h.Linkname = tar.TypeLink, MemberName(source, l.Entries[i].Path)
				e.First = i
				break
			}
			first[InodeOf(&m.Version)] = len(l.Entries)
			h.Typeflag, h.Size = tar.TypeReg, m.Size
			e.Size, e.Void, e.SHA256 = m.Size, m.State == catalog.Void, m.SHA256
			e.Listed, e.UID, e.GID, e.Ino = true, m.Owner.UID, m.Owner.GID, m.Ino
		default:
			return nil, fmt.Errorf("lay out version %d: kind %d is none that is archived", m.ID, m.Kind)
		}
		header, err := TarHeader(&h)
		if err != nil {
			return nil, fmt.Errorf("lay out %q: %w", h.Name, err)
		}
		e.Header = header
		l.Size += int64(len(header))
		if h.Typeflag == tar.TypeReg {
			e.Data = l.Size
			l.Size += Padded(e.Size)
		}
		l.Entries = append(l.Entries, e)
	}
	l.Size += TarEnd
	return l, nil
}

// InodeOf is the version that stands for all names of a file.
func InodeOf(v *catalog.Version) catalog.ID {
	if v.Inode == 0 {
		return v.ID
	}
	return v.Inode
}

// MemberName is a name in the tar stream.
func MemberName(source, p string) string {
	if p == "" {
		return source
	}
	return source + "/" + p
}

// SplitMember returns a member's source and its path within that.
func SplitMember(name string) (source, p string, err error) {
	source, p, _ = strings.Cut(strings.TrimSuffix(name, "/"), "/")
	if source == "" || source == "." || source == ".." || path.Base(source) != source {
		return "", "", fmt.Errorf("member %.80q has no source", name)
	}
	return source, p, CheckPath(p)
}

// CheckPath refuses what would leave the source's folder when it is extracted.
func CheckPath(p string) error {
	if p == "" {
		return nil
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." || strings.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("path %q: %q is no file name", p, name)
		}
	}
	return nil
}

// TarHeader returns a member's header blocks.
func TarHeader(h *tar.Header) ([]byte, error) {
	var buf bytes.Buffer
	if err := tar.NewWriter(&buf).WriteHeader(h); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Padded is a size rounded up to whole tar blocks.
func Padded(n int64) int64 { return (n + TarBlock - 1) &^ (TarBlock - 1) }

// find returns the index of the entry whose header or bytes hold a plain offset; len(Entries) at
// the archive's end.
func (l *Layout) find(off int64) int {
	if off >= l.Size-TarEnd {
		return len(l.Entries)
	}
	return sort.Search(len(l.Entries), func(i int) bool { return l.Entries[i].At > off }) - 1
}

// WithParents adds the directories above the members that are not among them; get returns the
// directory at a path within the source.
func WithParents(members []Member, get func(path string) (catalog.Version, error)) ([]Member, error) {
	have := map[string]bool{}
	for i := range members {
		if members[i].Kind == catalog.Directory {
			have[members[i].Path] = true
		}
	}
	for _, m := range members[:len(members):len(members)] {
		for p := m.Path; p != ""; {
			if p = path.Dir(p); p == "." {
				p = ""
			}
			if have[p] {
				break
			}
			have[p] = true
			v, err := get(p)
			if err != nil {
				return nil, fmt.Errorf("find the directory %q: %w", p, err)
			}
			v.Kind = catalog.Directory
			members = append(members, Member{Version: v, Path: p, Parent: true})
		}
	}
	return members, nil
}
