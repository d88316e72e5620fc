package archiver

import (
	"context"
	"errors"

	"github.com/tapefs/tapefs/archiver/volume"
	"github.com/tapefs/tapefs/catalog"
)

// stranger refuses a loaded tape whose label names this catalog while the catalog does not know the volume: it was made after the state
// that the catalog is in. One that the catalog let go is none: its erasure was cut short.
func (a *Archiver) stranger(ctx context.Context, barcode string, is identity) error {
	if is.uuid == "" || is.label.Catalog != a.env.DB.UUID() {
		return nil
	}
	if _, err := a.env.DB.TapeByUUID(ctx, is.uuid); !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	t, err := a.env.DB.TapeByBarcode(ctx, barcode)
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	if err == nil && t.UUID == "" && t.EmptiedUUID == is.uuid {
		return nil
	}
	return volume.OlderError(barcode, "it is %s, volume %s, and the catalog does not know it", is.holds(), is.uuid)
}
