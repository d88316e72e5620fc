package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// SourceState is what a source tells now of a file whose bytes were proved to be those of a version.
type SourceState struct {
	ID    ID
	Nsec  int32     // of its modification time, whose second is the version's
	CTime time.Time // zero: the source does not tell
	Ino   uint64
}

// UpdateSourceStates records what a source tells of files, so that the next comparison need not read them. No tape
// is told: a catalog rebuilt from tapes learns it again. What waits in the spool keeps its time, for it is still to be
// sealed as it was planned.
func (db *DB) UpdateSourceStates(ctx context.Context, states []SourceState) error {
	for page := range slices.Chunk(states, changePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			for _, s := range page {
				_, err := tx.ExecContext(ctx, `UPDATE version SET mtime_ns = CASE WHEN batch IS NULL THEN ? ELSE mtime_ns END, ctime = ?, ino = ? WHERE id = ? AND kind = `+sqlFile+` AND state = `+sqlPresent,
					s.Nsec, nullIfZero(nsOf(s.CTime)), nullIfZero(int64(s.Ino)), s.ID)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record what a source tells of its files: %w", err)
		}
	}
	return nil
}
