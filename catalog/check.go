package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// ErrDamaged: SQLite found the catalog's file damaged.
var ErrDamaged = errors.New("catalog is damaged")

// quickCheckLines is how many findings are asked for: the first few tell enough.
const quickCheckLines = 5

// QuickCheck lets SQLite look through the whole file (PRAGMA quick_check, then the foreign keys).
// ErrDamaged, with the first findings, when it is not whole.
func (db *DB) QuickCheck(ctx context.Context) error {
	lines, err := query(ctx, db.reader, "check catalog", func(rows *sql.Rows) (s string, err error) {
		return s, rows.Scan(&s)
	}, fmt.Sprintf(`PRAGMA quick_check(%d)`, quickCheckLines))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(lines) != 1 || lines[0] != "ok" {
		return fmt.Errorf("check catalog: %w: %s", ErrDamaged, strings.Join(lines, "; "))
	}
	orphans, err := query(ctx, db.reader, "check references", func(rows *sql.Rows) (s string, err error) {
		var table, parent string
		var row sql.NullInt64
		var key int64
		err = rows.Scan(&table, &row, &parent, &key)
		return fmt.Sprintf("row %d of %s names no %s", row.Int64, table, parent), err
	}, `SELECT * FROM pragma_foreign_key_check LIMIT ?`, quickCheckLines)
	if err != nil {
		return err
	}
	if len(orphans) > 0 {
		return fmt.Errorf("check catalog: %w: %s", ErrDamaged, strings.Join(orphans, "; "))
	}
	return nil
}
