package archiver

import (
	"errors"
	"testing"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// The ltfs of a tape is killed while it is written, and its volume wants ltfsck: that is done at once, what was synced before and what
// is proved counts, the tape goes on, and nobody is blamed.
func TestKilledLtfsBlamesNobody(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 1})
	w.write("src/before", 1, 5<<20)
	w.open(func(c *Config) { c.Sources = c.Sources[:1] })
	w.archive()
	w.write("src/while", 2, 30<<20)
	w.must(w.vl.Fault("kill-needs-check"))
	killed := false
	var kill stopAt = func(stage string) {
		if stage == "write" && !killed {
			killed = true
			w.must(w.vl.Fault("kill-ltfs"))
		}
	}
	w.open(func(c *Config) { c.Sources = c.Sources[:1]; c.Progress = kill })
	if _, err := w.a.Archive(t.Context(), nil, Options{}); err != nil && !errors.Is(err, ErrPartial) {
		t.Fatal(err)
	}
	if !killed {
		t.Fatal("nothing was written")
	}
	tapes, err := w.db.Tapes(t.Context())
	w.must(err)
	for _, tape := range tapes {
		if tape.State == catalog.TapeSuspect {
			t.Errorf("tape %s is suspect: %s", tape.Barcode, tape.Note)
		}
	}
	w.archive()
	w.settled()
	w.restore("src", "a")
}
