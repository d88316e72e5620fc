package recall

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/changer"
)

func TestFlippedBitsOnTapeAreNeverServed(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(2*es, 4*es)
	place := w.place(o, 0, "A")
	want := w.version(1, o, 0, 2*es, place)
	name := filepath.Join(w.tape("A"), place.Parts[0].Name)
	for _, at := range []int64{0, 15, 16, 1 << 20, es - 1, es, 2*es + 15} {
		flip(t, name, at)
		w.dir = t.TempDir() // a new cache, the same tape
		if err := os.MkdirAll(filepath.Join(w.dir, "tapes"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Dir(name), filepath.Join(w.dir, "tapes", "A")); err != nil {
			t.Fatal(err)
		}
		q := w.queue(Options{})
		f := w.open(q, 1)
		p := make([]byte, 100)
		for _, off := range []int64{0, 1 << 20, es - 1000, es, 2*es - 100} {
			bad := (off+16)/es <= at/es && at/es <= (off+115)/es
			n, err := f.ReadAt(context.Background(), p, off)
			good := max(0, at/es*es-16-off) // in the extent before
			if bad && (!errors.Is(err, ErrDamaged) || int64(n) > good || string(p[:n]) != string(want[off:off+int64(n)])) {
				t.Errorf("bit %d: %d bytes at %d were served from a bad extent, error %v", at, n, off, err)
			} else if !bad && (err != nil || string(p) != string(want[off:off+100])) {
				t.Errorf("bit %d: good bytes at %d: %v", at, off, err)
			}
		}
		w.wantLog("barcode=A")
		w.wantLog(o.OID)
		if err := q.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		flip(t, name, at)
	}
}

func TestBadExtentIsReadTwiceThenRemembered(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	place := w.place(o, 0, "A")
	w.version(1, o, 0, es, place)
	flip(t, filepath.Join(w.tape("A"), place.Parts[0].Name), 77)
	f := w.open(w.queue(Options{}), 1)
	for range 5 {
		if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	}
	if n := strings.Count(w.log.String(), "damaged copy"); n != 1 {
		t.Errorf("the bad extent was given up %d times", n)
	}
	if n := strings.Count(w.log.String(), "trying again"); n != 1 {
		t.Errorf("the bad extent was tried again %d times", n)
	}
}

func TestSecondCopy(t *testing.T) {
	for _, what := range []string{"flip", "short", "gone", "unloadable", "wrong volume", "offline"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, 1, "A", "B")
			o := w.seal(3*es, 8*es)
			a, b := w.place(o, 0, "A"), w.place(o, 0, "B")
			want := w.version(1, o, 0, 3*es, a, b)
			name := filepath.Join(w.tape("A"), a.Parts[0].Name)
			var err error
			switch what {
			case "flip":
				flip(t, name, es+5)
			case "short":
				err = os.Truncate(name, es+5)
			case "gone":
				err = os.Remove(name)
			case "unloadable":
				w.fail["A"] = changer.ErrNoMedium
			case "wrong volume":
				w.fail["A"] = changer.ErrWrongVolume
			case "offline":
				delete(w.slots, "A")
			}
			if err != nil {
				t.Fatal(err)
			}
			f := w.open(w.queue(Options{}), 1)
			w.read(f, want, 0, len(want))
			if n := w.count("load A"); n > 1 {
				t.Errorf("tape A was loaded %d times", n)
			}
			if n := w.count("load B"); n != 1 {
				t.Errorf("tape B was loaded %d times", n)
			}
			if n := strings.Count(w.log.String(), "damaged copy"); n > 1 {
				t.Errorf("%d extents of the bad copy were tried", n)
			}
		})
	}
}

func TestDamagedCopyStillServesItsGoodExtents(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(3*es, 4*es)
	place := w.place(o, 0, "A")
	want := w.version(1, o, 0, 3*es, place)
	flip(t, filepath.Join(w.tape("A"), place.Parts[0].Name), es+5)
	f := w.open(w.queue(Options{}), 1)
	if _, err := f.ReadAt(context.Background(), make([]byte, 10), es); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	w.read(f, want, 0, 1000)
	w.read(f, want, 2*es, 1000)
}

func TestBothCopiesBadInDifferentPlaces(t *testing.T) {
	w := newWorld(t, 2, "A", "B")
	o := w.seal(4*es, 4*es)
	a, b := w.place(o, 0, "A"), w.place(o, 0, "B")
	want := w.version(1, o, 0, 4*es, a, b)
	flip(t, filepath.Join(w.tape("A"), a.Parts[0].Name), 5)
	flip(t, filepath.Join(w.tape("B"), b.Parts[0].Name), 2*es+5)
	f := w.open(w.queue(Options{}), 1)
	w.read(f, want, 0, len(want))
}

func TestOffline(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	want := w.version(1, o, 0, es, w.place(o, 0, "GONE01L8"))
	q := w.queue(Options{})
	q.inventoryLifetime = 0
	f := w.open(q, 1)
	_, err := f.ReadAt(context.Background(), make([]byte, 10), 0)
	if !errors.Is(err, ErrOffline) || !strings.Contains(err.Error(), "GONE01L8") {
		t.Errorf("%v", err)
	}
	if n := w.count("lease"); n != 0 {
		t.Errorf("%d leases for a tape that is not there", n)
	}
	w.mu.Lock()
	w.slots["GONE01L8"] = true
	w.mu.Unlock()
	w.read(f, want, 0, 10)
}

func TestLostPartIsNotOpenedForEachExtent(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(3*es, 4*es)
	place := w.place(o, 0, "A")
	w.version(1, o, 0, 3*es, place)
	if err := os.Remove(filepath.Join(w.tape("A"), place.Parts[0].Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	f := w.open(w.queue(Options{}), 1)
	for n := range int64(3) {
		if _, err := f.ReadAt(context.Background(), make([]byte, 10), n*es); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	}
	if n := strings.Count(w.log.String(), "damaged copy"); n != 1 {
		t.Errorf("%d extents of a missing file were tried", n)
	}
}

func TestHostileNameOnTape(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	place := w.place(o, 0, "A")
	outside := filepath.Join(w.dir, "outside")
	if err := os.WriteFile(outside, o.bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	place.Parts[0].Name = "../../outside"
	w.version(1, o, 0, es, place)
	f := w.open(w.queue(Options{}), 1)
	if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestInconsistentSums(t *testing.T) {
	w := newWorld(t, 1, "A")
	o := w.seal(es, 4*es)
	w.version(1, o, 0, es, w.place(o, 0, "A"))
	w.sums[[2]int64{o.ID, 0}] = []byte("short")
	f := w.open(w.queue(Options{}), 1)
	if _, err := f.ReadAt(context.Background(), make([]byte, 10), 0); err == nil {
		t.Error("served without a sum")
	}
}
