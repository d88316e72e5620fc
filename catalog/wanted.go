package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// WantedTape is a tape that somebody waits for and that is not in the library.
type WantedTape struct {
	Barcode string
	Place   string // where it was put when it was exported
	Reason  string // who wants it: restore, mount
	Since   time.Time
}

// Want records that a tape is wanted. It reports whether that is new: it is worth one line in a log.
func (db *DB) Want(ctx context.Context, barcode, reason string) (fresh bool, err error) {
	err = db.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO wanted (tape, reason, since) SELECT id, ?, ? FROM tape WHERE barcode = ?
			ON CONFLICT DO NOTHING`, reason, time.Now().UnixNano(), barcode)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		fresh = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("record tape %s as wanted: %w", barcode, err)
	}
	return fresh, nil
}

// Unwant takes a tape's request back: it came, or nobody waits any more.
func (db *DB) Unwant(ctx context.Context, barcode, reason string) error {
	return db.exec(ctx, "record tape "+barcode+" as no longer wanted",
		`DELETE FROM wanted WHERE reason = ? AND tape IN (SELECT id FROM tape WHERE barcode = ?)`, reason, barcode)
}

// Wanted lists the wanted tapes, the ones that were asked for first.
func (db *DB) Wanted(ctx context.Context) ([]WantedTape, error) {
	return query(ctx, db.reader, "wanted tapes", func(rows *sql.Rows) (w WantedTape, err error) {
		var since int64
		err = rows.Scan(&w.Barcode, &w.Place, &w.Reason, &since)
		w.Since = timeOf(since)
		return w, err
	}, `SELECT t.barcode, t.place, w.reason, w.since FROM wanted w JOIN tape t ON t.id = w.tape ORDER BY w.since, t.barcode`)
}

// textBytesAt prefers an object as Locate does.
const textBytesAt = `SELECT m.object, m.data FROM member m JOIN object o ON o.id = m.object
	WHERE m.version = ? AND o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `)
	ORDER BY EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND ` + textAllOnTape + `) DESC, o.oid DESC LIMIT 1`

// BytesAt is the short form of Locate for callers that ask for very many versions: in which object, and
// where in its plain stream, the bytes of a version (Version.Data) lie. Object 0: in none.
func (db *DB) BytesAt(ctx context.Context, data ID) (object, offset int64, err error) {
	stmt, err := db.prepared(ctx, textBytesAt)
	if err == nil {
		err = stmt.QueryRowContext(ctx, data).Scan(&object, &offset)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("look for the bytes of version %d: %w", data, err)
	}
	return object, offset, nil
}
