package archiver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

// The ltfs of a tape dies at its first request, its second, and so on through all that a run makes: at the label, at the names on the tape,
// at its free space, in the middle of a part, at the manifest, before and after the index. The run goes on and blames nobody, and the
// next one finds nothing left to do.
func TestLtfsDiesAtAnyRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("archives more than a hundred times")
	}
	w := newBackWorld(t, virtual.Options{TapeSize: 1 << 30, Drives: 1})
	w.must(w.vl.Fault("slow-umount=10ms"))
	only := func(c *Config) { c.Sources = c.Sources[:1] }
	w.write("src/first", 1, 5<<20)
	w.open(only)
	w.archive()
	for n := 1; ; n++ {
		w.write(fmt.Sprintf("src/%d", n), byte(n), 100<<10)
		for tape := 1; tape <= 4; tape++ {
			w.must(w.vl.Fault(fmt.Sprintf("dies-at=VT000%dL8:%d", tape, n)))
		}
		w.open(only)
		_, err := w.a.Archive(t.Context(), nil, Options{})
		if err != nil && !errors.Is(err, ErrPartial) {
			t.Errorf("request %d: archive: %v", n, err)
		}
		died := !w.faulted("dies-at=VT0001L8")
		w.must(w.vl.Fault("clear=dies-at"))
		tapes, terr := w.db.Tapes(t.Context())
		w.must(terr)
		for _, tape := range tapes {
			if tape.State == catalog.TapeSuspect {
				t.Errorf("request %d: tape %s is suspect: %s", n, tape.Barcode, tape.Note)
			}
		}
		w.archive()
		w.settled()
		if !died {
			if n < 20 {
				t.Errorf("a run makes %d requests", n)
			}
			break
		}
	}
	w.restore("src", "a")
}

// faulted reports whether a fault that begins so is in force.
func (w *backWorld) faulted(begins string) bool {
	w.Helper()
	kind, arg, _ := strings.Cut(begins, "=")
	text, err := os.ReadFile(filepath.Join(w.vl.Dir, "faults.json"))
	w.must(err)
	return strings.Contains(string(text), kind) && strings.Contains(string(text), arg)
}

// The same while a blank tape is formatted, mounted and labelled, also by hand.
func TestLtfsDiesWhileATapeIsFormatted(t *testing.T) {
	if testing.Short() {
		t.Skip("formats many tapes")
	}
	const requests = 40
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20, Slots: 2 * requests, Tapes: 2 * requests, Drives: 1})
	w.must(w.vl.Fault("slow-umount=10ms"))
	all := func(c *Config) {
		c.Sources = c.Sources[:1]
		c.Pools = []Pool{{Name: "a", Include: []string{"VT*"}, FormatBlank: true}}
	}
	for n := 1; n <= requests; n += 3 {
		dies := func() (left int) {
			text, err := os.ReadFile(filepath.Join(w.vl.Dir, "faults.json"))
			w.must(err)
			return strings.Count(string(text), fmt.Sprintf("L8:%d\"", n))
		}
		for tape := range 2 * requests {
			w.must(w.vl.Fault(fmt.Sprintf("dies-at=VT%04dL8:%d", tape+1, n)))
		}
		w.write(fmt.Sprintf("src/%d", n), byte(n), 100<<10)
		w.open(all)
		if blank := fmt.Sprintf("VT%04dL8", (n+2)/3); n%2 == 0 && n < 30 {
			if _, err := w.a.FormatTape(t.Context(), changer.Barcode(blank), "a", FormatOptions{}); !errors.Is(err, changer.ErrKilled) {
				t.Errorf("request %d: format: %v", n, err)
			}
		} else if s, err := w.a.Archive(t.Context(), nil, Options{}); !errors.Is(err, ErrPartial) {
			report, _ := w.db.RunReport(t.Context(), s.Run)
			t.Errorf("request %d: archive: %v\n%+v", n, err, report.Errors)
		}
		if dies() != 2*requests-1 {
			t.Errorf("request %d: %d ltfs died", n, 2*requests-dies())
		}
		w.must(w.vl.Fault("clear=dies-at"))
		w.archive()
		w.settled()
		tapes, err := w.db.Tapes(t.Context())
		w.must(err)
		if len(tapes) != (n+2)/3 {
			t.Errorf("request %d: %d tapes", n, len(tapes))
		}
		for _, tape := range tapes {
			if tape.State == catalog.TapeSuspect {
				t.Errorf("request %d: tape %s is suspect: %s", n, tape.Barcode, tape.Note)
			}
			_, err := w.db.UpdateTape(t.Context(), tape.ID, func(t *catalog.Tape) error { t.State = catalog.TapeFull; return nil })
			w.must(err)
		}
	}
	w.restore("src", "a")
}
