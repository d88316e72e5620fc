package catalog

import "context"

// PlannedAt says whether a batch that is still being fetched holds a planned version of a path.
func (db *DB) PlannedAt(ctx context.Context, parent ID, name string) (bool, error) {
	panic("unwritten")
}

// HasMember says whether any object carries a version: a directory's entry, say.
func (db *DB) HasMember(ctx context.Context, id ID) (bool, error) { panic("unwritten") }

// LastOID is the greatest object id there is, "" when there is none.
func (db *DB) LastOID(ctx context.Context) (string, error) { panic("unwritten") }
