package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Drive states. Stored as they are.
const (
	DriveOK      = "ok"
	DriveSuspect = "suspect" // several tapes in a row failed in it: nothing is written with it
)

// Drive is what the catalog knows of a drive.
type Drive struct {
	Serial    string
	Product   string
	State     string
	Failures  int // tapes that failed in it in a row
	Cleanings int
	Cleaned   time.Time
	Note      string
}

const driveColumns = `serial, product, state, failures, cleanings, cleaned, note`

func scanDrive(rows *sql.Rows) (d Drive, err error) {
	var cleaned int64
	err = rows.Scan(&d.Serial, &d.Product, &d.State, &d.Failures, &d.Cleanings, &cleaned, &d.Note)
	d.Cleaned = timeOf(cleaned)
	return d, err
}

// Drives lists the drives of which anything is known, by serial.
func (db *DB) Drives(ctx context.Context) ([]Drive, error) {
	return query(ctx, db.reader, "drives", scanDrive, `SELECT `+driveColumns+` FROM drive ORDER BY serial`)
}

// UpdateDrive changes one drive in a transaction; a new one begins as ok. fn must not call the DB. When
// fn returns ErrUnchanged nothing is written.
func (db *DB) UpdateDrive(ctx context.Context, serial string, fn func(*Drive) error) (Drive, error) {
	d := Drive{Serial: serial, State: DriveOK}
	err := db.update(ctx, func(tx *sql.Tx) error {
		list, err := query(ctx, tx, "drive "+serial, scanDrive, `SELECT `+driveColumns+` FROM drive WHERE serial = ?`, serial)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			d = list[0]
		}
		if err := fn(&d); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO drive (`+driveColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET product = excluded.product, state = excluded.state, failures = excluded.failures,
			cleanings = excluded.cleanings, cleaned = excluded.cleaned, note = excluded.note`,
			d.Serial, d.Product, d.State, d.Failures, d.Cleanings, nsOf(d.Cleaned), d.Note)
		return err
	})
	if err != nil && !errors.Is(err, ErrUnchanged) {
		return d, fmt.Errorf("change drive %s: %w", serial, err)
	}
	return d, nil
}

// ErrUnchanged: a change was looked at and is none.
var ErrUnchanged = errors.New("nothing to change")
