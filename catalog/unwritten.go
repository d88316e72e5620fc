package catalog

import (
	"context"
	"database/sql"
)

// Unwritten lists the files of a source that were fetched, or found where it is read in place, and that no tape holds durably. True: their
// paths showed something before.
func (db *DB) Unwritten(ctx context.Context, source int64) (map[ID]bool, error) {
	files := map[ID]bool{}
	_, err := query(ctx, db.reader, "files that are on no tape", func(rows *sql.Rows) (struct{}, error) {
		var id ID
		var changed bool
		err := rows.Scan(&id, &changed)
		files[id] = changed
		return struct{}{}, err
	}, textUnwritten, source)
	return files, err
}

const textUnwritten = `WITH waiting AS (SELECT m.version AS id FROM batch b INDEXED BY batch_open CROSS JOIN object o INDEXED BY object_batch ON o.batch = b.id
		CROSS JOIN member m ON m.object = o.id WHERE b.state < ` + sqlReleased + ` AND b.state = ` + sqlSynced + ` AND b.source = ?1 AND o.state < ` + sqlObjectSuperseded + `
		AND NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state = ` + sqlDurable + `)),
	files AS (SELECT x.parent, x.name, x.id FROM waiting w CROSS JOIN version x ON x.id = w.id WHERE x.kind IN (` + sqlFile + `, ` + sqlSymlink + `) AND x.state = ` + sqlPresent + `
		UNION SELECT x.parent, x.name, x.id FROM waiting w CROSS JOIN version x ON x.data = w.id AND x.data <> x.id WHERE x.kind = ` + sqlFile + ` AND x.state = ` + sqlPresent + `)
	SELECT f.id, EXISTS (SELECT 1 FROM version e WHERE e.parent = f.parent AND e.name = f.name AND e.current = 0 AND e.id < f.id AND e.state IN (` + sqlPresent + `, ` + sqlVoid + `)) FROM files f`
