package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// UnsafeParts lists parts in state writing or written, by tape and id.
func (db *DB) UnsafeParts(ctx context.Context) ([]CopyPart, error) {
	return query(ctx, db.reader, "unsafe parts", scanCopyPart, textUnsafeParts)
}

const textUnsafeParts = `SELECT ` + copyPartColumns + ` FROM copy_part p INDEXED BY copy_part_unsafe JOIN tape t ON t.id = p.tape
	WHERE p.state < ` + sqlPartDurable + ` ORDER BY p.tape, p.id`

// OwedCopy is a copy to be made, with its object.
type OwedCopy struct {
	Copy
	Object Object
}

// OwedCopies lists copies in state owed or writing whose object has a synced batch, in order of object id.
func (db *DB) OwedCopies(ctx context.Context, pool int64) ([]OwedCopy, error) {
	return query(ctx, db.reader, "owed copies", scanOwed, textOwedCopies+textOwedOrder, pool)
}

// OwedAlone is OwedCopies without those of objects that another pool waits for, too.
func (db *DB) OwedAlone(ctx context.Context, pool int64) ([]OwedCopy, error) {
	return query(ctx, db.reader, "owed copies", scanOwed, textOwedCopies+textAlone+textOwedOrder, pool)
}

func scanOwed(rows *sql.Rows) (c OwedCopy, err error) {
	var verified int64
	c.Object, err = scanObjectAnd(rows, &c.ID, &c.Copy.Object, &c.Pool, &c.State, &verified)
	c.Verified = timeOf(verified)
	return c, err
}

// c.state < 3 is what the index holds; the few copies that wait for a sync are left out by c.state < 2.
const textOwedCopies = `SELECT ` + objectColumns + `, c.id, c.object, c.pool, c.state, c.verified FROM copy c INDEXED BY copy_unfinished
	CROSS JOIN object o ON o.id = c.object CROSS JOIN seal_key k ON k.id = o.key CROSS JOIN batch b ON b.id = o.batch
	WHERE c.pool = ? AND c.state < ` + sqlDurable + ` AND c.state < ` + sqlWritten + ` AND b.state = ` + sqlSynced + ` AND o.state < ` + sqlObjectSuperseded

const textOwedOrder = ` ORDER BY c.object`

const textAlone = ` AND NOT EXISTS (SELECT 1 FROM copy x WHERE x.object = c.object AND x.id <> c.id AND x.state < ` + sqlDurable + `)`

// Parts lists an object's parts with their sums.
func (db *DB) Parts(ctx context.Context, object int64) ([]Part, error) {
	return query(ctx, db.reader, "parts", func(rows *sql.Rows) (p Part, err error) {
		err = rows.Scan(&p.Number, &p.Size, &p.SHA256, &p.Sums)
		return p, err
	}, `SELECT number, size, sha256, sums FROM part WHERE object = ? ORDER BY number`, object)
}

// CopyParts lists a copy's files in order of number, abandoned ones too.
func (db *DB) CopyParts(ctx context.Context, copy int64) ([]CopyPart, error) {
	return query(ctx, db.reader, "parts of copy", scanCopyPart, `SELECT `+copyPartColumns+` FROM copy_part p JOIN tape t ON t.id = p.tape
		WHERE p.copy = ? ORDER BY p.number, p.id`, copy)
}

// PartSums returns the extent sums of one part.
func (db *DB) PartSums(ctx context.Context, object int64, number int) ([]byte, error) {
	var sums []byte
	err := db.reader.QueryRowContext(ctx, `SELECT sums FROM part WHERE object = ? AND number = ?`, object, number).Scan(&sums)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("sums of part %d of object %d: %w", number, object, err)
	}
	return sums, nil
}

// ObjectCopies lists an object's copies, dropped ones too.
func (db *DB) ObjectCopies(ctx context.Context, object int64) ([]Copy, error) {
	return query(ctx, db.reader, "copies", scanCopy, `SELECT id, object, pool, state, verified FROM copy WHERE object = ? ORDER BY id`, object)
}

func scanCopy(rows *sql.Rows) (c Copy, err error) {
	var verified int64
	err = rows.Scan(&c.ID, &c.Object, &c.Pool, &c.State, &verified)
	c.Verified = timeOf(verified)
	return c, err
}
