package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// FileMeta is a file's or symlink's mode and owner as a listing has them now.
type FileMeta struct {
	ID    ID
	Mode  uint32
	Owner Owner
}

// UpdateFiles brings mode and owner of files and symlinks up to date, a page in one transaction, and
// journals it: their bytes are what they were, so no version is new. All names of an inode change together.
// Directories are left alone.
func (db *DB) UpdateFiles(ctx context.Context, run int64, files []FileMeta) error {
	for page := range slices.Chunk(files, changePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			owners := map[Owner]int64{}
			now := time.Now()
			for i := range page {
				if err := updateFile(ctx, tx, run, &page[i], owners, now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record changed modes and owners: %w", err)
		}
	}
	return nil
}

func updateFile(ctx context.Context, tx *sql.Tx, run int64, f *FileMeta, owners map[Owner]int64, at time.Time) error {
	owner, ok := owners[f.Owner]
	if !ok {
		var err error
		if owner, err = ownerID(ctx, tx, f.Owner); err != nil {
			return err
		}
		owners[f.Owner] = owner
	}
	changed, err := query(ctx, tx, "names of an inode", func(rows *sql.Rows) (id ID, err error) {
		err = rows.Scan(&id)
		return id, err
	}, textUpdateFile, f.Mode, owner, f.ID)
	if err != nil {
		return err
	}
	for _, id := range changed {
		if err := journal(ctx, tx, run, "metadata", id, at, ""); err != nil {
			return err
		}
	}
	return nil
}

const textUpdateFile = `UPDATE version SET mode = ?1, owner = ?2 WHERE id IN (
		SELECT i.inode FROM version i WHERE i.id = ?3
		UNION SELECT n.id FROM version i JOIN version n INDEXED BY version_inode ON n.inode = i.inode AND n.inode <> n.id WHERE i.id = ?3)
	AND kind <> ` + sqlDirectory + ` AND state IN (` + sqlPresent + `, ` + sqlVoid + `) AND (mode <> ?1 OR owner <> ?2) RETURNING id`
