package recall

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// TestCacheThatRotsIsNeverServed: a bit of a cached extent flips after it was verified in this process, wherever in it, and
// whatever is read of it.
func TestCacheThatRotsIsNeverServed(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(2*es-1000, 4*es)
	want := w.version(1, o, 0, 2*es-1000, w.place(o, 0, "A"))
	q := w.queue(Options{})
	f := w.open(q, 1)
	w.read(f, want, 0, len(want))
	if !w.open(q, 1).Complete() {
		t.Fatal("not complete after it was read")
	}
	for _, at := range []int64{0, 15, cache.MarkBlock - 1, cache.MarkBlock, 3*cache.MarkBlock + 77, es - 1} {
		for _, r := range []struct{ off, n int64 }{{0, es}, {at, 1}, {max(0, at-16), 4096}, {at / cache.MarkBlock * cache.MarkBlock, 1 << 20}} {
			name := extentName(q, o.OID, 0)
			flip(t, name, at)
			logged := strings.Count(w.log.String(), "fetched again")
			w.read(f, want, r.off, int(min(r.n, int64(len(want))-r.off)))
			if n := strings.Count(w.log.String(), "fetched again"); n == logged { // the read did not touch the bit
				flip(t, name, at)
			}
		}
	}
	if n := strings.Count(w.log.String(), "fetched again"); n < 12 {
		t.Errorf("%d bad extents were found", n)
	}
	// The last extent is a short one, and its last block no whole block.
	last := extentName(q, o.OID, 1)
	flip(t, last, es-990)
	w.read(f, want, 2*es-1000-100, 100)
	if err := os.Truncate(last, 1000); err != nil {
		t.Fatal(err)
	}
	w.read(f, want, es, es-1000)
}

