package manifest

import (
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// What a manifest tells of a tape comes back with a rebuild, whatever the note says; of manifests that say it in the note alone, too.
func TestStagesInManifests(t *testing.T) {
	at := time.Unix(1e9, 0).UTC()
	for _, tape := range []catalog.Tape{
		{UUID: "v", State: catalog.TapeSuperseded, Stage: catalog.StageRepacked, Note: "done with"},
		{UUID: "v", State: catalog.TapeSuperseded, Stage: catalog.StageRepacking, Note: "repacked on no day"},
		{State: catalog.TapeOpen, Stage: catalog.StageFormatting, Formatted: at},
		{State: catalog.TapeOpen, EmptiedUUID: "v", Note: "blank soon"},
		{UUID: "v", State: catalog.TapeOpen, Formatted: at, Note: "being emptied of volume x"},
	} {
		r := newTapeRecord(tape)
		if got := r.Tape(); got.Stage != tape.Stage || got.EmptiedUUID != tape.EmptiedUUID {
			t.Errorf("stage %q, let go %q; want %q, %q", got.Stage, got.EmptiedUUID, tape.Stage, tape.EmptiedUUID)
		}
	}
	for _, older := range []struct {
		record         TapeRecord
		stage, emptied string
	}{
		{TapeRecord{Volume: "v", State: catalog.TapeSuperseded, Note: "repacked on 2026-02-03: nothing on it is needed"}, catalog.StageRepacked, ""},
		{TapeRecord{State: catalog.TapeOpen, Note: "being emptied of volume v"}, "", "v"},
		{TapeRecord{State: catalog.TapeOpen, Formatted: at, Note: "its format began and was not recorded as done"}, catalog.StageFormatting, ""},
		{TapeRecord{Volume: "v", State: catalog.TapeSuspect, Note: "repacked on 2026-02-03"}, "", ""},
		{TapeRecord{State: catalog.TapeForeign, Formatted: at}, "", ""},
	} {
		if got := older.record.Tape(); got.Stage != older.stage || got.EmptiedUUID != older.emptied {
			t.Errorf("%+v: stage %q, let go %q; want %q, %q", older.record, got.Stage, got.EmptiedUUID, older.stage, older.emptied)
		}
	}
}
