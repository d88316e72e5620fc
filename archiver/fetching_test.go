package archiver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/spool"
	"github.com/tapefs/tapefs/catalog"
)

// admissionWorld is a source with four batches of 40 bytes and a spool for two, and a writer that can release nothing.
func admissionWorld(t *testing.T) (*front, *intake, []catalog.Batch) {
	t.Helper()
	f := newFront(t, 1<<30)
	tree := filepath.Join(t.TempDir(), "tree")
	for i := range 4 {
		touch(t, fmt.Sprintf("%s/%d", tree, i), strings.Repeat("x", 40), 1000, 7)
	}
	s := startSSHD(t, "")
	f.env.Config.SpoolMax = 100
	_, batches := f.plan(t, Source{Name: "media", URL: s.URL(tree), SSH: s.Args}, Options{})
	if len(batches) != 4 {
		t.Fatalf("%d batches", len(batches))
	}
	noted := job.NewProblems(f.Archiver.env, f.run)
	w := f.newWriter(f.run, nil, Options{}, noted)
	close(w.mail.stopped)
	return f, f.newIntake(f.run, w, Options{}, noted), batches
}

// Batches that are admitted and not begun yet take their room all the same, and one that has none waits for another one's end.
func TestAdmissionCountsWhatIsInHand(t *testing.T) {
	f, in, batches := admissionWorld(t)
	for i, want := range []bool{true, true, false} {
		got, err := f.spool.Admit(t.Context(), batches[i], f.spool.Fits)
		ok(t, err)
		if got != want {
			t.Fatalf("batch %d is admitted: %v", i, got)
		}
	}
	type answer struct {
		ok  bool
		err error
	}
	answers := make(chan answer)
	for _, b := range batches[2:] {
		go func() {
			ok, err := in.admit(t.Context(), b)
			answers <- answer{ok, err}
		}()
	}
	f.spool.Fetching.End(batches[0]) // it failed, and left nothing
	if a := <-answers; !a.ok || a.err != nil {
		t.Fatalf("one that waited: %+v", a)
	}
	f.spool.Fetching.End(batches[1])
	if a := <-answers; !a.ok || a.err != nil {
		t.Fatalf("the other one that waited: %+v", a)
	}
	f.spool.Fetching.End(batches[2])
	f.spool.Fetching.End(batches[3])
	if len(f.spool.Fetching.All()) > 0 {
		t.Error("something is left")
	}
}

// When the spool was made smaller, or several runs died, the batches that were begun may be more than it may hold. They do not wait
// for each other for ever: the oldest goes on. What was not begun finds no room.
func TestAdmissionOfTheOldest(t *testing.T) {
	f, in, batches := admissionWorld(t)
	for _, b := range batches[1:3] {
		dir, err := f.spool.BatchRoot(b)
		ok(t, err)
		ok(t, os.MkdirAll(dir, 0o700))
	}
	f.env.Config.SpoolMax = 50
	for i, want := range []bool{false, true, false, false} {
		got, err := in.admit(t.Context(), batches[i])
		if got != want || (err == spool.ErrNoRoom) == want {
			t.Errorf("batch %d is admitted: %v, %v", i, got, err)
		}
		if got {
			f.spool.Fetching.End(batches[i])
		}
	}
	dir, err := f.spool.BatchRoot(batches[1])
	ok(t, err)
	ok(t, os.RemoveAll(dir))
	if got, err := in.admit(t.Context(), batches[2]); !got || err != nil {
		t.Errorf("the next oldest is admitted: %v, %v", got, err)
	}
}
