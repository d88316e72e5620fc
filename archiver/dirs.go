package archiver

import (
	"context"

	"tapefs/catalog"
)

// dirPage is how many directories one transaction records: each one of its own would cost a sync
// of the disk.
const dirPage = 10000

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
	b.pending = append(b.pending, catalog.NewDir{Parent: b.place(parent), Name: name, Meta: m})
	return id, nil
}

// place is a directory's id, or, below 0, its place in pending as -1-i.
func (b *dirBook) place(id catalog.ID) catalog.ID {
	if id = b.id(id); id < 0 {
		id += catalog.ID(len(b.ids))
	}
	return id
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
	b.recorded(ids)
	return nil
}

// recorded takes the ids of all that was pending.
func (b *dirBook) recorded(ids []catalog.ID) {
	b.ids, b.pending = append(b.ids, ids...), b.pending[:0]
}
