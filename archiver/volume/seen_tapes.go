package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
)

// WrittenTapes is kept in the run folder, outside the catalog: the index generations of the tapes that this machine wrote. A catalog that
// does not know as much was put back from a backup, which is told so before anything is planned, let alone written. The tapes themselves
// tell it, too, when the folder went with the catalog.
type WrittenTapes struct {
	Catalog string           `json:"catalog"`
	Tapes   map[string]int64 `json:"tapes"` // by volume UUID

	Barcodes map[string]string `json:"barcodes,omitempty"` // of those volumes, as far as they are known
}

func writtenFile(env *job.Env) string { return filepath.Join(env.Config.RunDir, "written-tapes.json") }

// ReadWritten reads what was noted of this catalog's tapes. A file that cannot be read, or of another catalog, says nothing.
func ReadWritten(env *job.Env) WrittenTapes {
	none := WrittenTapes{Catalog: env.DB.UUID(), Tapes: map[string]int64{}, Barcodes: map[string]string{}}
	text, err := os.ReadFile(writtenFile(env))
	if err != nil {
		return none
	}
	var s WrittenTapes
	if err := json.Unmarshal(text, &s); err != nil || s.Catalog != none.Catalog || s.Tapes == nil {
		return none
	}
	if s.Barcodes == nil {
		s.Barcodes = map[string]string{}
	}
	return s
}

// WriteWritten replaces all that was noted.
func WriteWritten(env *job.Env, s WrittenTapes) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return renameio.WriteFile(writtenFile(env), append(text, '\n'), 0o600)
}

// NoteWritten records the index generation of a tape as the catalog now has it; 0: its volume is no more. It is a second witness only, so
// that it cannot be written stops nothing.
func NoteWritten(env *job.Env, barcode, volume string, generation int64) {
	err := env.Exclusive("written-tapes", func() error {
		s := ReadWritten(env)
		if generation > 0 {
			s.Tapes[volume], s.Barcodes[volume] = generation, barcode
		} else {
			delete(s.Tapes, volume)
			delete(s.Barcodes, volume)
		}
		return WriteWritten(env, s)
	})
	if err != nil {
		env.Log.Warn("what was written to tapes is not noted beside the catalog", "err", err)
	}
}

// CheckWritten refuses a catalog that knows less of a tape than was written to it on this machine.
func CheckWritten(ctx context.Context, env *job.Env) error {
	for volume, generation := range ReadWritten(env).Tapes {
		t, err := env.DB.TapeByUUID(ctx, volume)
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
		return &changer.Error{Op: "write to tapes", Hint: OlderHint, Err: fmt.Errorf("%w: %s", ErrOlder, what)}
	}
	return nil
}

// ErrOlder: a tape holds what this archive wrote after the state that the catalog is in. Nothing is written then: the catalog
// would give out names and numbers a second time.
var ErrOlder = errors.New("the catalog is older than the tape")

const OlderHint = "was the catalog put back from a backup? tapefs catalog rebuild takes in what it lacks; until then it can be read, and nothing is written"
