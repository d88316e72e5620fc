package catalog_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tapefs/tapefs/catalog"
)

// frozenNotes is a dump of a catalog of schema 13, in which notes decided what was to be done with a tape or drive, made by the
// program of that day: tapes 1 to 8 were repacked, are being repacked, had a format begun, were let go for an erasure, and failed in
// two drives, of which three tapes set the first aside.
const frozenNotes = "../testdata/catalogs/0013.sql"

// What notes said before there were columns for it is kept when an older catalog is opened, and the notes may be anything then.
func TestNotesOfAnOlderCatalogBecomeStages(t *testing.T) {
	ctx := context.Background()
	text, err := os.ReadFile(frozenNotes)
	check(t, err)
	path := filepath.Join(t.TempDir(), "catalog.db")
	h := raw(t, path)
	_, err = h.Exec(string(text))
	check(t, err)
	check(t, h.Close())
	check(t, os.Chmod(path, 0o600))
	db, err := catalog.Open(ctx, path)
	check(t, err)
	defer db.Close()
	type stage struct {
		state, stage string
		volume       bool
		emptied      string
	}
	want := map[string]stage{
		"VT0001L8": {catalog.TapeSuperseded, catalog.StageRepacked, true, ""},
		"VT0002L8": {catalog.TapeSuperseded, catalog.StageRepacking, true, ""},
		"VT0003L8": {catalog.TapeOpen, catalog.StageFormatting, false, ""},
		"VT0004L8": {catalog.TapeOpen, "", false, "0d977d39-30db-4d40-84b0-8c6e9a107687"},
		"VT0006L8": {catalog.TapeSuspect, "", true, ""},
		"VT0007L8": {catalog.TapeSuspect, "", true, ""},
		"VT0008L8": {catalog.TapeOpen, "", true, ""},
	}
	tapes := must(db.Tapes(ctx))(t)
	for _, tape := range tapes {
		if got := (stage{tape.State, tape.Stage, tape.UUID != "", tape.EmptiedUUID}); got != want[tape.Barcode] {
			t.Errorf("tape %s: %+v, want %+v", tape.Barcode, got, want[tape.Barcode])
		}
		if tape.Note == "" {
			t.Errorf("tape %s lost its note", tape.Barcode)
		}
	}
	if len(tapes) != len(want) {
		t.Errorf("%d tapes, want %d", len(tapes), len(want))
	}
	drives := must(db.Drives(ctx))(t)
	if len(drives) != 2 || drives[0].State != catalog.DriveSuspect || !slices.Equal(drives[0].Failed, []string{"VT0006L8", "VT0007L8", "VT0008L8"}) ||
		drives[1].State != catalog.DriveOK || !slices.Equal(drives[1].Failed, []string{"VT0006L8", "VT0007L8"}) {
		t.Errorf("drives: %+v", drives)
	}
	if found := must(db.Check(ctx))(t); len(found) != 0 {
		t.Errorf("found: %+v", found)
	}
	check(t, db.Close())
	sound(t, path)
}

// A stage goes with the state that it belongs to, and a volume that was let go is forgotten once the tape has one.
func TestStages(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	id := l.tapes[0].ID
	volume := l.tapes[0].UUID
	step := func(change func(*catalog.Tape), stage, emptied string) {
		t.Helper()
		got := must(l.db.UpdateTape(ctx, id, func(t *catalog.Tape) error { change(t); return nil }))(t)
		if got.Stage != stage || got.EmptiedUUID != emptied {
			t.Errorf("stage %q, let go %q; want %q, %q", got.Stage, got.EmptiedUUID, stage, emptied)
		}
	}
	step(func(t *catalog.Tape) { t.Stage = catalog.StageRepacked }, "", "")
	step(func(t *catalog.Tape) { t.State = catalog.TapeSuperseded }, catalog.StageRepacking, "")
	step(func(t *catalog.Tape) { t.Stage = catalog.StageRepacked }, catalog.StageRepacked, "")
	step(func(t *catalog.Tape) { t.State = catalog.TapeSuspect }, "", "")
	step(func(t *catalog.Tape) { t.State = catalog.TapeOpen }, "", "")
	check(t, l.db.LoseTape(ctx, id))
	check(t, l.db.LoseTape(ctx, id)) // the erasure is begun anew
	step(func(t *catalog.Tape) { t.Stage = catalog.StageFormatting }, catalog.StageFormatting, volume)
	step(func(t *catalog.Tape) { t.UUID = "another" }, "", "")
}

// The tapes that failed in a drive are kept one by one, and go with their row.
func TestDriveFailures(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	fail := func(barcodes ...string) catalog.Drive {
		t.Helper()
		return must(l.db.UpdateDrive(ctx, "S1", func(d *catalog.Drive) error { d.Failed = barcodes; return nil }))(t)
	}
	fail("B L8", "A")
	must(l.db.UpdateDrive(ctx, "S2", func(d *catalog.Drive) error { d.Failed = []string{"C"}; return nil }))(t)
	drives := must(l.db.Drives(ctx))(t)
	if len(drives) != 2 || !slices.Equal(drives[0].Failed, []string{"A", "B L8"}) || !slices.Equal(drives[1].Failed, []string{"C"}) {
		t.Errorf("drives: %+v", drives)
	}
	fail()
	if drives = must(l.db.Drives(ctx))(t); len(drives[0].Failed) != 0 || len(drives[1].Failed) != 1 {
		t.Errorf("drives after one worked: %+v", drives)
	}
	check(t, l.db.DropMachine(ctx))
	var rows int
	check(t, raw(t, l.db.FilePath()).QueryRow(`SELECT count(*) FROM drive_failure`).Scan(&rows))
	if rows != 0 {
		t.Errorf("%d failures of drives that are not known", rows)
	}
}
