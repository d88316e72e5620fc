package catalog

import (
	"context"
	"database/sql"
	"fmt"
)

// PlannedAt says whether a batch that is still being fetched holds a planned version of a path.
func (db *DB) PlannedAt(ctx context.Context, parent ID, name string) (bool, error) {
	var found bool
	err := db.reader.QueryRowContext(ctx, textPlannedAt, parent, []byte(name), Planned).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("look for a planned %q: %w", name, err)
	}
	return found, nil
}

// HasMember says whether any object carries a version: a directory's entry, say.
func (db *DB) HasMember(ctx context.Context, id ID) (bool, error) {
	var found bool
	err := db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM member WHERE version = ?)`, id).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("look for objects of version %d: %w", id, err)
	}
	return found, nil
}

// LastVersion is the greatest id that was ever given to a version.
func (db *DB) LastVersion(ctx context.Context) (ID, error) {
	var id ID
	if err := db.reader.QueryRowContext(ctx, `SELECT max((SELECT seq FROM sqlite_sequence WHERE name = 'version'), (SELECT max(id) FROM version))`).Scan(&id); err != nil {
		return 0, fmt.Errorf("read the last id: %w", err)
	}
	return id, nil
}

// LastOID is the greatest object id there is, "" when there is none.
func (db *DB) LastOID(ctx context.Context) (string, error) {
	var oid sql.NullString
	if err := db.reader.QueryRowContext(ctx, `SELECT max(oid) FROM object`).Scan(&oid); err != nil {
		return "", fmt.Errorf("read the last object id: %w", err)
	}
	return oid.String, nil
}

const textPlannedAt = `SELECT EXISTS (SELECT 1 FROM version INDEXED BY version_past WHERE parent = ? AND name = ? AND current = 0 AND state = ?)`
