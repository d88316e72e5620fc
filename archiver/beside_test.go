package archiver

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer/virtual"
)

// ownPools gives each source a pool of its own.
func ownPools(c *Config) { c.Sources[0].Copies, c.Sources[1].Copies = []string{"a"}, []string{"b"} }

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

// The leading drive has a tape mounted only to learn how large a part may be. Another drive that writes that pool goes on with this
// tape, and begins no further one.
func TestBesideTakesTheMountedTape(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	all := w.a.env.Config.Sources
	w.open(func(c *Config) { c.Sources = []Source{all[1]}; c.Sources[0].Copies = []string{"a"} })
	w.write("far/first", 1, 1<<20)
	w.archive()
	w.open(func(c *Config) {
		ownPools(c)
		c.Sources[0].Copies, c.Sources[1].Copies = []string{"b"}, []string{"a"}
		c.Sources[1].Bandwidth = 1 << 20 // no end of the run is in sight when the other source is there
	})
	w.write("src/local", 2, 9<<20)
	w.write("far/slow", 3, 6<<20)
	w.archive()
	w.settled()
	w.restore("src", "b")
	w.restore("far", "a")
	tapes, err := w.db.Tapes(t.Context())
	w.must(err)
	for _, tape := range tapes {
		if tape.Barcode != "VT0001L8" && tape.Barcode != "VT0005L8" {
			t.Errorf("%s was begun too: %+v", tape.Barcode, tape)
		}
	}
}

// The tape of a drive that writes a pool of its own fails: what was on it goes to another one, and the other pool goes on.
func TestTapeBesideFails(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	w.must(w.vl.Fault("write-eio=VT0005L8:9437184"))
	w.open(func(c *Config) {
		c.Sources[0].Copies, c.Sources[1].Copies = []string{"b"}, []string{"a"}
		c.Sources[1].Bandwidth = 1 << 20 // while it comes the leading drive waits for it, and the other one has work
	})
	for i := range 4 {
		w.write(fmt.Sprintf("src/%d", i), byte(i), 9<<20)
	}
	w.write("far/slow", 50, 6<<20)
	if _, err := w.a.Archive(t.Context(), nil, Options{}); !errors.Is(err, ErrPartial) {
		t.Errorf("archive: %v", err)
	}
	w.settled()
	w.restore("src", "b")
	w.restore("far", "a")
}

// Killed while two pools are written, in whichever of the two writers comes there first: a clean run afterwards ends with exactly
// the copies wanted.
func TestKillWhileTwoPoolsAreWritten(t *testing.T) {
	w := newBackWorld(t, virtual.Options{Slots: 12, TapeSize: 256 << 20, Drives: 2})
	t.Setenv("BACK_OWN_POOLS", "1")
	w.open(ownPools)
	w.write("src/first", 100, 9<<20) // so that tapes exist and a later kill finds them
	w.write("far/first", 101, 9<<20)
	w.archive()
	for i, point := range []string{"salt", "part-row", "part-close", "part-written", "manifest-row", "sync", "durable", "release"} {
		t.Run(point, func(t *testing.T) {
			w.T = t
			for j := range 3 {
				w.write(fmt.Sprintf("src/%d-%d", i, j), byte(2*i), 5<<20)
				w.write(fmt.Sprintf("far/%d-%d", i, j), byte(2*i+1), 5<<20)
			}
			w.close()
			if !w.killAt(point, 5<<20) {
				t.Fatal("the failpoint was not reached")
			}
			w.open(ownPools)
			w.archive()
			w.settled()
		})
	}
	w.T = t
	w.restore("src", "a")
	w.restore("far", "b")
}

// Interrupted, both tapes are closed in order: what was written is safe, and the next run goes on.
func TestInterruptedBeside(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 2})
	w.must(w.vl.Fault("slow-write=VT0001L8:50ms", "slow-write=VT0005L8:50ms"))
	w.open(ownPools)
	for i := range 6 {
		w.write(fmt.Sprintf("src/%d", i), byte(i), 5<<20)
		w.write(fmt.Sprintf("far/%d", i), byte(50+i), 5<<20)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := w.a.Archive(ctx, nil, Options{})
		ended <- err
	}()
	for at := w.writes(0); at["VT0001L8"][1] == 0 || at["VT0005L8"][1] == 0; at = w.writes(0) {
		select {
		case err := <-ended:
			t.Fatalf("the run ended before both tapes were written: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	cancel()
	var interrupted *Interrupted
	if err := <-ended; !errors.As(err, &interrupted) || interrupted.Closing != nil {
		t.Errorf("archive: %v", err)
	}
	if unsafe, err := w.db.UnsafeParts(t.Context()); err != nil || len(unsafe) > 0 {
		t.Errorf("parts that are not safe: %+v, %v", unsafe, err)
	}
	w.must(w.vl.Fault("clear"))
	w.archive()
	w.settled()
	w.restore("src", "a")
	w.restore("far", "b")
}
