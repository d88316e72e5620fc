package archiver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// onlyFar archives source far alone, in both pools.
func onlyFar(c *Config) { c.Sources = c.Sources[1:] }

// writes tells when each tape was written, in the order of the library's log: first and last index.
func (w *backWorld) writes(from int) map[string][2]int {
	w.Helper()
	log, err := w.vl.Log()
	w.must(err)
	out := map[string][2]int{}
	for i, e := range log[from:] {
		if e.Kind != "write" || !strings.Contains(e.File, ".tar.enc") || strings.Contains(e.File, "manifest") {
			continue
		}
		x, ok := out[e.Barcode]
		if !ok {
			x[0] = i
		}
		x[1] = i
		out[e.Barcode] = x
	}
	return out
}

// sizes is what the files of a source have, bytes.
func (w *backWorld) sizes(source string) (sum int64) {
	w.Helper()
	w.must(filepath.WalkDir(filepath.Join(w.dir, source), func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			sum += info.Size()
		}
		return err
	}))
	return sum
}

// counted is a counter of a run's summary.
func counted(s Summary, source, name string) int64 { return s.Counts[source][name] }

// With two drives both copies are written at the same time, and each byte of the source is read once.
func TestTwoCopiesFromOneRead(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	w.open(onlyFar)
	for i := range 4 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 10<<20)
	}
	w.write("far/small", 9, 1000)
	s := w.archive()
	w.settled()
	if got, want := counted(s, "far", "read_bytes"), w.sizes("far"); got != want {
		t.Errorf("%d bytes were read of %d", got, want)
	}
	if parts, all := counted(s, "far", "followed_parts"), counted(s, "far", "written_parts"); parts == 0 || 2*parts != all {
		t.Errorf("%d of %d parts were written at the same time", parts, all)
	}
	at := w.writes(0)
	a, b := at["VT0001L8"], at["VT0005L8"]
	if a[1] == 0 || b[1] == 0 || a[0] > b[1] || b[0] > a[1] || max(a[0], b[0]) >= min(a[1], b[1]) {
		t.Errorf("the tapes were not written at the same time: %v", at)
	}
	w.restore("far", "a")
	w.restore("far", "b")
	before := w.moves()
	if s := w.archive(); len(s.Tapes) != 0 || w.moves() != before {
		t.Errorf("a run without news: %+v", s)
	}
	// A source that is read in place: both copies from one read, too.
	w.open(func(c *Config) { c.Sources = c.Sources[:1]; c.Sources[0].Copies = []string{"b", "a"} })
	w.write("src/one", 20, 10<<20)
	w.write("src/two", 21, 10<<20)
	s = w.archive()
	w.settled()
	if got := counted(s, "src", "read_bytes"); got != 20<<20 {
		t.Errorf("%d bytes of a local source were read", got)
	}
	w.restore("src", "a")
	w.restore("src", "b")
}

// With one drive all goes to the first pool, then to the second.
func TestTwoCopiesWithOneDrive(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 1})
	w.open(onlyFar)
	for i := range 3 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 9<<20)
	}
	w.archive()
	w.settled()
	if at := w.writes(0); at["VT0001L8"][1] >= at["VT0005L8"][0] || at["VT0001L8"][1] == 0 {
		t.Errorf("written %v", at)
	}
}

// A drive that falls behind is detached, and its copies are made from the spool.
func TestDriveFallsBehind(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	w.open(func(c *Config) { onlyFar(c); c.BehindBytes = 1 })
	for i := range 3 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 12<<20)
	}
	s := w.archive()
	w.settled()
	if counted(s, "far", "followed_parts") != 0 || counted(s, "far", "read_bytes") != 2*w.sizes("far") {
		t.Errorf("counts %v", s.Counts)
	}
	w.restore("far", "a")
	w.restore("far", "b")
}

// A drive that is slower than the other one is detached when it is too many bytes behind, or behind for too long: the
// first goes on, and what it missed is read again from the spool.
func TestSlowDriveIsDetached(t *testing.T) {
	for name, c := range map[string]struct {
		bytes int64
		time  time.Duration
		size  int
	}{
		"bytes": {bytes: 8 << 20, time: time.Hour, size: 24 << 20},
		"time":  {bytes: 1 << 30, time: time.Millisecond, size: 24 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			w := newBackWorld(t, virtual.Options{TapeSize: 512 << 20, Drives: 2})
			w.must(w.vl.Fault("slow-write=VT0005L8:400ms"))
			w.open(func(cfg *Config) { onlyFar(cfg); cfg.BehindBytes, cfg.BehindTime = c.bytes, c.time })
			w.write("far/film", 1, c.size)
			cleared := make(chan error, 1)
			go func() { cleared <- w.afterFirstPart(func() error { return w.vl.Fault("clear") }) }()
			s := w.archive()
			w.must(<-cleared)
			w.settled()
			if n, read := counted(s, "far", "followed_parts"), counted(s, "far", "read_bytes"); n != 0 || read != 2*w.sizes("far") {
				t.Errorf("%d parts were followed and %d bytes read, counts %v", n, read, s.Counts)
			}
			w.restore("far", "a")
			w.restore("far", "b")
		})
	}
}