// TestEmptiedCacheGoesOn: somebody removes the cache's files, or all of its folder, under a running process.
func TestEmptiedCacheGoesOn(t *testing.T) {
	for _, all := range []bool{false, true} {
		w := newWorld(t, 1, "A")
		o := w.seal(2*es, 4*es)
		want := w.version(1, o, 0, 2*es, w.place(o, 0, "A"))
		q := w.queue(Options{})
		f := w.open(q, 1)
		w.read(f, want, 0, len(want))
		entries, err := os.ReadDir(q.o.CacheDir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if all || e.Name() != ".lock" {
				if err := os.RemoveAll(filepath.Join(q.o.CacheDir, e.Name())); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.read(f, want, 0, len(want))
		for n := range int64(2) {
			if _, err := os.Stat(extentName(q, o.OID, n)); err != nil {
				t.Errorf("extent %d is not kept again: %v", n, err)
			}
		}
		if strings.Contains(w.log.String(), "takes nothing more") {
			t.Error(w.log.String())
		}
	}
}

// TestCacheReplacedByAnythingGoesOn: somebody puts something else in the place of the cache's files, under a running process and before
// one is started: a pipe that nobody writes to, an endless device, a directory, links. Nobody waits, and nobody gets other bytes.
func TestCacheReplacedByAnythingGoesOn(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, make([]byte, es), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, put := range map[string]func(name string) error{
		"pipe":           func(name string) error { return unix.Mkfifo(name, 0o600) },
		"directory":      func(name string) error { return os.MkdirAll(filepath.Join(name, "full"), 0o700) },
		"endless":        func(name string) error { return os.Symlink("/dev/zero", name) },
		"link":           func(name string) error { return os.Symlink(other, name) },
		"link to itself": func(name string) error { return os.Symlink(name, name) },
		"dangling link":  func(name string) error { return os.Symlink("/nowhere", name) },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, 1, "A")
			o := w.seal(2*es, 4*es)
			want := w.version(1, o, 0, 2*es, w.place(o, 0, "A"))
			replace := func(q *Queue) {
				t.Helper()
				folder := filepath.Dir(extentName(q, o.OID, 0))
				for _, name := range []string{extentName(q, o.OID, 0), extentName(q, o.OID, 1), filepath.Join(folder, "versions"), filepath.Join(folder, "pinned")} {
					if err := errors.Join(os.RemoveAll(name), os.MkdirAll(folder, 0o700), put(name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			q := w.queue(Options{})
			f := w.open(q, 1)
			w.read(f, want, 0, len(want))
			replace(q)
			w.read(f, want, 0, len(want))
			if err := errors.Join(f.Close(), q.Close(t.Context())); err != nil {
				t.Fatal(err)
			}
			replace(q)
			q = w.queue(Options{})
			f = w.open(q, 1)
			w.read(f, want, 0, len(want))
			w.read(f, want, es-10, 20)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if text, err := os.ReadFile(other); err != nil || strings.Trim(string(text), "\x00") != "" || len(text) != es {
		t.Errorf("a file elsewhere was written to: %v", err)
	}
}

// TestShortageIsNoDamage: a tape that cannot be mounted for lack of descriptors is tried again, and at the end of patience its
// readers are told; nothing is remembered of the tape.
func TestShortageIsNoDamage(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	want := w.version(1, o, 0, es, w.place(o, 0, "A"))
	q := w.queue(Options{Damaged: w.neverDamaged()})
	w.short["A"] = 2
	f := w.open(q, 1)
	w.read(f, want, 0, 100)

	o = w.seal(es, 4*es)
	want = w.version(2, o, 0, es, w.place(o, 0, "A"))
	q = w.queue(Options{CacheDir: t.TempDir(), Damaged: w.neverDamaged()})
	q.patience = 10 * time.Millisecond
	w.mu.Lock()
	w.short["A"] = 1 << 30
	for _, d := range w.drives {
		d.wanted = true // the first queue gives its drive up
	}
	w.mu.Unlock()
	f = w.open(q, 2)
	if _, err := f.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, unix.EMFILE) || errors.Is(err, ErrDamaged) {
		t.Errorf("at the end of patience: %v", err)
	}
	w.mu.Lock()
	w.short["A"] = 0
	w.mu.Unlock()
	w.read(f, want, 0, 100)
}

// TestProvedDamageIsForgotten: another process reads the file well, as the catalog says, and the mount reads it at once.
func TestProvedDamageIsForgotten(t *testing.T) {
	for _, how := range []string{"flipped", "gone"} {
		w := newWorld(t, 1, "A")
		o := w.seal(es, 4*es)
		place := w.place(o, 0, "A")
		want := w.version(1, o, 0, es, place)
		name := filepath.Join(w.tape("A"), place.Parts[0].Name)
		good, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if how == "gone" {
			err = os.Remove(name)
		} else {
			flip(t, name, 77)
		}
		if err != nil {
			t.Fatal(err)
		}
		q := w.queue(Options{})
		f := w.open(q, 1)
		if _, err := f.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadAt(t.Context(), make([]byte, 10), 0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: nobody proved it, and it was read again: %v", how, err)
		}
		w.mu.Lock()
		w.proved[place.Parts[0].ID] = time.Now()
		w.mu.Unlock()
		w.read(f, want, 0, 100)
	}
}

func (w *world) neverDamaged() func(cp catalog.CopyPart, lost bool, why error) {
	return func(_ catalog.CopyPart, _ bool, why error) { w.t.Errorf("recorded as damaged: %v", why) }
}

// TestNextExtentIsVerifiedAhead: whoever reads from beginning to end finds the next extent verified, good or bad; whoever reads elsewhere
// has nothing verified for him.
func TestNextExtentIsVerifiedAhead(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(5*es, 8*es)
	want := w.version(1, o, 0, 5*es, w.place(o, 0, "A"))
	q := w.queue(Options{})
	f := w.open(q, 1)
	w.read(f, want, 0, len(want))
	if err := errors.Join(f.Close(), q.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	q = w.queue(Options{})
	verified := func(n int64) bool {
		held := q.cache.Hold(o.OID, n, n) // only what was verified can be held
		q.cache.Release(held)
		return held != nil
	}
	f = w.open(q, 1)
	w.read(f, want, 3*es, 100)
	if q.cache.WantsCheck(o.OID, 3) || verified(4) {
		t.Error("a read in the middle has the next extent verified")
	}
	flip(t, extentName(q, o.OID, 2), 1000)
	w.read(f, want, 0, 100)
	eventually(t, "the second extent is verified", func() bool { return verified(1) })
	eventually(t, "the third extent is found to be bad", func() bool {
		w.read(f, want, es, 100) // whoever verified the second may not have ended yet
		return !q.cache.Has(o.OID, 2)
	})
	w.read(f, want, 2*es, 2*es)
	if !q.cache.Has(o.OID, 2) {
		t.Error("the bad extent is not kept again")
	}
}
