package archiver

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/virtual"
)

type noteFunc func(string)

func (f noteFunc) Stage(string, int64, int64) {}
func (f noteFunc) Note(text string)           { f(text) }

// Three tapes in a row fail in one drive: it is set aside, its tapes are not blamed, and the other drive goes on.
func TestTapesFailingInOneDriveBlameTheDrive(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20, Drives: 2})
	var faults []string
	for i := range 7 {
		faults = append(faults, fmt.Sprintf("write-eio=VT%04dL8:%d", i+1, 6<<20+4096))
	}
	w.must(w.vl.Fault(faults...))
	loads := map[string]int{}
	w.open(func(c *Config) {
		onlyA(c)
		c.Pools[0].Include = []string{"VT*"}
		c.Progress = noteFunc(func(text string) {
			if !strings.HasPrefix(text, "loading ") {
				return
			}
			if loads[strings.Fields(text)[1]]++; loads[strings.Fields(text)[1]] == 2 { // its drive was blamed: in the other one it works
				if err := w.vl.Fault("clear"); err != nil {
					t.Error(err)
				}
			}
		})
	})
	for i := range 3 {
		w.write(fmt.Sprintf("far/%d", i), byte(i), 12<<20)
	}
	_, err := w.a.Archive(t.Context(), nil, Options{})
	if !errors.Is(err, ErrPartial) {
		t.Errorf("archive: %v", err)
	}
	drives, err := w.db.Drives(t.Context())
	w.must(err)
	var suspect []catalog.Drive
	for _, d := range drives {
		if d.State == catalog.DriveSuspect {
			suspect = append(suspect, d)
		}
	}
	if len(suspect) != 1 || len(suspect[0].Failed) != volume.DriveLimit {
		t.Fatalf("drives: %+v", drives)
	}
	for _, b := range suspect[0].Failed {
		if tape, err := w.db.TapeByBarcode(t.Context(), b); err != nil || tape.State == catalog.TapeSuspect {
			t.Errorf("tape %+v, %v", tape, err)
		}
	}
	w.settled()
	w.restore("far", "a")
}

// With the only drive set aside a run needs an operator, and goes on when the drive is trusted again.
func TestOnlyDriveSetAside(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20, Drives: 1})
	w.must(w.vl.Fault("write-eio=VT0001L8:6295552", "write-eio=VT0002L8:6295552", "write-eio=VT0003L8:6295552"))
	w.open(onlyA)
	w.write("far/0", 0, 12<<20)
	_, err := w.a.Archive(t.Context(), nil, Options{})
	var hint *changer.Error
	if !errors.Is(err, ErrNeedsOperator) || !errors.As(err, &hint) || !strings.Contains(hint.Hint, "tapefs drive trust") {
		t.Errorf("archive: %v", err)
	}
	w.must(w.vl.Fault("clear"))
	if _, err := w.a.Archive(t.Context(), nil, Options{}); !errors.Is(err, ErrNeedsOperator) {
		t.Errorf("a second run: %v", err)
	}
	_, err = w.db.UpdateDrive(t.Context(), w.vl.Drives[0].Serial, func(d *catalog.Drive) error {
		d.State, d.Failed, d.Note = catalog.DriveOK, nil, ""
		return nil
	})
	w.must(err)
	w.archive()
	w.settled()
	w.restore("far", "a")
}