// afterFirstPart calls f when a part was written, or fails when the test ends before.
func (w *backWorld) afterFirstPart(f func() error) error {
	for {
		runs, err := w.db.Runs(w.Context(), 1)
		if err != nil {
			return err
		}
		if len(runs) > 0 {
			report, err := w.db.RunReport(w.Context(), runs[0].ID)
			if err != nil {
				return err
			}
			if report.Counts["far"]["written_parts"] > 0 {
				return f()
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The second tape fails or ends while both are written: the first goes on, and the second copy is made on
// another tape.
func TestSecondTapeFails(t *testing.T) {
	for name, fault := range map[string]string{"error": "write-eio=VT0005L8:9437184", "end": ""} {
		t.Run(name, func(t *testing.T) {
			size, files := int64(256<<20), 4
			if fault == "" {
				size, files = 64<<20, 5
			}
			w := newBackWorld(t, virtual.Options{TapeSize: size, Drives: 2})
			if fault != "" {
				w.must(w.vl.Fault(fault))
			}
			w.open(onlyFar)
			for i := range files {
				w.write(fmt.Sprintf("far/%d", i), byte(i), 13<<20)
			}
			_, err := w.a.Archive(t.Context(), nil, Options{})
			if fault == "" && err != nil || fault != "" && !errors.Is(err, ErrPartial) {
				t.Errorf("archive: %v", err)
			}
			w.settled()
			w.restore("far", "a")
			w.restore("far", "b")
			if tape, err := w.db.TapeByBarcode(t.Context(), "VT0005L8"); err != nil || tape.State == catalog.TapeOpen {
				t.Errorf("tape %+v, %v", tape, err)
			}
		})
	}
}

// The first tape fails while both are written: what the second one has stays, and no byte is sealed differently.
func TestFirstTapeFails(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	w.must(w.vl.Fault("write-eio=VT0001L8:9437184"))
	w.open(onlyFar)
	for i := range 3 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 13<<20)
	}
	if _, err := w.a.Archive(t.Context(), nil, Options{}); !errors.Is(err, ErrPartial) {
		t.Errorf("archive: %v", err)
	}
	w.settled()
	w.restore("far", "a")
	w.restore("far", "b")
}

// Pools whose patterns overlap never share a tape, nor a tape two copies of an object.
func TestOverlappingPools(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20, Drives: 2})
	w.open(func(c *Config) {
		onlyFar(c)
		c.Pools[0].Include, c.Pools[1].Include = []string{"VT*"}, []string{"VT*"}
	})
	for i := range 3 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 22<<20)
	}
	w.archive()
	w.settled()
	on := map[string]string{}
	for _, p := range w.durable() {
		c, err := w.db.GetCopy(t.Context(), p.Copy)
		w.must(err)
		tape, err := w.db.TapeByBarcode(t.Context(), p.Barcode)
		w.must(err)
		if tape.Pool != c.Pool {
			t.Errorf("a part of pool %d lies on tape %s of pool %d", c.Pool, tape.Barcode, tape.Pool)
		}
		key := fmt.Sprint(c.Object, "/", p.Number, " on ", p.Barcode)
		if on[key] != "" {
			t.Errorf("twice: %s", key)
		}
		on[key] = p.Barcode
	}
	w.restore("far", "a")
	w.restore("far", "b")
}

// A pool without tapes stops nothing, however little the spool holds: one durable copy lets a file go, and what
// is owed is made later from that copy.
func TestFullSpoolAndPoolWithoutTapes(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	poor := func(c *Config) {
		onlyFar(c)
		c.Pools[1].Include = []string{"NONE*"}
		c.SpoolMax = 12 << 20 // batches of half as much
	}
	w.open(poor)
	for i := range 6 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 5<<20)
	}
	s, err := w.a.Archive(t.Context(), nil, Options{})
	if !errors.Is(err, ErrNeedsOperator) || counted(s, "far", "fetched") != 6 {
		t.Errorf("archive: %v, %v", err, s.Counts)
	}
	w.restore("far", "a")
	debts, err := w.db.Debts(t.Context())
	w.must(err)
	if len(debts) != 1 || debts[0].Pool != "b" || debts[0].Copies != int(counted(s, "far", "objects")) {
		t.Errorf("debts %+v of %v", debts, s.Counts)
	}
	open, err := w.db.OpenBatches(t.Context())
	w.must(err)
	if len(open) > 2 {
		t.Errorf("%d batches are still in the spool", len(open))
	}
	w.open(func(c *Config) { onlyFar(c); c.SpoolMax = 12 << 20 })
	w.archive()
	w.settled()
	w.restore("far", "b")
}

// A pool that a source gets later is owed a copy of all that is archived, and gets it from tape: the spool has
// nothing of it any more, and the source's files are gone.
func TestPoolAddedLater(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 128 << 20, Drives: 2})
	w.open(onlyA)
	w.write("far/big", 1, 9<<20)
	w.write("far/small", 2, 900)
	w.archive()
	w.settled()
	w.must(os.Rename(filepath.Join(w.dir, "far"), filepath.Join(w.dir, "away")))
	w.must(os.Mkdir(filepath.Join(w.dir, "far"), 0o755))
	w.open(onlyFar)
	s, err := w.a.Archive(t.Context(), nil, Options{AcceptDeletions: true})
	w.must(err)
	if n := counted(s, "far", "copied_parts"); n == 0 || n != counted(s, "far", "written_parts") {
		t.Errorf("counts %v", s.Counts)
	}
	w.settled()
	w.must(os.Remove(filepath.Join(w.dir, "far")))
	w.must(os.Rename(filepath.Join(w.dir, "away"), filepath.Join(w.dir, "far")))
	w.restore("far", "b")
}
