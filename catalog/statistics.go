package catalog

import (
	"context"
	"database/sql"
	"fmt"
)

// Statistic is a number of rows: how large a catalog is and in which states its things are, without a name of any of them.
type Statistic struct {
	What string // "version", "copy in state 3", "tape open"
	N    int64
}

// Statistics counts the rows of the catalog, for reports on what went wrong. Schema is the first of them.
func (db *DB) Statistics(ctx context.Context) ([]Statistic, error) {
	schema, err := db.schema(ctx)
	if err != nil {
		return nil, err
	}
	list := []Statistic{{"schema", schema}}
	tables, err := query(ctx, db.reader, "names of tables", func(rows *sql.Rows) (name string, err error) {
		return name, rows.Scan(&name)
	}, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose_%' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		s := Statistic{What: t}
		if err := db.reader.QueryRowContext(ctx, `SELECT count(*) FROM "`+t+`"`).Scan(&s.N); err != nil { // a name of our own schema
			return nil, fmt.Errorf("count rows of %s: %w", t, err)
		}
		list = append(list, s)
	}
	states, err := query(ctx, db.reader, "states", func(rows *sql.Rows) (s Statistic, err error) {
		return s, rows.Scan(&s.What, &s.N)
	}, `SELECT 'copy in state ' || state, count(*) FROM copy GROUP BY state
		UNION ALL SELECT 'object in state ' || state, count(*) FROM object GROUP BY state
		UNION ALL SELECT 'batch in state ' || state, count(*) FROM batch GROUP BY state
		UNION ALL SELECT 'tape ' || state, count(*) FROM tape GROUP BY state
		UNION ALL SELECT 'run ' || kind || ' ' || state, count(*) FROM run GROUP BY kind, state`)
	return append(list, states...), err
}
