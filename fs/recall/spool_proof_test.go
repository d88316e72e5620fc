package recall

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/blocksums"
	"golang.org/x/sys/unix"
)

// large is a file of several blocks that ends within one.
const large = 5*blocksums.Block + 777

// rot is a world in which SpoolDamaged is told of spooled files.
func newRotWorld(t *testing.T) (*world, *Queue, *[]catalog.ID) {
	w := newWorld(t, 1, "A")
	told := &[]catalog.ID{}
	q := w.queue(Options{SpoolDir: t.TempDir(), Damaged: w.neverDamaged(), SpoolDamaged: func(id catalog.ID, why error) {
		if why == nil {
			t.Error("damage without a reason")
		}
		*told = append(*told, id)
	}})
	return w, q, told
}

// spooledFile is where spooled put a file.
func spooledFile(q *Queue, id catalog.ID) string {
	return filepath.Join(q.o.SpoolDir, "batch", string(rune('a'+id)))
}

// rotBit changes one bit of a file, which keeps its time.
func rotBit(t testing.TB, name string, at int64) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	b[0] ^= 4
	_, werr := f.WriteAt(b, at)
	if err := errors.Join(err, werr, f.Close(), os.Chtimes(name, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}

// sumFile makes the block sums that the archiver makes when a file is fetched.
func sumFile(t testing.TB, q *Queue, id catalog.ID, content []byte) {
	t.Helper()
	s, err := blocksums.Create(sumsOf(q, id))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(content); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	if err := s.Commit(sum[:]); err != nil {
		t.Fatal(err)
	}
}

func sumsOf(q *Queue, id catalog.ID) string {
	return blocksums.Name(filepath.Join(q.o.SpoolDir, "batch"+catalog.FetchSuffix), int64(id))
}

func content(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>9) ^ seed
	}
	return b
}

// TestSpoolRot: no byte of the spool is served that is not the one that was fetched, before and after the first read, and what is good
// beside it is.
func TestSpoolRot(t *testing.T) {
	for name, size := range map[string]int{"small": 5000, "just small": blocksums.Least - 1, "just large": blocksums.Least, "large": large} {
		t.Run(name, func(t *testing.T) {
			w, q, told := newRotWorld(t)
			want := content(size, 1)
			w.spooled(q, 1, string(want))
			if size >= blocksums.Least {
				sumFile(t, q, 1, want)
			}
			f := w.open(q, 1)
			if !f.Complete() {
				t.Error("reading it waits for something")
			}
			for range 2 {
				for _, at := range []int{0, 1, size / 2, size - 10, size - 1} {
					w.read(f, want, int64(at), min(size-at, 3*blocksums.Block+5))
				}
				w.read(f, want, 0, size)
			}
			// One bit changes while it is open, in its last block.
			at := int64(size - 3)
			rotBit(t, spooledFile(q, 1), at)
			for _, from := range []int64{at, at - 1, at - at%blocksums.Block} {
				p := make([]byte, 3)
				if n, err := f.ReadAt(t.Context(), p, from); !errors.Is(err, ErrDamaged) || n != 0 {
					t.Errorf("read at %d: %d, %v", from, n, err)
				}
			}
			if size >= blocksums.Least {
				w.read(f, want, 0, blocksums.Block) // that block is good
				w.read(f, want, blocksums.Block-9, 5)
			}
			if len(*told) != 1 || (*told)[0] != 1 {
				t.Errorf("told of %v", *told)
			}
			w.wantLog("the next archive run fetches it again")
			// Opened anew it is no better, and once it is good again it is served.
			g := w.open(q, 1)
			if _, err := g.ReadAt(t.Context(), make([]byte, 3), at); !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			rotBit(t, spooledFile(q, 1), at)
			w.read(f, want, 0, size)
			w.read(g, want, 0, size)
		})
	}
}

// TestSpoolRotFromTape: what rotted in the spool is read from tape where a tape has it.
func TestSpoolRotFromTape(t *testing.T) {
	w, q, told := newRotWorld(t)
	o := w.seal(es, es*2)
	want := w.version(1, o, 512, large, w.place(o, 0, "A"))
	onTape := w.locs[1]
	w.spooled(q, 1, string(want))
	sumFile(t, q, 1, want)
	loc := w.locs[1]
	loc.Object, loc.Data, loc.Places = onTape.Object, onTape.Data, onTape.Places
	w.locs[1] = loc
	f := w.open(q, 1)
	w.read(f, want, 0, 100)
	if n := w.count("lease"); n != 0 {
		t.Errorf("%d leases", n)
	}
	rotBit(t, spooledFile(q, 1), 3*blocksums.Block)
	w.read(f, want, 0, large)
	if n := w.count("lease"); n != 1 || len(*told) != 1 {
		t.Errorf("%d leases; told of %v", n, *told)
	}
}

