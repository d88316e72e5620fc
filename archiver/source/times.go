package source

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/archiver/extsort"
	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/localfs"
	"github.com/tapefs/tapefs/catalog"
)

// A listing's text has whole seconds. Between two rsyncs the nanoseconds are in the file list itself, which
// --only-write-batch hands out as it came. With --existing and nothing there to exist no file is asked for, so that
// the stream is file lists and little else. The layout is that of rsync's flist.c and io.c, protocols 30 to 32.

const (
	nanosecondProtocol = 31 // the first one that carries nanoseconds

	compatIncremental = 1 << 0 // a list for each directory, one after the other
	compatVarintFlags = 1 << 7

	flistSameMode     = 1 << 1
	flistExtended     = 1 << 2
	flistSameName     = 1 << 5
	flistLongName     = 1 << 6
	flistSameTime     = 1 << 7
	flistHardLinked   = 1 << 9
	flistErrorEndList = 1 << 12
	flistNanoseconds  = 1 << 13

	indexDone      = -1
	indexListsEnd  = -2
	indexDeleted   = -3
	indexListsFrom = -101 // and below: the list of a directory follows
)

// timesMark begins the value of a sorted record that tells the exact time of a file. No kind has this number.
const timesMark = 0xff

// errSecondsOnly: the far side's rsync does not tell nanoseconds.
var errSecondsOnly = errors.New("the rsync of the source tells times in whole seconds only (older than 3.1)")

// listTimes lists a source once more, for the exact times of its files, and adds them to a listing's records.
func listTimes(ctx context.Context, env *job.Env, src job.Source, at Address, filters []string, into *extsort.Sorter) (err error) {
	dir, err := os.MkdirTemp(into.Dir, "times-")
	if err != nil {
		return fmt.Errorf("list exact times: %w", err)
	}
	defer localfs.RemoveAll(dir, &err)
	pipe := filepath.Join(dir, "batch")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		return fmt.Errorf("list exact times: make a pipe: %w", err)
	}
	in, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("list exact times: %w", err)
	}
	defer in.Close()
	hold, err := os.OpenFile(pipe, os.O_WRONLY, 0) // the end comes when rsync has ended, not before it begins
	if err != nil {
		return fmt.Errorf("list exact times: %w", err)
	}
	defer hold.Close()
	parsed := make(chan error, 1)
	go func() {
		err := readTimes(bufio.NewReaderSize(in, 1<<16), into)
		_, _ = io.Copy(io.Discard, in) // rsync must not wait for a reader that has given up
		parsed <- err
	}()
	args := func(secluded bool) []string {
		args := append([]string{"-rlt", "--existing", "--only-write-batch=" + pipe}, filters...)
		args = append(args, at.RemoteOptions(src, env.Config.SSH, secluded)...)
		return append(args, "--", at.Listed(), filepath.Join(dir, "nothing")+"/")
	}
	r, err := Reach(ctx, env, src, at, args, nil, func([]byte) error { return nil })
	hold.Close()
	if err != nil { // a part of rsync that outlives it may have the pipe open
		_ = in.SetReadDeadline(time.Now())
	}
	readErr := <-parsed
	switch {
	case err != nil:
		return fmt.Errorf("list exact times: %w", err)
	case r.Exit != 0 && !r.Partial():
		return fmt.Errorf("list exact times: %w", r.Err())
	case readErr != nil:
		return fmt.Errorf("list exact times: %w", readErr)
	}
	return nil
}

// plainYear reports whether the text of a listing tells a time to the second.
func plainYear(sec int64) bool {
	y := time.Unix(sec, 0).UTC().Year()
	return y >= 1000 && y <= 9999
}

