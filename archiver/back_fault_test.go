package archiver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// onlyA lets source far have its copies in pool a alone.
func onlyA(c *Config) {
	c.Sources = c.Sources[1:]
	c.Sources[0].Copies = []string{"a"}
}

// Objects of several parts that do not fit go on on the next tape; nothing is lost.
func TestSeveralTapes(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	for i := range 6 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 22<<20)
	}
	s := w.archive()
	if len(s.Tapes) < 3 {
		t.Errorf("tapes %v", s.Tapes)
	}
	w.settled()
	w.restore("far", "a")
	tapes, err := w.db.Tapes(t.Context())
	w.must(err)
	full := 0
	for _, tape := range tapes {
		if tape.State == catalog.TapeFull {
			full++
		}
	}
	if full < 2 {
		t.Errorf("%d tapes are full: %+v", full, tapes)
	}
}

// A tape that ends earlier than it said: what it lost is written to the next one.
func TestEndOfTapeComesEarly(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	w.write("far/0", 0, 1<<20)
	w.archive()
	w.must(w.vl.Fault("enospc-after=16MiB"))
	for i := range 3 {
		w.write(fmt.Sprintf("far/%d", i+1), byte(i+1), 7<<20)
	}
	w.archive()
	if tape, err := w.db.TapeByBarcode(t.Context(), "VT0001L8"); err != nil || tape.State != catalog.TapeFull {
		t.Errorf("tape %+v, %v", tape, err)
	}
	w.must(w.vl.Fault("clear"))
	w.archive()
	w.settled()
	w.restore("far", "a")
}

// A tape that cannot be written is suspect and never written again.
func TestWriteErrorMakesTapeSuspect(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	w.write("far/0", 0, 1<<20)
	w.archive()
	const block = 512 << 10
	bad := (w.durable()[0].StartBlock+20)*block + 4096 // within the large object's first part
	w.must(w.vl.Fault(fmt.Sprintf("write-eio=VT0001L8:%d", bad)))
	w.write("far/1", 1, 2<<20)
	w.write("far/2", 2, 9<<20)
	s, err := w.a.Archive(t.Context(), nil, Options{})
	if !errors.Is(err, ErrPartial) {
		t.Errorf("archive: %v", err)
	}
	if len(s.Tapes) == 0 {
		t.Errorf("summary %+v", s)
	}
	tape, err := w.db.TapeByBarcode(t.Context(), "VT0001L8")
	w.must(err)
	if tape.State != catalog.TapeSuspect || tape.Note == "" {
		t.Errorf("tape %+v", tape)
	}
	w.must(w.vl.Fault("clear"))
	w.settled()
	w.restore("far", "a")
}

// An index that cannot be written makes nothing durable.
func TestNoIndexNothingIsSafe(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	w.write("far/0", 0, 1<<20)
	w.archive()
	w.must(w.vl.Fault("index-write"))
	w.write("far/1", 1, 2<<20)
	if _, err := w.a.Archive(t.Context(), nil, Options{}); err == nil {
		t.Error("no error, and no index")
	}
	if parts := w.durable(); len(parts) != 1 {
		t.Errorf("durable: %+v", parts)
	}
	if b, err := w.db.OpenBatches(t.Context()); err != nil || len(b) != 1 {
		t.Errorf("open batches %+v, %v", b, err)
	}
	w.must(w.vl.Fault("clear"))
	_, err := w.a.Archive(t.Context(), nil, Options{})
	if err != nil && !errors.Is(err, ErrPartial) {
		t.Error(err)
	}
	w.settled()
	w.restore("far", "a")
}

// A pool without tapes stops nothing, and the run says what an operator has to do.
func TestPoolWithoutTapes(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(func(c *Config) { c.Pools[0].Include = []string{"NONE*"} })
	w.write("far/0", 0, 1<<20)
	w.write("src/0", 0, 1<<20)
	_, err := w.a.Archive(t.Context(), nil, Options{})
	var hint *changer.Error
	if !errors.Is(err, ErrNeedsOperator) || !errors.As(err, &hint) || !strings.Contains(hint.Hint, "tapefs tape format") {
		t.Errorf("archive: %v, %+v", err, hint)
	}
	w.restore("far", "b")
	w.open(nil)
	w.archive()
	w.settled()
	w.restore("far", "a")
	w.restore("src", "a")
}

