package changer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A program that outlives us must find its output open: a pipe that nobody reads would block it, and a closed one kill it. So the output
// goes to a file, and the file is kept short from here while the program runs and appends to it: the middle is taken out, and what
// remains are the beginning, where the program says what it was given, the end, and the first line of each message in between.

// maxOutput is the length beyond which the middle of a program's output is taken out, bytes.
const maxOutput = 8 << 20

// errTooMuch: the answer of a program is not complete, and must not be taken for one.
var errTooMuch = errors.New("it printed too much for an answer")

// outputFile is a file that a program appends its output to.
type outputFile struct {
	mu   sync.Mutex
	f    *os.File // appends
	from int64    // where the program began to write
	left int64    // how much was taken out
}

// openOutput opens a file that a program is to append to, or appends to already.
func openOutput(path string) (*outputFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	from, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &outputFile{f: f, from: from}, nil
}

// scarceOutput is the room below which the disk of the run folder is not trusted with the output of a program, bytes: what did not fit on it would be
// missing, and the rest taken for the whole.
const scarceOutput = 1 << 20

// onDisk reports whether a file can take the output of a program.
func onDisk(f *os.File) error {
	var room unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &room) == nil && int64(room.Bavail)*room.Bsize < scarceOutput {
		return unix.ENOSPC
	}
	return nil
}

// refused reports whether the disk of the run folder takes nothing just now. Output goes into memory then: a drive must be given back all the same.
func refused(err error) bool {
	return slices.ContainsFunc([]error{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES}, func(e error) bool { return errors.Is(err, e) })
}

// scratchOutput makes an output file without a name.
func scratchOutput(dir string) (*outputFile, error) {
	f, err := unnamedFile(dir)
	if err == nil {
		if err = onDisk(f); err != nil {
			f.Close()
		}
	}
	if refused(err) {
		return memoryOutput()
	}
	if err != nil {
		return nil, err
	}
	return appending(f)
}

// logOutput opens the log that an ltfs is to append to.
func logOutput(path string) (*outputFile, error) {
	o, err := openOutput(path)
	if err == nil {
		if err = onDisk(o.f); err != nil {
			o.Close()
		}
	}
	if refused(err) {
		return memoryOutput()
	}
	return o, err
}

// appending is an output file without a name. The program shares the flag: it appends to what is left once the file was shortened.
func appending(f *os.File) (*outputFile, error) {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, unix.O_APPEND); err != nil {
		f.Close()
		return nil, err
	}
	return &outputFile{f: f}, nil
}

func memoryOutput() (*outputFile, error) {
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return appending(os.NewFile(uintptr(fd), "output in memory"))
}

// unnamedFile makes a file in dir and takes its name away.
func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".output-*")
	if errors.Is(err, fs.ErrNotExist) && os.Mkdir(dir, 0o700) == nil { // somebody removed the run directory
		f, err = os.CreateTemp(dir, ".output-*")
	}
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (o *outputFile) Close() error { return o.f.Close() }

// text is what the program wrote, shortened when it is too much.
func (o *outputFile) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shortenLocked()
	b, err := io.ReadAll(io.NewSectionReader(o.f, o.from, maxOutput))
	if err != nil {
		return ""
	}
	return string(b)
}

// shortened reports whether anything was taken out.
func (o *outputFile) shortened() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.left > 0
}

const (
	outputPoll  = 500 * time.Millisecond // how often the length of an output is looked at
	outputFlood = 20 * time.Millisecond  // and while it grows by more than maxOutput in between
)

// keepShort shortens the outputs again and again until done is closed.
func keepShort(done <-chan struct{}, outputs ...*outputFile) {
	timer := time.NewTimer(outputPoll)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-timer.C:
		}
		next := outputPoll
		for _, o := range outputs {
			if o.shorten() {
				next = outputFlood
			}
		}
		timer.Reset(next)
	}
}

// shorten takes the middle out of an output that is too long, and reports whether it did.
func (o *outputFile) shorten() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shortenLocked()
}

// seam is what the place of a cut is rounded to, bytes: the blocks of file systems, which take out nothing smaller.
const seam = 64 << 10

func (o *outputFile) shortenLocked() bool {
	st, err := o.f.Stat()
	if err != nil || st.Size()-o.from <= maxOutput {
		return false
	}
	begin := (o.from + clipEnds + seam - 1) / seam * seam
	end := (st.Size() - clipEnds) / seam * seam
	notes := newMessages() // of the end, too, which remains: what follows the notes is said after all that is in them
	if notes.read(io.NewSectionReader(o.f, begin, st.Size()-begin)) != nil {
		return false
	}
	o.left += end - begin
	text := fmt.Appendf(nil, "\n… %d bytes of this output are left out; of each message since the first of them this is the first line:\n%s…\n", o.left, notes.text)
	if _, err := o.f.Write(text); err != nil {
		return false
	}
	if err := unix.Fallocate(int(o.f.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, begin, end-begin); err == nil {
		return true
	}
	return o.cut(begin, end)
}

// cut is for file systems that cannot take out the middle of a file: the file is cut at begin, and what stands behind end appended
// again. What the program writes in the very moment of the cut is lost.
func (o *outputFile) cut(begin, end int64) bool {
	tail, err := io.ReadAll(io.NewSectionReader(o.f, end, maxOutput))
	if err != nil || o.f.Truncate(begin) != nil {
		return false
	}
	_, err = o.f.Write(tail)
	return err == nil
}

const (
	maxMessages    = 500 // that are remembered of what is taken out
	maxMessageLine = 300 // bytes of each
)

// messages collects the first line of each message of LTFS programs, in order. Where another process begins, what the one before
// said is forgotten.
type messages struct {
	seen map[string]bool
	text []byte
}

func newMessages() *messages { return &messages{seen: map[string]bool{}} }

func (m *messages) read(r io.Reader) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if bytes.Contains(line, []byte("LTFS")) {
			m.add(bytes.TrimSuffix(line, []byte("\n")))
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line that is very long
			_, err = lines.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (m *messages) add(line []byte) {
	found := ltfsCode().FindSubmatch(line)
	if found == nil {
		return
	}
	code := string(found[1])
	if "LTFS"+code == ltfsStarts {
		clear(m.seen)
		m.text = m.text[:0]
	}
	if !m.seen[code] && len(m.seen) < maxMessages {
		m.seen[code] = true
		m.text = append(append(m.text, line[:min(len(line), maxMessageLine)]...), '\n')
	}
}
