package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// TapeDebts counts what forbids that a tape leaves the library: parts on it that are not safe yet, and
// copies that are owed elsewhere and whose bytes only durable copies with parts on this tape can give, since
// their batch is gone.
func (db *DB) TapeDebts(ctx context.Context, tape int64) (unsafe, owed int, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT count(*) FROM copy_part WHERE tape = ? AND state < `+sqlPartDurable, tape).Scan(&unsafe)
	if err != nil {
		return 0, 0, fmt.Errorf("count unsafe parts of tape %d: %w", tape, err)
	}
	err = db.reader.QueryRowContext(ctx, `SELECT count(*) FROM copy c INDEXED BY copy_unfinished JOIN object o ON o.id = c.object
		WHERE c.state <> `+sqlDurable+` AND c.state < `+sqlDurable+` AND NOT (`+textAwaiting+`) AND NOT EXISTS (SELECT 1 FROM batch b WHERE b.id = o.batch AND b.state < `+sqlReleased+`)
		AND EXISTS (SELECT 1 FROM copy s JOIN copy_part p ON p.copy = s.id
			WHERE s.object = c.object AND s.id <> c.id AND s.state IN (`+sqlWritten+`, `+sqlDurable+`) AND p.tape = ? AND p.state = `+sqlPartDurable+`)`, tape).Scan(&owed)
	if err != nil {
		return 0, 0, fmt.Errorf("count copies owed from tape %d: %w", tape, err)
	}
	return unsafe, owed, nil
}

// CountCleaning records that a cleaning cartridge was used on a drive, and returns how often it was used in all.
func (db *DB) CountCleaning(ctx context.Context, barcode, serial, product string, at time.Time) (uses int, err error) {
	err = db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO drive (serial, product, cleanings, cleaned) VALUES (?, ?, 1, ?)
			ON CONFLICT DO UPDATE SET cleanings = cleanings + 1, cleaned = excluded.cleaned,
				product = CASE WHEN excluded.product <> '' THEN excluded.product ELSE product END`, serial, product, nsOf(at))
		if err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `INSERT INTO cleaner (barcode, uses) VALUES (?, 1)
			ON CONFLICT DO UPDATE SET uses = uses + 1 RETURNING uses`, barcode).Scan(&uses)
	})
	if err != nil {
		return 0, fmt.Errorf("record the use of %s: %w", barcode, err)
	}
	return uses, nil
}

// CleanerUses tells how often each cleaning cartridge was used, by barcode; unknown ones are left out.
func (db *DB) CleanerUses(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	_, err := query(ctx, db.reader, "cleaning cartridges", func(rows *sql.Rows) (struct{}, error) {
		var barcode string
		var uses int
		err := rows.Scan(&barcode, &uses)
		out[barcode] = uses
		return struct{}{}, err
	}, `SELECT barcode, uses FROM cleaner`)
	return out, err
}