// Ctrl-C: the part in hand is finished, synced, unmounted; the next run goes on.
func TestInterrupted(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	var note stopAt = func(stage string) {
		if stage == "write" {
			cancel()
		}
	}
	w.open(func(c *Config) { onlyA(c); c.Progress = note })
	w.write("far/0", 0, 40<<20)
	w.write("far/1", 1, 40<<20)
	s, err := w.a.Archive(ctx, nil, Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	runs, err := w.db.Runs(t.Context(), 1)
	w.must(err)
	if runs[0].ID != s.Run || runs[0].State != "interrupted" {
		t.Errorf("run %+v", runs[0])
	}
	if unsafe, err := w.db.UnsafeParts(t.Context()); err != nil || len(unsafe) > 0 || len(w.durable()) == 0 {
		t.Errorf("unsafe %+v, %v; durable %d", unsafe, err, len(w.durable()))
	}
	if w.anyLtfs() {
		t.Error("a volume is still mounted")
	}
	w.open(onlyA)
	w.archive()
	w.settled()
	w.restore("far", "a")
}

type stopAt func(stage string)

func (f stopAt) Stage(stage string, done, total int64) { f(stage) }
func (f stopAt) Note(string)                           {}

// A local file that changes while it is read is void, and taken again.
func TestLocalFileChanges(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20})
	w.open(func(c *Config) { c.Sources = c.Sources[:1] })
	w.write("src/steady", 1, 100)
	w.write("src/moving", 2, 30<<20)
	failed := false
	var touch stopAt = func(stage string) {
		if stage == "write" && !failed {
			failed = true
			w.write("src/moving", 3, 29<<20)
		}
	}
	// The small file's object is written first; then the large one no longer is what was planned.
	w.open(func(c *Config) { c.Sources = c.Sources[:1]; c.Progress = touch; c.Sources[0].BundleBelow = 1000 })
	_, err := w.a.Archive(t.Context(), nil, Options{})
	if !failed {
		t.Fatal("nothing was written")
	}
	if err == nil {
		t.Log("the large object came first")
	} else if !errors.Is(err, ErrPartial) {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	w.archive()
	w.settled()
	w.restore("src", "a")
}

// A second copy has the bytes of the first although directories changed in between.
func TestSecondCopyLater(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(func(c *Config) { c.Pools[1].Include = []string{"NONE*"} })
	w.write("far/dir/0", 0, 1<<20)
	if _, err := w.a.Archive(t.Context(), nil, Options{}); !errors.Is(err, ErrNeedsOperator) {
		t.Fatal(err)
	}
	w.write("far/dir/1", 1, 1<<20)
	w.must(os.Chmod(filepath.Join(w.dir, "far/dir"), 0o700))
	w.must(os.Chtimes(filepath.Join(w.dir, "far/dir"), time.Time{}, time.Unix(12345, 678)))
	w.open(nil)
	w.archive()
	w.settled()
	a, b := w.restore("far", "a"), w.restore("far", "b")
	if strings.Join(a, " ") != strings.Join(b, " ") {
		t.Errorf("objects %v and %v", a, b)
	}
}

// One source is archived by one run at a time, and nothing is written before a second copy of the
// key was seen.
func TestRefusals(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.write("far/0", 0, 1000)
	unlock, err := w.a.env.LockSource("far")
	w.must(err)
	if _, err := w.a.Archive(t.Context(), []string{"far"}, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("locked: %v", err)
	}
	unlock()
	if _, err := w.a.Archive(t.Context(), []string{"nobody"}, Options{}); err == nil {
		t.Error("an unknown source was archived")
	}
	before := w.moves()
	w.open(func(c *Config) { onlyA(c); c.RequireKeyCopy = true })
	_, err = w.a.Archive(t.Context(), nil, Options{})
	if err == nil {
		t.Error("written without a second copy of the key")
	}
	_, err = w.a.FormatTape(t.Context(), "VT0001L8", "a", FormatOptions{})
	var hint *changer.Error
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint, "key check --copy") {
		t.Errorf("format without a second copy of the key: %v", err)
	}
	log, err := w.vl.Log()
	w.must(err)
	for _, e := range log[before:] {
		if e.Kind == "format" || e.Kind == "write" {
			t.Errorf("the tape was touched: %+v", e)
		}
	}
	s, err := w.a.Archive(t.Context(), nil, Options{DryRun: true})
	w.must(err)
	if s.Counts["far"]["new"] != 1 {
		t.Errorf("dry run: %+v", s)
	}
}

// tape format makes a tape, and refuses one that holds anything.
func TestFormatTape(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	tape, err := w.a.FormatTape(t.Context(), "VT0002L8", "a", FormatOptions{})
	w.must(err)
	if tape.UUID == "" || tape.Number != 1 || tape.Capacity == 0 || tape.PoolName != "a" || tape.State != catalog.TapeOpen {
		t.Errorf("tape %+v", tape)
	}
	if _, err := w.a.FormatTape(t.Context(), "VT0002L8", "a", FormatOptions{}); !errors.Is(err, changer.ErrNotBlank) {
		t.Errorf("formatted again: %v", err)
	}
	if _, err := w.a.FormatTape(t.Context(), "VT0005L8", "a", FormatOptions{}); err == nil {
		t.Error("a tape of another pool was formatted")
	}
	again, err := w.a.FormatTape(t.Context(), "VT0002L8", "a", FormatOptions{Erase: true})
	w.must(err)
	if again.UUID == tape.UUID || again.ID != tape.ID || again.Number != tape.Number {
		t.Errorf("formatted again: %+v", again)
	}
	w.open(onlyA)
	w.write("far/0", 0, 1<<20)
	if s := w.archive(); len(s.Tapes) != 1 || s.Tapes[0] != "VT0002L8" {
		t.Errorf("summary %+v", s)
	}
	if _, err := w.a.FormatTape(t.Context(), "VT0002L8", "a", FormatOptions{Erase: true}); err == nil || !strings.Contains(err.Error(), "objects") {
		t.Errorf("a tape with objects was formatted: %v", err)
	}
	w.settled()
	w.restore("far", "a")
}

