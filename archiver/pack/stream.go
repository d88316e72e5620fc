package pack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/beneath"
)

// Opener opens a member's file by its path within the source.
type Opener func(path string) (*os.File, error)

var ErrNotAsPlanned = errors.New("changed since it was planned")

// FileState is what tells whether a file changed between two looks.
type FileState struct {
	Size         int64
	Mtime, ctime syscall.Timespec
	inode        uint64
	uid, gid     uint32
}

// StateOf asks an open file for its state.
func StateOf(f *os.File) (FileState, error) {
	info, err := f.Stat()
	if err != nil {
		return FileState{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return FileState{}, beneath.ErrNotRegular
	}
	return FileState{Size: st.Size, Mtime: st.Mtim, ctime: st.Ctim, inode: st.Ino, uid: st.Uid, gid: st.Gid}, nil
}

// plainStream reads a layout's plain bytes, the content from the members' files, which are opened one at
// a time. It remembers which members could not be read as they were planned: their bytes are
// padded with zeros or cut to the planned size. Not safe for concurrent use.
type plainStream struct {
	l    *Layout
	open Opener
	pos  int64 // next plain offset
	Got  int64 // bytes of content that came from files, those read again too

	file  *os.File
	index int               // of the entry whose file is open
	seen  map[int]FileState // at the first opening, of the file that may be opened again
	void  map[int]error     // why a member is void
	bad   *FileError        // the first member whose bytes could not be had; one that changed while it was read is none
	place bool              // the files are read in place, where other people may exchange them
	grew  map[int]bool      // members that were longer than planned: what they held up to there is what is read
}

func newPlainStream(l *Layout, open Opener) *plainStream {
	return &plainStream{l: l, open: open, index: -1, seen: map[int]FileState{}, void: map[int]error{}, grew: map[int]bool{}}
}

// span says that plain bytes of an entry's content lie at [from, to) of a buffer.
type span struct {
	entry    int
	from, to int
	off      int64 // of the first of them within the content
}

// seek makes the next read begin at a plain offset.
func (s *plainStream) seek(off int64) {
	if off != s.pos {
		s.closeFile()
		s.pos = off
	}
}

func (s *plainStream) closeFile() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	s.index = -1
}

// read fills p, or less at the stream's end, and appends the spans of content to spans. Errors of
// single files make them void, so it never fails.
func (s *plainStream) read(p []byte, spans []span) (int, []span) {
	done := 0
	for done < len(p) && s.pos < s.l.Size {
		i := s.l.find(s.pos)
		var n int
		if i == len(s.l.Entries) {
			n = int(min(int64(len(p)-done), s.l.Size-s.pos))
			clear(p[done : done+n])
		} else if e := &s.l.Entries[i]; s.pos < e.At+int64(len(e.Header)) {
			n = copy(p[done:], e.Header[s.pos-e.At:])
		} else if off := s.pos - e.Data; off < e.Size {
			n = int(min(int64(len(p)-done), e.Size-off))
			s.content(i, off, p[done:done+n])
			spans = append(spans, span{entry: i, from: done, to: done + n, off: off})
		} else {
			n = int(min(int64(len(p)-done), Padded(e.Size)-off))
			clear(p[done : done+n])
		}
		done += n
		s.pos += int64(n)
		s.finished(i)
	}
	return done, spans
}

// finished looks at the open file again once its last byte was read.
func (s *plainStream) finished(i int) {
	if s.file == nil || s.index != i || s.pos < s.l.Entries[i].Data+s.l.Entries[i].Size {
		return
	}
	now, err := StateOf(s.file)
	if err == nil && s.hasGrown(i, now) {
		s.grew[i] = true
	} else if err == nil && now != s.seen[i] {
		err = errors.New("changed while it was read")
	}
	if err != nil {
		s.spoil(i, err)
	}
	s.closeFile()
}

// hasGrown reports whether an open file is longer than planned and longer than before, as a log is.
func (s *plainStream) hasGrown(i int, now FileState) bool {
	before := s.seen[i]
	return now.inode == before.inode && now.Size > s.l.Entries[i].Size && now.Size >= before.Size && now != before
}

func (s *plainStream) spoil(i int, err error) {
	if s.void[i] == nil {
		s.void[i] = err
	}
}

// lack is spoil for a member whose bytes are not to be had.
func (s *plainStream) lack(i int, err error) {
	s.spoil(i, err)
	if s.bad == nil {
		s.bad = &FileError{Path: s.l.Entries[i].Path, place: s.place, Err: err}
	}
}

// content reads a member's bytes at off, or zeros where there are none.
func (s *plainStream) content(i int, off int64, p []byte) {
	e := &s.l.Entries[i]
	if s.index != i {
		s.closeFile()
		s.index = i
		if !e.Void {
			s.openFile(i, e)
		}
	}
	n := 0
	if s.file != nil {
		var err error
		n, err = s.file.ReadAt(p, off)
		s.Got += int64(n)
		if err == io.EOF && n < len(p) {
			err = errors.New("shorter than planned")
		}
		if err != nil && err != io.EOF {
			s.lack(i, err)
		}
	}
	clear(p[n:])
}

// openFile opens a member's file and compares it with what was planned and seen before.
func (s *plainStream) openFile(i int, e *Entry) {
	f, err := s.open(e.Path)
	if err != nil {
		s.lack(i, err)
		return
	}
	now, err := StateOf(f)
	if err != nil {
		f.Close()
		s.lack(i, err)
		return
	}
	s.file = f
	before, again := s.seen[i]
	if !again {
		s.seen[i] = now
	}
	longer := now.Size > e.Size && (!again || now == before || s.hasGrown(i, now))
	if longer {
		s.grew[i] = true
	} else {
		err = e.AsPlanned(now)
	}
	if err == nil && s.place {
		err = e.AsListed(now)
	}
	if err == nil && again && now != before && !longer {
		err = fmt.Errorf("%w (%d bytes, now %d)", ErrNotAsPlanned, e.Size, now.Size)
	}
	if err != nil {
		s.lack(i, err)
	}
}

// AsPlanned says whether a file is what was planned, as far as its size and time tell.
func (e *Entry) AsPlanned(now FileState) error {
	if e.MTime.KeptAs(catalog.Time{Sec: now.Mtime.Sec, Nsec: int32(now.Mtime.Nsec)}) && now.Size == e.Size {
		return nil
	}
	return fmt.Errorf("%w (%d bytes, now %d)", ErrNotAsPlanned, e.Size, now.Size)
}

// AsListed says whether a file that is read in place is the one that was listed, of the same owner: whoever may write to its
// directory could have put a link to somebody's private file there.
func (e *Entry) AsListed(now FileState) error {
	switch {
	case !e.Listed:
		return nil // laid out by an older version
	case now.uid != e.UID || now.gid != e.GID:
		return fmt.Errorf("%w: it has another owner", ErrNotAsPlanned)
	case e.Ino != 0 && now.inode != e.Ino:
		return fmt.Errorf("%w: another file took its place", ErrNotAsPlanned)
	}
	return nil
}
