package catalog

import (
	"context"
	"database/sql"
)

// PendingChanges counts, by pool, the changes of the catalog that no manifest on the pool's tapes names yet: a rebuild does not know
// them. Pools without a tape of ours are left out.
func (db *DB) PendingChanges(ctx context.Context) (map[string]int64, error) {
	pending := map[string]int64{}
	_, err := query(ctx, db.reader, "changes that no manifest names", func(rows *sql.Rows) (struct{}, error) {
		var pool string
		var n int64
		err := rows.Scan(&pool, &n)
		pending[pool] = n
		return struct{}{}, err
	}, `SELECT l.name, (SELECT count(*) FROM change h WHERE h.id > l.journalled) FROM pool l
		WHERE EXISTS (SELECT 1 FROM change h WHERE h.id > l.journalled)
		AND EXISTS (SELECT 1 FROM tape t WHERE t.pool = l.id AND t.uuid <> '' AND t.state IN ('open', 'full', 'superseded', 'suspect'))`)
	return pending, err
}