// noteHook calls itself with each note of an archiver.
type noteHook func(text string)

func (h noteHook) Note(text string)           { h(text) }
func (h noteHook) Stage(string, int64, int64) {}

// What was written to a tape while its format waited for its turn is not formatted over.
func TestFormatTapeLooksAgainWhenItIsItsTurn(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	w.write("far/0", 0, 1<<20)
	w.archive() // VT0001L8
	tape, err := w.a.FormatTape(t.Context(), "VT0002L8", "a", FormatOptions{})
	w.must(err)
	w.open(func(c *Config) {
		c.Progress = noteHook(func(text string) {
			if text != "loading VT0002L8" {
				return
			}
			h, err := sql.Open("sqlite", filepath.Join(w.dir, "catalog.db"))
			w.must(err)
			defer h.Close()
			_, err = h.Exec(`UPDATE copy_part SET tape = ?`, tape.ID)
			w.must(err)
		})
	})
	if _, err := w.a.FormatTape(t.Context(), "VT0002L8", "a", FormatOptions{Erase: true}); err == nil || !strings.Contains(err.Error(), "objects") {
		t.Errorf("a tape with objects was formatted: %v", err)
	}
	if now, err := w.db.TapeByBarcode(t.Context(), "VT0002L8"); err != nil || now.UUID != tape.UUID {
		t.Errorf("tape %+v, %v", now, err)
	}
}

// A part that the end of the tape cuts off is abandoned where it lies and written whole on another
// tape; the object that was written before it and not synced is durable all the same.
func TestPartCutOffByEndOfTape(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	w.write("far/0", 0, 5<<20)
	w.write("far/1", 1, 30<<20)
	ctx := t.Context()
	run, err := w.db.StartRun(ctx, "archive", nil)
	w.must(err)
	src := w.a.env.Config.Sources[0]
	row, err := w.db.EnsureSource(ctx, src.Name, src.URL)
	w.must(err)
	_, err = w.a.FormatTape(ctx, "VT0001L8", "a", FormatOptions{}) // its size makes the grid: several parts
	w.must(err)
	_, err = w.a.planSource(ctx, run, src, Options{}, func(b catalog.Batch) error { return w.a.spool.FetchBatch(ctx, run, src, b) })
	w.must(err)
	wr := w.a.newWriter(run, map[int64]Source{row.ID: src}, Options{}, job.NewProblems(w.a.env, run))
	pool, err := w.db.EnsurePool(ctx, "a")
	w.must(err)
	owed, err := wr.debts.owed(ctx, pool.ID)
	w.must(err)
	batches, err := wr.stock.batches(ctx)
	w.must(err)
	if len(owed) != 2 {
		t.Fatalf("owed %+v", owed)
	}
	cut := false
	for _, c := range owed {
		b := batches[c.Object.Batch]
		objects, err := wr.stock.objects(ctx, b.ID)
		w.must(err)
		o := objects[c.Object.ID]
		if o.PlannedSize < 20<<20 {
			w.must(wr.objects.write(ctx, "a", c, b, o))
			continue
		}
		cut = true
		p, err := wr.objects.pack(ctx, c, b, o)
		w.must(err)
		defer p.Close()
		w.must(wr.tapes.openTape(ctx, "a", p.PartLen(0)))
		first := wr.session.tape.Barcode
		used := wr.session.volume.Capacity
		free, err := wr.session.volume.Free()
		w.must(err)
		mine := map[int64]bool{}
		w.must(w.vl.Fault(fmt.Sprintf("enospc-after=%d", used-free+1<<20)))
		for range p.Parts() { // the drive's buffer takes some parts more than fit
			if wr.session.volume == nil {
				break
			}
			n, _, err := wr.objects.missing(ctx, c, p, true, mine)
			w.must(err)
			w.must(wr.objects.writePart(ctx, c, o, p, n, nil, mine))
		}
		if wr.session.volume != nil {
			w.must(wr.tapes.sync(ctx))
		}
		if tape, err := w.db.TapeByBarcode(ctx, first); err != nil || tape.State != catalog.TapeFull && tape.State != catalog.TapeSuspect {
			t.Errorf("tape %+v, %v", tape, err)
		}
		w.must(w.vl.Fault("clear"))
		w.must(wr.objects.write(ctx, "a", c, b, o))
	}
	if !cut {
		t.Error("no object was large enough")
	}
	close(wr.mail.done)
	w.must(wr.loop(ctx))
	w.settled()
	w.restore("far", "a")
}
