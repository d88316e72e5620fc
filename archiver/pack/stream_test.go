package pack

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/pack/packtest"
	"github.com/tapefs/tapefs/catalog"
)

// fileAt makes a file with a time of its own, and says when that is.
func fileAt(t *testing.T, name string, size int) catalog.Time {
	t.Helper()
	must(t, os.WriteFile(name, packtest.Random(3, size), 0o600))
	at := time.Unix(1_600_000_000, 123_456_789)
	must(t, os.Chtimes(name, at, at))
	return catalog.Time{Sec: at.Unix(), Nsec: int32(at.Nanosecond())}
}

// A file that changes after its first byte was read is void, also when its size and its time are as before. One that
// only grew is what it was, and is marked.
func TestStreamNoticesAChangeWhileItReads(t *testing.T) {
	const size = 100_000
	for _, change := range []string{"nothing", "bytes, with the time put back", "growth", "cut"} {
		t.Run(change, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "file")
			at := fileAt(t, name, size)
			l := &Layout{Entries: []Entry{{Path: "file", Size: size, MTime: at, Header: make([]byte, 512), Data: 512}}, Size: 512 + Padded(size) + 1024}
			s := newPlainStream(l, func(string) (*os.File, error) { return os.Open(name) })
			buf := make([]byte, 50_000)
			s.read(buf, nil)
			switch change {
			case "bytes, with the time put back":
				f, err := os.OpenFile(name, os.O_WRONLY, 0)
				must(t, err)
				_, err = f.WriteAt([]byte("other bytes"), size-1000)
				must(t, err)
				must(t, f.Close())
				must(t, os.Chtimes(name, time.Unix(at.Sec, int64(at.Nsec)), time.Unix(at.Sec, int64(at.Nsec))))
			case "growth":
				f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
				must(t, err)
				_, err = f.WriteString("more")
				must(t, err)
				must(t, f.Close())
			case "cut":
				must(t, os.Truncate(name, size-1))
			}
			for s.pos < l.Size {
				s.read(buf, nil)
			}
			if err := s.void[0]; (err == nil) != (change == "nothing" || change == "growth") || s.grew[0] != (change == "growth") {
				t.Errorf("void: %v, grew: %v", err, s.grew[0])
			}
		})
	}
}
