package archiver

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer/virtual"
)

// A tape on which a session before this one left parts that nobody proved is read back before anything is written to it:
// the next sync would make them safe, and one of them is lost.
func TestTapeIsProvedBeforeItIsWrittenAgain(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 256 << 20, Drives: 1})
	w.write("src/film", 7, 9<<20)
	w.archive()
	before := w.durable()
	if len(before) == 0 {
		t.Fatal("nothing was written")
	}
	lost := before[0]
	w.close()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "catalog.db"))
	w.must(err)
	_, err = db.Exec(`UPDATE copy_part SET state = ?, name = name || '.gone' WHERE id = ?`, catalog.PartWritten, lost.ID)
	w.must(err)
	w.must(db.Close())
	w.open(nil)
	tape, err := w.db.TapeByBarcode(t.Context(), lost.Barcode)
	w.must(err)
	w.must(w.a.CloseTape(t.Context(), tape)) // mounts, syncs, and writes the catalog
	parts, err := w.db.CopyParts(t.Context(), lost.Copy)
	w.must(err)
	for _, p := range parts {
		if p.ID == lost.ID && p.State != catalog.PartLost {
			t.Errorf("the part that is not on the tape is in state %d", p.State)
		}
	}
}
