package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// PlannedAt says whether a batch that is still being fetched holds a planned version of a path.
func (db *DB) PlannedAt(ctx context.Context, parent ID, name string) (bool, error) {
	var found bool
	err := db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM version INDEXED BY version_past
		WHERE parent = ? AND name = ? AND current = 0 AND state = ?)`, parent, []byte(name), Planned).Scan(&found)
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

// LastOID is the greatest object id there is, "" when there is none.
func (db *DB) LastOID(ctx context.Context) (string, error) {
	var oid sql.NullString
	if err := db.reader.QueryRowContext(ctx, `SELECT max(oid) FROM object`).Scan(&oid); err != nil {
		return "", fmt.Errorf("read the last object id: %w", err)
	}
	return oid.String, nil
}

// DirMeta is a directory's metadata as it was found.
type DirMeta struct {
	ID ID
	Meta
}

// UpdateDirs brings current directories up to date, a page in one transaction, and journals it.
// What is no current directory any more is left alone.
func (db *DB) UpdateDirs(ctx context.Context, run int64, dirs []DirMeta) error {
	for page := range slices.Chunk(dirs, changePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			now := time.Now()
			for _, d := range page {
				owner, err := ownerID(ctx, tx, d.Owner)
				if err != nil {
					return err
				}
				res, err := tx.ExecContext(ctx, `UPDATE version SET mode = ?, owner = ?, mtime = ?, mtime_ns = ?
					WHERE id = ? AND kind = ? AND current = 1`, d.Mode, owner, d.MTime.Sec, d.MTime.Nsec, d.ID, Directory)
				if err != nil {
					return err
				}
				if n, err := res.RowsAffected(); err != nil {
					return err
				} else if n == 0 {
					continue
				}
				if err := journal(ctx, tx, run, "metadata", d.ID, now, ""); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record directories: %w", err)
		}
	}
	return nil
}
