package diff

import (
	"context"

	"github.com/tapefs/tapefs/catalog"
)

// dirPage is how many directories one transaction records: each one of its own would cost a sync
// of the disk.
const dirPage = 10000

// Book records new and changed directories many at a time. Until they are recorded new ones have
// stand-ins below 0 for their ids; a stand-in stays good for the whole run.
type Book struct {
	DB      *catalog.DB
	Run     int64
	Pending []catalog.NewDir
	ids     []catalog.ID // by number of stand-in, 8 bytes for each directory of the run that is new or changed
}

// ensure notes a directory to be made or brought up to date; known is its id, or 0.
func (b *Book) ensure(ctx context.Context, known, parent catalog.ID, name string, m catalog.Meta) (catalog.ID, error) {
	if len(b.Pending) >= dirPage {
		if err := b.Flush(ctx); err != nil {
			return 0, err
		}
	}
	id := known
	if id == 0 {
		id = catalog.ID(-1 - len(b.ids) - len(b.Pending))
	}
	b.Pending = append(b.Pending, catalog.NewDir{Parent: b.Place(parent), Name: name, Meta: m})
	return id, nil
}

// Place is a directory's id, or, below 0, its place in pending as -1-i.
func (b *Book) Place(id catalog.ID) catalog.ID {
	if id = b.ID(id); id < 0 {
		id += catalog.ID(len(b.ids))
	}
	return id
}

// ID is a directory's id, or its stand-in while it is not recorded.
func (b *Book) ID(id catalog.ID) catalog.ID {
	if n := int(-1 - id); id < 0 && n < len(b.ids) {
		return b.ids[n]
	}
	return id
}

// Flush records what was noted.
func (b *Book) Flush(ctx context.Context) error {
	if len(b.Pending) == 0 {
		return nil
	}
	ids, err := b.DB.EnsureDirs(ctx, b.Run, b.Pending)
	if err != nil {
		return err
	}
	b.Recorded(ids)
	return nil
}

// Recorded takes the ids of all that was pending.
func (b *Book) Recorded(ids []catalog.ID) {
	b.ids, b.Pending = append(b.ids, ids...), b.Pending[:0]
}
