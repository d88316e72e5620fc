package archiver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

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

	Barcodes map[string]string `json:"barcodes,omitempty"` // of those volumes, as far as they are known
}

func (a *Archiver) seenFile() string { return filepath.Join(a.env.Config.RunDir, "written-tapes.json") }

// readSeen reads what was seen of this catalog's tapes. A file that cannot be read, or of another catalog, says nothing.
func (a *Archiver) readSeen() seenTapes {
	none := seenTapes{Catalog: a.env.DB.UUID(), Tapes: map[string]int64{}, Barcodes: map[string]string{}}
	text, err := os.ReadFile(a.seenFile())
	if err != nil {
		return none
	}
	var s seenTapes
	if err := json.Unmarshal(text, &s); err != nil || s.Catalog != none.Catalog || s.Tapes == nil {
		return none
	}
	if s.Barcodes == nil {
		s.Barcodes = map[string]string{}
	}
	return s
}

// noteSeen records the index generation of a tape as the catalog now has it; 0: its volume is no more. It is a second witness only, so
// that it cannot be written stops nothing.
func (a *Archiver) noteSeen(barcode, volume string, generation int64) {
	a.seenLock.Lock()
	defer a.seenLock.Unlock()
	s := a.readSeen()
	if generation > 0 {
		s.Tapes[volume], s.Barcodes[volume] = generation, barcode
	} else {
		delete(s.Tapes, volume)
		delete(s.Barcodes, volume)
	}
	if err := a.writeSeen(s); err != nil {
		a.env.Log.Warn("what was written to tapes is not noted beside the catalog", "error", err)
	}
}

func (a *Archiver) writeSeen(s seenTapes) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return renameio.WriteFile(a.seenFile(), append(text, '\n'), 0o600)
}

// seenAfter is what a rebuilt catalog knows of tapes, to be noted once it is in its place, and the tapes of which this machine wrote more
// than was read: those outside the library, among them such as the catalog has never heard of. When only some tapes were to be read, the
// others stay noted as they are. Else they are named, once: whoever goes on without them was told.
func (b *rebuilder) seenAfter(ctx context.Context) (next seenTapes, unread []Refusal, err error) {
	old := b.readSeen()
	next = seenTapes{Catalog: old.Catalog, Tapes: map[string]int64{}, Barcodes: map[string]string{}}
	tapes, err := b.env.DB.Tapes(ctx)
	if err != nil {
		return next, nil, fmt.Errorf("look for tapes that were read: %w", err)
	}
	named := map[string]bool{} // those that are reported as missing, and those that may be gone
	for _, t := range tapes {
		if t.UUID == "" {
			continue
		}
		if t.IndexGeneration > 0 {
			next.Tapes[t.UUID], next.Barcodes[t.UUID] = t.IndexGeneration, t.Barcode
		}
		named[t.UUID] = t.State == catalog.TapeSuperseded || t.State == catalog.TapeRetired
	}
	for _, t := range b.report.Missing {
		named[t.UUID] = true
	}
	for _, volume := range slices.Sorted(maps.Keys(old.Tapes)) {
		generation, known := old.Tapes[volume], next.Tapes[volume]
		if generation <= known {
			continue
		}
		if len(b.o.Tapes) > 0 {
			next.Tapes[volume], next.Barcodes[volume] = generation, old.Barcodes[volume]
		}
		if !named[volume] {
			unread = append(unread, Refusal{Barcode: cmp.Or(old.Barcodes[volume], "with volume "+volume),
				Why: fmt.Sprintf("this machine wrote it up to index %d, and the catalog knows it up to %d: it lacks what came after that", generation, known)})
		}
	}
	return next, unread, nil
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
