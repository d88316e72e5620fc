package rebuild

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// seenAfter is what a rebuilt catalog knows of tapes, to be noted once it is in its place, and the tapes of which this machine wrote more
// than was read: those outside the library, among them such as the catalog has never heard of. When only some tapes were to be read, the
// others stay noted as they are. Else they are named, once: whoever goes on without them was told.
func (b *rebuilder) seenAfter(ctx context.Context) (next volume.WrittenTapes, unread []Refusal, err error) {
	old := volume.ReadWritten(b.env)
	next = volume.WrittenTapes{Catalog: old.Catalog, Tapes: map[string]int64{}, Barcodes: map[string]string{}}
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
	for _, uuid := range slices.Sorted(maps.Keys(old.Tapes)) {
		generation, known := old.Tapes[uuid], next.Tapes[uuid]
		if generation <= known {
			continue
		}
		if len(b.o.Tapes) > 0 {
			next.Tapes[uuid], next.Barcodes[uuid] = generation, old.Barcodes[uuid]
		}
		if !named[uuid] && !b.skipped(old.Barcodes[uuid]) {
			unread = append(unread, Refusal{Barcode: cmp.Or(old.Barcodes[uuid], "with volume "+uuid),
				Why: fmt.Sprintf("this machine wrote it up to index %d, and the catalog knows it up to %d: it lacks what came after that", generation, known)})
		}
	}
	return next, unread, nil
}