// TestSpoolSumsAreMadeAnew: a file that an older program fetched, and one whose block sums rotted themselves, is read whole against its
// SHA-256 before the first of its bytes is served, once.
func TestSpoolSumsAreMadeAnew(t *testing.T) {
	for name, spoil := range map[string]func(w *world, q *Queue, want []byte){
		"none":    func(*world, *Queue, []byte) {},
		"damaged": func(w *world, q *Queue, want []byte) { sumFile(w.t, q, 1, want); rotBit(w.t, sumsOf(q, 1), 100) },
		"cut": func(w *world, q *Queue, want []byte) {
			sumFile(w.t, q, 1, want)
			if err := os.Truncate(sumsOf(q, 1), 70); err != nil {
				w.t.Fatal(err)
			}
		},
		"of others": func(w *world, q *Queue, _ []byte) { sumFile(w.t, q, 1, content(large, 9)) },
	} {
		t.Run(name, func(t *testing.T) {
			w, q, told := newRotWorld(t)
			want := content(large, 1)
			w.spooled(q, 1, string(want))
			spoil(w, q, want)
			f := w.open(q, 1)
			w.read(f, want, large-5, 5)
			w.wantLog("has no block sums")
			if !f.Complete() {
				t.Error("its sums were not kept")
			}
			w.read(f, want, 0, large)
			// Sums are gone and the file is bad: nothing of it is served.
			if err := os.RemoveAll(filepath.Dir(sumsOf(q, 1))); err != nil {
				t.Fatal(err)
			}
			rotBit(t, spooledFile(q, 1), 9)
			g, err := q.Open(context.WithoutCancel(t.Context()), 1)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			f.Close()
			g.spool.page = blocksums.Page{} // as if nobody had it open until now
			for range 2 {
				if _, err := g.ReadAt(t.Context(), make([]byte, 5), large-5); !errors.Is(err, ErrDamaged) {
					t.Errorf("read: %v", err)
				}
			}
			if len(*told) != 1 {
				t.Errorf("told of %v", *told)
			}
			if entries, err := os.ReadDir(filepath.Dir(sumsOf(q, 1))); err != nil || len(entries) > 0 {
				t.Errorf("left beside the spool: %v, %v", entries, err)
			}
		})
	}
}

// TestSpoolWithoutSum: what nobody summed when it was fetched is not served from the spool.
func TestSpoolWithoutSum(t *testing.T) {
	w, q, told := newRotWorld(t)
	w.spooled(q, 1, "text")
	loc := w.locs[1]
	loc.Version.SHA256 = nil
	w.locs[1] = loc
	if _, err := q.Open(t.Context(), 1); !errors.Is(err, ErrNoBytes) || !errors.Is(err, errUnsummed) {
		t.Error(err)
	}
	if len(*told) > 0 {
		t.Errorf("told of %v", *told)
	}
}

// TestSpoolBatchRemoved: a file whose batch went while it was open leaves nothing behind in the spool.
func TestSpoolBatchRemoved(t *testing.T) {
	w, q, told := newRotWorld(t)
	want := content(large, 1)
	w.spooled(q, 1, string(want))
	sumFile(t, q, 1, want)
	f := w.open(q, 1)
	for _, dir := range []string{"batch", "batch" + catalog.FetchSuffix} {
		if err := os.RemoveAll(filepath.Join(q.o.SpoolDir, dir)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.ReadAt(t.Context(), make([]byte, 5), 0); !errors.Is(err, ErrNoBytes) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(q.o.SpoolDir); err != nil || len(entries) > 0 || len(*told) > 0 {
		t.Errorf("left: %v, %v; told of %v", entries, err, *told)
	}
}

// BenchmarkSpoolRead says by how much the check of what is read makes a read from the spool dearer in processor time, beside one without it in the
// same run. Of what a reader of a mount waits for, that is the lesser part: see BenchmarkMountedSpool.
func BenchmarkSpoolRead(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, piece int
	}{{"large", 64 << 20, 128 << 10}, {"small", blocksums.Least - 1, 128 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			data := content(c.size, 3)
			name := filepath.Join(dir, "file")
			if err := os.WriteFile(name, data, 0o600); err != nil {
				b.Fatal(err)
			}
			sum := sha256.Sum256(data)
			sums, err := blocksums.Create(filepath.Join(dir, "sums"))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := sums.Write(data); err != nil {
				b.Fatal(err)
			}
			if err := sums.Commit(sum[:]); err != nil {
				b.Fatal(err)
			}
			q := &Queue{spoolReads: make(chan struct{}, maxSpoolReads)}
			p := make([]byte, c.piece)
			pass := func(local bool) time.Duration {
				f, err := os.Open(name)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				s := &spoolFile{File: f, spoolProof: &spoolProof{local: local, size: int64(c.size), sum: sum[:], sums: filepath.Join(dir, "sums")}}
				began := processorTime(b)
				for at := 0; at < c.size; at += c.piece {
					if err := q.readShared(b.Context(), s, p[:min(c.piece, c.size-at)], int64(at)); err != nil {
						b.Fatal(err)
					}
				}
				return processorTime(b) - began
			}
			var checked, plain time.Duration
			b.SetBytes(2 * int64(c.size))
			for b.Loop() {
				checked += pass(false)
				plain += pass(true)
			}
			b.ReportMetric(100*float64(checked-plain)/float64(plain), "dearer-%")
		})
	}
}

// processorTime is what this process used so far.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
