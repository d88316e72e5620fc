package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"tapefs/catalog"
	"tapefs/changer"
)

// seenTapes is kept in the run folder, outside the catalog: the index generations of the tapes that this machine wrote. A catalog that
// does not know as much was put back from a backup, which is told so before anything is planned, let alone written. The tapes themselves
// tell it, too, when the folder went with the catalog.
type seenTapes struct {
	Catalog string           `json:"catalog"`
	Tapes   map[string]int64 `json:"tapes"` // by volume UUID
}

func (a *Archiver) seenFile() string { return filepath.Join(a.env.Config.RunDir, "written-tapes.json") }

// readSeen reads what was seen of this catalog's tapes. A file that cannot be read, or of another catalog, says nothing.
func (a *Archiver) readSeen() seenTapes {
	none := seenTapes{Catalog: a.env.DB.UUID(), Tapes: map[string]int64{}}
	text, err := os.ReadFile(a.seenFile())
	if err != nil {
		return none
	}
	var s seenTapes
	if err := json.Unmarshal(text, &s); err != nil || s.Catalog != none.Catalog || s.Tapes == nil {
		return none
	}
	return s
}

// noteSeen records the index generation of a tape as the catalog now has it; 0: its volume is no more. It is a second witness only, so
// that it cannot be written stops nothing.
func (a *Archiver) noteSeen(volume string, generation int64) {
	a.seenLock.Lock()
	defer a.seenLock.Unlock()
	s := a.readSeen()
	if generation > 0 {
		s.Tapes[volume] = generation
	} else {
		delete(s.Tapes, volume)
	}
	text, err := json.Marshal(s)
	if err == nil {
		err = renameio.WriteFile(a.seenFile(), append(text, '\n'), 0o600)
	}
	if err != nil {
		a.env.Log.Warn("what was written to tapes is not noted beside the catalog", "error", err)
	}
}

// checkSeen refuses a catalog that knows less of a tape than was written to it on this machine.
func (a *Archiver) checkSeen(ctx context.Context) error {
	a.seenLock.Lock()
	s := a.readSeen()
	a.seenLock.Unlock()
	for volume, generation := range s.Tapes {
		t, err := a.env.DB.TapeByUUID(ctx, volume)
		what := ""
		switch {
		case errors.Is(err, catalog.ErrNotFound):
			what = fmt.Sprintf("it does not know volume %s, which was written on this machine", volume)
		case err != nil:
			return fmt.Errorf("look for tapes that were written: %w", err)
		case t.IndexGeneration < generation:
			what = fmt.Sprintf("tape %s was written on this machine up to index %d, and it knows %d", t.Barcode, generation, t.IndexGeneration)
		default:
			continue
		}
		return &changer.Error{Op: "write to tapes", Hint: olderHint, Err: fmt.Errorf("%w: %s", ErrOlder, what)}
	}
	return nil
}
