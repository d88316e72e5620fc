package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
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
	Failed    []string // barcodes of the tapes that failed in it in a row
	Cleanings int
	Cleaned   time.Time
	Note      string // for people: nothing is decided by it
}

const driveColumns = `serial, product, state, cleanings, cleaned, note,
	(SELECT coalesce(group_concat(barcode, char(10)), '') FROM (SELECT barcode FROM drive_failure f WHERE f.serial = drive.serial ORDER BY barcode))`

func scanDrive(rows *sql.Rows) (d Drive, err error) {
	var cleaned int64
	var failed string
	err = rows.Scan(&d.Serial, &d.Product, &d.State, &d.Cleanings, &cleaned, &d.Note, &failed)
	d.Cleaned = timeOf(cleaned)
	if failed != "" {
		d.Failed = strings.Split(failed, "\n")
	}
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
		return saveDrive(ctx, tx, &d)
	})
	if err != nil && !errors.Is(err, ErrUnchanged) {
		return d, fmt.Errorf("change drive %s: %w", serial, err)
	}
	return d, nil
}

func saveDrive(ctx context.Context, tx *sql.Tx, d *Drive) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO drive (serial, product, state, cleanings, cleaned, note) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET product = excluded.product, state = excluded.state,
		cleanings = excluded.cleanings, cleaned = excluded.cleaned, note = excluded.note`,
		d.Serial, d.Product, d.State, d.Cleanings, nsOf(d.Cleaned), d.Note)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM drive_failure WHERE serial = ?`, d.Serial); err != nil {
		return err
	}
	for _, barcode := range d.Failed {
		if _, err := tx.ExecContext(ctx, `INSERT INTO drive_failure (serial, barcode) VALUES (?, ?)`, d.Serial, barcode); err != nil {
			return err
		}
	}
	return nil
}

// ErrUnchanged: a change was looked at and is none.
var ErrUnchanged = errors.New("nothing to change")
