package archiver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tapefs/tapefs/changer/virtual"
)

// A source goes onto tapes of two pools, opens with openssl and tar, and a second run moves no tape.
func TestArchiveAndOpen(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 96 << 20})
	w.write("src/one", 1, 100<<10)
	w.write("src/dir/two", 2, 3000)
	w.write("src/dir/odd\n\xffname", 3, 10)
	w.write("far/big", 4, 20<<20)
	w.write("far/sub/small", 5, 500)
	w.must(os.Link(filepath.Join(w.dir, "far/sub/small"), filepath.Join(w.dir, "far/sub/zlink")))
	w.must(os.Symlink("nowhere\xff", filepath.Join(w.dir, "far/link")))
	w.must(os.Mkdir(filepath.Join(w.dir, "far/empty"), 0o700))
	s := w.archive()
	if len(s.Tapes) != 2 || s.Counts["far"]["objects"] < 2 {
		t.Errorf("summary %+v", s)
	}
	w.settled()
	w.restore("src", "a")
	w.restore("far", "a")
	w.restore("far", "b")
	before := w.moves()
	if s = w.archive(); len(s.Tapes) != 0 || w.moves() != before {
		t.Errorf("a run without news: %+v, %d events", s, w.moves()-before)
	}
	// One more file goes behind what is there.
	w.write("far/later", 6, 1<<20)
	w.archive()
	w.settled()
	w.restore("far", "b")
}
