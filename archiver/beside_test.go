package archiver

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"tapefs/changer/virtual"
)

// A drive that writes what its pool alone is owed leaves that when the other one begins with what both are owed: each byte
// of either source is read once.
func TestOwnPoolGivesWayToSharedRead(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	w.open(func(c *Config) {
		c.Sources[0].Copies = []string{"b"}
		c.Sources[0].BundleBelow = 1
		// A second source of pool b alone, after the one that both want.
		more := c.Sources[0]
		more.Name, more.URL = "more", filepath.Join(w.dir, "more")
		c.Sources = append(c.Sources, more)
	})
	for i := range 12 {
		w.write(fmt.Sprintf("src/%d", i), byte(i), 3<<20)
		w.write(fmt.Sprintf("more/%d", i), byte(100+i), 3<<20)
	}
	for i := range 4 {
		w.write(fmt.Sprintf("far/%d", i), byte(50+i), 9<<20)
	}
	s := w.archive()
	w.settled()
	for _, source := range []string{"src", "far", "more"} {
		if got, want := counted(s, source, "read_bytes"), w.sizes(source); got != want {
			t.Errorf("%s: %d bytes were read of %d", source, got, want)
		}
	}
	if n := counted(s, "far", "followed_parts"); n == 0 || 2*n != counted(s, "far", "written_parts") {
		t.Errorf("%d parts of %d were written at the same time", n, counted(s, "far", "written_parts"))
	}
	for _, p := range w.durable() {
		c, err := w.db.GetCopy(t.Context(), p.Copy)
		w.must(err)
		tape, err := w.db.TapeByBarcode(t.Context(), p.Barcode)
		w.must(err)
		if tape.Pool != c.Pool {
			t.Errorf("a part of pool %d lies on tape %s of pool %d", c.Pool, tape.Barcode, tape.Pool)
		}
	}
	w.restore("far", "a")
	for _, source := range []string{"src", "far", "more"} {
		w.restore(source, "b")
	}
}

// The tape of a drive that writes a pool of its own fails: what was on it goes to another one, and the other pool goes on.
func TestTapeBesideFails(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	w.must(w.vl.Fault("write-eio=VT0005L8:9437184"))
	w.open(func(c *Config) { c.Sources[1].Copies = []string{"b"} })
	for i := range 4 {
		w.write(fmt.Sprintf("src/%d", i), byte(i), 9<<20)
		w.write(fmt.Sprintf("far/%d", i), byte(50+i), 9<<20)
	}
	if _, err := w.a.Archive(t.Context(), nil, Options{}); !errors.Is(err, ErrPartial) {
		t.Errorf("archive: %v", err)
	}
	w.settled()
	w.restore("src", "a")
	w.restore("far", "b")
}
