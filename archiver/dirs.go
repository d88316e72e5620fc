package archiver

import (
	"context"

	"tapefs/catalog"
)

// dirPage is how many directories one transaction records: each one of its own would cost a sync
// of the disk.
const dirPage = 2000

// dirBook records new and changed directories many at a time. Until they are recorded new ones have
// stand-ins below 0 for their ids; a stand-in stays good for the whole run.
type dirBook struct {
	db      *catalog.DB
	run     int64
	pending []catalog.NewDir
	ids     []catalog.ID // by number of stand-in, 8 bytes for each directory of the run that is new or changed
}

// ensure notes a directory to be made or brought up to date; known is its id, or 0.
func (b *dirBook) ensure(ctx context.Context, known, parent catalog.ID, name string, m catalog.Meta) (catalog.ID, error) {
	if len(b.pending) >= dirPage {
		if err := b.flush(ctx); err != nil {
			return 0, err
		}
	}
	id := known
	if id == 0 {
		id = catalog.ID(-1 - len(b.ids) - len(b.pending))
	}
	if parent = b.id(parent); parent < 0 {
		parent += catalog.ID(len(b.ids)) // -1-i: the i-th of pending
	}
	b.pending = append(b.pending, catalog.NewDir{Parent: parent, Name: name, Meta: m})
	return id, nil
}

// id is a directory's id, or its stand-in while it is not recorded.
func (b *dirBook) id(id catalog.ID) catalog.ID {
	if n := int(-1 - id); id < 0 && n < len(b.ids) {
		return b.ids[n]
	}
	return id
}

// flush records what was noted.
func (b *dirBook) flush(ctx context.Context) error {
	if len(b.pending) == 0 {
		return nil
	}
	ids, err := b.db.EnsureDirs(ctx, b.run, b.pending)
	if err != nil {
		return err
	}
	b.ids, b.pending = append(b.ids, ids...), b.pending[:0]
	return nil
}
