package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// OweShared makes a pool owe the objects of other sources that files of a source have their bytes from, where there was never a
// copy. It returns all of these that the pool has no durable copy of, and how many copies are owed now that were not before.
func (db *DB) OweShared(ctx context.Context, source, pool int64) (objects []int64, owed int64, err error) {
	type link struct {
		version ID
		object  int64
	}
	var top string
	err = db.reader.QueryRowContext(ctx, `SELECT name FROM source WHERE id = ?`, source).Scan(&top)
	if err != nil {
		return nil, 0, fmt.Errorf("name of source %d: %w", source, err)
	}
	links, err := query(ctx, db.reader, "files with the bytes of other sources", func(rows *sql.Rows) (l link, err error) {
		return l, rows.Scan(&l.version, &l.object)
	}, textSharedMissing, source, pool)
	if err != nil {
		return nil, 0, err
	}
	for _, l := range links {
		if n := len(objects); n > 0 && objects[n-1] == l.object {
			continue // it is wanted already
		}
		path, err := db.Path(ctx, l.version)
		if err != nil {
			return nil, 0, err
		}
		if strings.HasPrefix(path, "/"+top+"/") {
			objects = append(objects, l.object)
		}
	}
	for page := range slices.Chunk(objects, owePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			for _, id := range page {
				res, err := tx.ExecContext(ctx, `INSERT INTO copy (object, pool, state) SELECT ?1, ?2, `+sqlOwed+`
					WHERE NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = ?1 AND c.pool = ?2 AND c.state < `+sqlCopyDropped+`)`, id, pool)
				if err != nil {
					return err
				}
				n, err := res.RowsAffected()
				if err != nil {
					return err
				}
				owed += n
			}
			return nil
		})
		if err != nil {
			return nil, owed, fmt.Errorf("owe copies to pool %d: %w", pool, err)
		}
	}
	return objects, owed, nil
}

// textSharedMissing lists, by object, the versions whose bytes are in an object of another source than the given one that has no
// durable copy in a pool. Further names of an inode are left out: the first says the same.
const textSharedMissing = `SELECT v.id, o.id FROM version v INDEXED BY version_data CROSS JOIN member m ON m.version = v.data CROSS JOIN object o ON o.id = m.object
	WHERE v.data <> v.id AND v.data <> v.inode AND v.state = ` + sqlPresent + ` AND o.source <> ?1 AND o.state < ` + sqlObjectSuperseded + `
	AND NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.pool = ?2 AND c.state = ` + sqlDurable + `)
	AND NOT EXISTS (SELECT 1 FROM object r WHERE r.replaces = o.id AND r.state < ` + sqlObjectDropped + `) ORDER BY o.id, v.id`