// readTimes reads what rsync writes into a batch.
func readTimes(in *bufio.Reader, into *extsort.Sorter) error {
	s := &flistReader{in: in, positive: -1, negative: 1}
	flags, protocol := s.int32(), s.int32()
	_ = flags
	switch {
	case s.err != nil:
		return s.err
	case protocol < 30:
		return errSecondsOnly
	case protocol > 40:
		return fmt.Errorf("rsync wrote a batch of protocol %d", protocol)
	}
	compat := s.varint()
	s.int32() // checksum seed
	s.varintFlags = compat&compatVarintFlags != 0
	if s.err == nil && protocol < nanosecondProtocol {
		return errSecondsOnly
	}
	var val []byte
	list := func() error {
		for {
			e, more := s.entry()
			if s.err != nil {
				return s.err
			}
			if !more {
				return nil
			}
			kind := catalog.File
			switch e.mode & unix.S_IFMT {
			case unix.S_IFREG:
			case unix.S_IFDIR:
				kind = catalog.Directory
			case unix.S_IFLNK:
				kind = catalog.Symlink
			default:
				continue
			}
			path := e.name
			if path == "." && kind == catalog.Directory {
				path = "" // the top
			} else if !localfs.ProperPath(path) {
				continue
			}
			if kind != catalog.File && plainYear(e.mtime.Sec) {
				continue // the text says it
			}
			val = append(val[:0], timesMark)
			val = binary.AppendVarint(val, int64(kind))
			val = binary.AppendVarint(val, e.size)
			val = binary.AppendVarint(val, e.mtime.Sec)
			val = binary.AppendVarint(val, int64(e.mtime.Nsec))
			if err := into.Add(PathKey(path), val); err != nil {
				return err
			}
		}
	}
	if err := list(); err != nil || compat&compatIncremental == 0 {
		return err
	}
	for {
		n := s.index()
		switch {
		case s.err != nil:
			return s.err
		case n == indexListsEnd:
			return nil
		case n == indexDone:
		case n <= indexListsFrom:
			if err := list(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("rsync's batch holds index %d between its file lists", n)
		}
	}
}

// flistReader reads numbers and entries as rsync sends them. The first error stays.
type flistReader struct {
	in                 *bufio.Reader
	err                error
	varintFlags        bool
	positive, negative int32 // the last index of each sign
	last               flistEntry
}

type flistEntry struct {
	name  string
	mode  uint32
	size  int64
	mtime catalog.Time
}

// maxFlistText bounds names and link targets, bytes: rsync's own limit is 4096.
const maxFlistText = 1 << 16

// entry reads one entry of a list; false at its end.
func (s *flistReader) entry() (flistEntry, bool) {
	var flags uint32
	if s.varintFlags {
		if flags = uint32(s.varint()); flags == 0 {
			s.varint() // what went wrong with the list: the text listing says it, too
			return flistEntry{}, false
		}
	} else {
		if flags = uint32(s.byte()); flags == 0 {
			return flistEntry{}, false
		}
		if flags&flistExtended != 0 {
			flags |= uint32(s.byte()) << 8
		}
		if flags == flistExtended|flistErrorEndList {
			s.varint()
			return flistEntry{}, false
		}
	}
	keep, length := 0, 0
	if flags&flistSameName != 0 {
		keep = int(s.byte())
	}
	if flags&flistLongName != 0 {
		length = int(s.varint())
	} else {
		length = int(s.byte())
	}
	if s.err == nil && (keep > len(s.last.name) || length < 0 || length > maxFlistText) {
		s.err = fmt.Errorf("rsync's file list has a name of %d bytes after %d of %d", length, keep, len(s.last.name))
	}
	if s.err != nil {
		return flistEntry{}, false
	}
	e := flistEntry{name: s.last.name[:keep] + string(s.text(length)), mode: s.last.mode}
	e.size = s.varlong(3)
	e.mtime.Sec = s.last.mtime.Sec
	if flags&flistSameTime == 0 {
		e.mtime.Sec = s.varlong(4)
	}
	if flags&flistNanoseconds != 0 {
		e.mtime.Nsec = s.varint()
	}
	if flags&flistSameMode == 0 {
		e.mode = uint32(s.int32())
	}
	if e.mode&unix.S_IFMT == unix.S_IFLNK {
		n := int(s.varint())
		if s.err == nil && (n < 0 || n > maxFlistText) {
			s.err = fmt.Errorf("rsync's file list has a link target of %d bytes", n)
		}
		s.text(n)
	}
	if s.err == nil && (flags&flistHardLinked != 0 || e.size < 0 || e.mtime.Nsec < 0 || e.mtime.Nsec > 999_999_999) {
		s.err = fmt.Errorf("rsync's file list has an entry nobody asked for: flags %#x, size %d", flags, e.size)
	}
	s.last = e
	return e, s.err == nil
}

// index reads a file's number, or what stands for another message.
func (s *flistReader) index() int32 {
	b := s.byte()
	previous := &s.positive
	if b == 0xff {
		b, previous = s.byte(), &s.negative
	} else if b == 0 {
		return indexDone
	}
	n := int32(b) + *previous
	if b == 0xfe {
		high, low := s.byte(), s.byte()
		if high&0x80 != 0 {
			n = int32(uint32(low) | uint32(s.byte())<<8 | uint32(s.byte())<<16 | uint32(high&0x7f)<<24)
		} else {
			n = int32(high)<<8 + int32(low) + *previous
		}
	}
	*previous = n
	if previous == &s.negative {
		return -n
	}
	return n
}

func (s *flistReader) byte() byte {
	if s.err != nil {
		return 0
	}
	b, err := s.in.ReadByte()
	s.fail(err)
	return b
}

func (s *flistReader) fail(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("read rsync's file list: %w", err)
	}
}

func (s *flistReader) text(n int) []byte {
	if s.err != nil || n <= 0 {
		return nil
	}
	b := make([]byte, n)
	_, err := io.ReadFull(s.in, b)
	s.fail(err)
	return b
}

func (s *flistReader) int32() int32 {
	var b [4]byte
	if s.err == nil {
		_, err := io.ReadFull(s.in, b[:])
		s.fail(err)
	}
	return int32(binary.LittleEndian.Uint32(b[:]))
}

// more is how many bytes follow the first one of a number.
func more(first byte) int {
	switch {
	case first < 0x80:
		return 0
	case first < 0xc0:
		return 1
	case first < 0xe0:
		return 2
	case first < 0xf0:
		return 3
	case first < 0xf8:
		return 4
	case first < 0xfc:
		return 5
	}
	return 6
}

func (s *flistReader) varint() int32 { return int32(s.number(1, 4)) }

func (s *flistReader) varlong(least int) int64 { return s.number(least, 8) }

// number reads a little-endian number of at least so many bytes. The first byte sent says how many more there
// are, and the bits of it that are not needed for that are the highest byte.
func (s *flistReader) number(least, most int) int64 {
	first := s.byte()
	var b [16]byte
	extra := more(first)
	copy(b[:], s.text(least-1+extra))
	if extra > 0 {
		first &= 1<<(8-extra) - 1
	}
	b[least-1+extra] = first
	if s.err == nil && least+extra > most+1 || b[most] != 0 && s.err == nil {
		s.err = fmt.Errorf("rsync's file list has a number of %d bytes", least+extra)
	}
	if most == 4 {
		return int64(int32(binary.LittleEndian.Uint32(b[:4])))
	}
	return int64(binary.LittleEndian.Uint64(b[:8]))
}
