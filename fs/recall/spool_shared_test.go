package recall

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
)

// spooled puts a file of some bytes into the spool and the catalog.
func (w *world) spooled(q *Queue, id catalog.ID, content string) {
	w.t.Helper()
	name := filepath.Join(q.o.SpoolDir, "batch", string(rune('a'+id)))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	at := time.Unix(1e9+int64(id), 0)
	if err := os.Chtimes(name, at, at); err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locs[id] = catalog.Location{
		Version: catalog.Version{ID: id, Kind: catalog.File, SHA256: sum[:], Size: int64(len(content)), MTime: catalog.Time{Sec: at.Unix()}, State: catalog.Present, Data: id, Inode: id},
		Batch:   &catalog.Batch{ID: 1, Dir: "batch", State: catalog.Synced}, Path: string(rune('a' + id)),
	}
}

// TestSpoolFilesShareDescriptors: one descriptor for a file, however often it is open, and no user has more files open than is his.
func TestSpoolFilesShareDescriptors(t *testing.T) {
	w := newWorld(t, 0)
	q := w.queue(Options{SpoolDir: t.TempDir()})
	q.spoolBounds = spoolBounds{all: 5, user: 3}
	for id := range catalog.ID(8) {
		w.spooled(q, id+1, "waits for its tape")
	}
	var open []*File
	try := func(id catalog.ID, user uint32) error {
		f, err := q.OpenFor(t.Context(), id, user)
		if err == nil {
			open = append(open, f)
			p := make([]byte, 5)
			if _, rerr := f.ReadAt(t.Context(), p, 0); rerr != nil || string(p) != "waits" {
				t.Errorf("read: %q, %v", p, rerr)
			}
		}
		return err
	}
	was := descriptors(t)
	for range 100 {
		if err := try(1, 1000); err != nil {
			t.Fatal(err)
		}
	}
	if n := descriptors(t) - was; n > 1 {
		t.Errorf("one file takes %d descriptors", n)
	}
	if err := errors.Join(try(2, 1000), try(3, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := try(4, 1000); !errors.Is(err, unix.EMFILE) {
		t.Errorf("beyond the user's bound: %v", err)
	}
	if err := errors.Join(try(1, 2000), try(4, 2000), try(5, 2000)); err != nil {
		t.Errorf("another user: %v", err)
	}
	if err := try(6, 3000); !errors.Is(err, unix.ENFILE) {
		t.Errorf("beyond the bound of all: %v", err)
	}
	// One of many closes: the file stays open for the others.
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open[1].ReadAt(t.Context(), make([]byte, 5), 0); err != nil {
		t.Error(err)
	}
	for _, f := range open[1:] {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	open = nil
	if n := descriptors(t) - was; n > 0 || q.spoolCount != 0 || len(q.spoolUsers)+len(q.spoolFiles) > 0 {
		t.Errorf("%d descriptors are left; counted %d, %v", n, q.spoolCount, q.spoolUsers)
	}
	// A file that changed is opened anew, and who has the old one open keeps what he has.
	if err := try(1, 1000); err != nil {
		t.Fatal(err)
	}
	w.spooled(q, 1, "another one of that name")
	if f, err := q.OpenFor(t.Context(), 1, 1000); err != nil {
		t.Error(err)
	} else {
		p := make([]byte, 7)
		if _, err := f.ReadAt(t.Context(), p, 0); err != nil || string(p) != "another" {
			t.Errorf("read: %q, %v", p, err)
		}
		open = append(open, f)
	}
	for _, f := range open {
		f.Close()
	}
	if q.spoolCount != 0 || len(q.spoolUsers)+len(q.spoolFiles) > 0 {
		t.Errorf("counted %d, %v, %v", q.spoolCount, q.spoolUsers, q.spoolFiles)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
