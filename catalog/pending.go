package catalog

import (
	"context"
	"database/sql"
)

// PendingChanges counts, by pool and kind, the changes of the catalog that no manifest on the pool's tapes names yet: a rebuild does not know
// of them. Pools without a tape that could hold a manifest have none.
func (db *DB) PendingChanges(ctx context.Context) (map[string]map[string]int64, error) {
	pending := map[string]map[string]int64{}
	_, err := query(ctx, db.reader, "changes that no manifest names", func(rows *sql.Rows) (struct{}, error) {
		var pool, kind string
		var n int64
		err := rows.Scan(&pool, &kind, &n)
		if pending[pool] == nil {
			pending[pool] = map[string]int64{}
		}
		pending[pool][kind] = n
		return struct{}{}, err
	}, `SELECT l.name, h.kind, count(*) FROM pool l JOIN change h ON h.id > l.journalled
		WHERE EXISTS (SELECT 1 FROM tape t WHERE t.pool = l.id AND t.uuid <> '' AND (t.state IN `+countedTapes+` OR `+suspectTape+`))
		GROUP BY l.id, h.kind`)
	return pending, err
}
