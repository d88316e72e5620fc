package archiver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// restoreTo restores a source and compares it.
func (w *backWorld) restoreTo(source, to string, o RestoreOptions) RestoreSummary {
	w.Helper()
	o.To = filepath.Join(w.dir, to)
	s, err := w.a.Restore(context.Background(), []string{"/" + source}, o)
	if err != nil {
		w.Fatalf("restore %s: %v", source, err)
	}
	return s
}

// A file of several parts comes piece by piece; each tape is loaded once and read forwards.
func TestRestoreReadsForwards(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 96 << 20})
	for i, name := range []string{"far/z", "far/dir/a", "far/dir/m", "far/b"} {
		w.write(name, byte(i+1), 3<<20)
	}
	w.write("far/big", 9, 30<<20)
	w.archive()
	w.settled()
	before, err := w.vl.Log()
	w.must(err)
	s := w.restoreTo("far", "back", RestoreOptions{})
	if s.Files != 5 || s.Failed != 0 || len(s.Tapes) != 1 {
		t.Errorf("summary %+v", s)
	}
	for _, name := range []string{"z", "dir/a", "dir/m", "b", "big"} {
		want, err := os.ReadFile(filepath.Join(w.dir, "far", name))
		w.must(err)
		got, err := os.ReadFile(filepath.Join(w.dir, "back/far", name))
		w.must(err)
		if string(want) != string(got) {
			t.Errorf("%s differs", name)
		}
	}
	events, err := w.vl.Log()
	w.must(err)
	mounts := 0
	last := map[string]int64{}
	for _, e := range events[len(before):] {
		switch e.Kind {
		case "mount":
			mounts++
		case "read":
			// The kernel asks for several pieces ahead, and their answers may be noted in another order.
			if e.Offset < last[e.File]-catalog.ExtentSize-1<<20 {
				t.Errorf("%s is read backwards, from %d to %d", e.File, last[e.File], e.Offset)
			}
			last[e.File] = max(last[e.File], e.Offset)
		}
	}
	if mounts != 1 || len(last) == 0 {
		t.Errorf("%d mounts, %d files read on tape", mounts, len(last))
	}
	if s := w.restoreTo("far", "back", RestoreOptions{}); s.Files != 0 || s.Present != 5 || len(s.Tapes) != 0 {
		t.Errorf("a second time: %+v", s)
	}
}

// One file whose only copy is bad does not stop the others, and no byte of it stays.
func TestRestoreGoesOnPastDamage(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 96 << 20})
	w.write("src/bad", 1, 8<<20)
	w.write("src/good", 2, 100)
	w.archive()
	w.settled()
	v, err := w.db.Resolve(context.Background(), "/src/bad")
	w.must(err)
	loc, err := w.db.Locate(context.Background(), v.ID)
	w.must(err)
	w.must(os.Remove(filepath.Join(w.dir, "src/bad")))
	w.must(os.Remove(filepath.Join(w.dir, "src/good")))
	part := loc.Places[0].Parts[0]
	found, err := filepath.Glob(filepath.Join(w.vl.Dir, "*", part.Barcode, "files", part.Name))
	if err != nil || len(found) != 1 {
		w.Fatalf("where the virtual tape keeps %s: %v, %v", part.Name, found, err)
	}
	f, err := os.OpenFile(found[0], os.O_RDWR, 0)
	w.must(err)
	_, err = f.WriteAt([]byte("other bytes"), 5<<20)
	w.must(err)
	w.must(f.Close())
	s, err := w.a.Restore(context.Background(), []string{"/src"}, RestoreOptions{To: filepath.Join(w.dir, "back")})
	if !errors.Is(err, ErrPartial) || s.Failed != 1 || s.Files != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	left, err := os.ReadDir(filepath.Join(w.dir, "back/src"))
	w.must(err)
	if len(left) != 1 || left[0].Name() != "good" {
		t.Errorf("left behind: %v", left)
	}
	report, err := w.db.RunReport(context.Background(), s.Run)
	w.must(err)
	if report.Kind != "restore" || report.State != "partial" || len(report.Errors) != 1 || report.Errors[0].Path != "src/bad" {
		t.Errorf("run %+v", report)
	}
}
