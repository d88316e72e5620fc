package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// owePage is how many copies one transaction adds: well under a second.
const owePage = 20000

// OweCopies makes a pool owe the copies of a source's objects that it never had, as when the pool
// was added to the source later. It returns how many. Damaged copies are left to ReviveDamaged.
func (db *DB) OweCopies(ctx context.Context, source, pool int64) (int64, error) {
	var owed int64
	for {
		var n int64
		err := db.update(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, `INSERT INTO copy (object, pool, state) SELECT o.id, ?2, `+sqlOwed+` FROM object o
				WHERE o.source = ?1 AND o.state < `+sqlObjectSuperseded+` AND NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.pool = ?2 AND c.state < `+sqlCopyDropped+`)
				AND NOT EXISTS (SELECT 1 FROM object r WHERE r.replaces = o.id AND r.state < `+sqlObjectDropped+`) LIMIT ?3`, source, pool, owePage)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return owed, fmt.Errorf("owe copies to pool %d: %w", pool, err)
		}
		if owed += n; n < owePage {
			return owed, nil
		}
	}
}

// textHealable: damaged copies of a source's objects, and of others in a list, that can be made whole: each part lies durable on some
// tape, or the spool has the bytes; and no other copy took their place.
const textHealable = `SELECT c.id FROM copy c JOIN object o ON o.id = c.object LEFT JOIN batch b ON b.id = o.batch
	WHERE c.state = ` + sqlCopyDamaged + ` AND (o.source = ?1 OR o.id IN (SELECT value FROM json_each(?2))) AND o.state = ` + sqlObjectPacked + `
	AND NOT EXISTS (SELECT 1 FROM object r WHERE r.replaces = o.id AND r.state < ` + sqlObjectDropped + `)
	AND NOT EXISTS (SELECT 1 FROM copy d WHERE d.object = o.id AND d.pool = c.pool AND d.state < ` + sqlCopyDamaged + `)
	AND (coalesce(b.state, ` + sqlReleased + `) = ` + sqlSynced + ` OR NOT EXISTS (SELECT 1 FROM part q WHERE q.object = o.id AND NOT EXISTS (
		SELECT 1 FROM copy d JOIN copy_part p ON p.copy = d.id WHERE d.object = o.id AND d.state < ` + sqlCopyDropped + ` AND p.number = q.number AND p.state = ` + sqlPartDurable + `)))
	AND c.id = (SELECT max(d.id) FROM copy d WHERE d.object = o.id AND d.pool = c.pool AND d.state = ` + sqlCopyDamaged + `)`

// ReviveDamaged makes the damaged copies of a source, and of other objects that its files have bytes from, owed again where
// their bytes can be had: the parts that are good stay, the others are to be written. It returns how many; hopeless counts
// those that no good copy is left for, but for what is known as lost.
func (db *DB) ReviveDamaged(ctx context.Context, source int64, others []int64) (revived, hopeless int64, err error) {
	list, err := json.Marshal(append([]int64{}, others...))
	if err != nil {
		return 0, 0, fmt.Errorf("owe damaged copies again: %w", err)
	}
	err = db.update(ctx, func(tx *sql.Tx) error {
		ids, err := query(ctx, tx, "damaged copies", func(rows *sql.Rows) (id int64, err error) {
			err = rows.Scan(&id)
			return id, err
		}, textHealable, source, string(list))
		if err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlOwed+`, verified = 0 WHERE id = ?`, id); err != nil {
				return err
			}
			if err := settleCopy(ctx, tx, id); err != nil {
				return err
			}
		}
		revived = int64(len(ids))
		return tx.QueryRowContext(ctx, `SELECT count(DISTINCT c.object || ' ' || c.pool) FROM copy c JOIN object o ON o.id = c.object
			WHERE c.state = `+sqlCopyDamaged+` AND (o.source = ?1 OR o.id IN (SELECT value FROM json_each(?2))) AND o.state = `+sqlObjectPacked+`
			AND NOT EXISTS (SELECT 1 FROM object r WHERE r.replaces = o.id AND r.state < `+sqlObjectDropped+`)
			AND NOT EXISTS (SELECT 1 FROM copy d WHERE d.object = o.id AND d.pool = c.pool AND d.state < `+sqlCopyDamaged+`) AND `+textNews, source, string(list)).Scan(&hopeless)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("owe damaged copies again: %w", err)
	}
	return revived, hopeless, nil
}

// HasCopy tells whether an object has a copy, made or owed, that is not known to be damaged.
func (db *DB) HasCopy(ctx context.Context, object int64) (has bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM copy WHERE object = ? AND state < `+sqlCopyDamaged+`)`, object).Scan(&has)
	if err != nil {
		err = fmt.Errorf("look for copies of object %d: %w", object, err)
	}
	return has, err
}

// MissingPart is a part of an owed copy whose object is packed, and where the same bytes lie.
type MissingPart struct {
	Copy, Object, Source int64
	OID, Fingerprint     string
	Number, Parts        int // of Parts
	Size                 int64
	Spooled              bool       // the object's batch is synced: it may repeat it
	From                 []CopyPart // durable parts of other copies; empty: none is left
}

// MissingParts lists the parts that packed objects' owed copies in a pool lack, by copy and number.
func (db *DB) MissingParts(ctx context.Context, pool int64) ([]MissingPart, error) {
	var out []MissingPart
	_, err := query(ctx, db.reader, "missing parts", func(rows *sql.Rows) (struct{}, error) {
		var m MissingPart
		var from CopyPart
		var id, tape, block sql.NullInt64
		var barcode, name sql.NullString
		err := rows.Scan(&m.Copy, &m.Object, &m.Source, &m.OID, &m.Fingerprint, &m.Number, &m.Size, &m.Parts, &m.Spooled,
			&id, &tape, &barcode, &name, &block)
		if err != nil {
			return struct{}{}, err
		}
		if n := len(out); n == 0 || out[n-1].Copy != m.Copy || out[n-1].Number != m.Number {
			out = append(out, m)
		}
		if id.Valid {
			from.ID, from.Tape, from.Barcode, from.Name, from.StartBlock = id.Int64, tape.Int64, barcode.String, name.String, block.Int64
			from.Number, from.Size, from.State = m.Number, m.Size, PartDurable
			last := &out[len(out)-1]
			last.From = append(last.From, from)
		}
		return struct{}{}, nil
	}, textMissingParts, pool)
	return out, err
}

const textMissingParts = `SELECT c.id, o.id, o.source, o.oid, k.fingerprint, q.number, q.size,
		(SELECT count(*) FROM part WHERE object = o.id), coalesce(b.state, ` + sqlReleased + `) = ` + sqlSynced + `, s.id, s.tape, t.barcode, s.name, s.startblock
	FROM copy c INDEXED BY copy_unfinished CROSS JOIN object o ON o.id = c.object CROSS JOIN seal_key k ON k.id = o.key
	CROSS JOIN part q ON q.object = o.id LEFT JOIN batch b ON b.id = o.batch
	LEFT JOIN copy d ON d.object = o.id AND d.id <> c.id AND d.state < ` + sqlCopyDropped + `
	LEFT JOIN copy_part s ON s.copy = d.id AND s.number = q.number AND s.state = ` + sqlPartDurable + ` LEFT JOIN tape t ON t.id = s.tape
	WHERE c.pool = ? AND c.state < ` + sqlDurable + ` AND c.state < ` + sqlWritten + ` AND o.state = ` + sqlObjectPacked + `
	AND NOT EXISTS (SELECT 1 FROM copy_part m WHERE m.copy = c.id AND m.number = q.number AND m.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `))
	ORDER BY c.id, q.number`

// textCopyVerified goes on with which copy: it was proved when the oldest of its parts was.
const textCopyVerified = `UPDATE copy SET verified = coalesce((SELECT min(p.verified) FROM copy_part p WHERE p.copy = copy.id AND p.state = ` + sqlPartDurable + `), 0) WHERE id`

// PartVerified records that the bytes of a durable part were read and had their sums. A copy was
// proved when the oldest of its parts was.
func (db *DB) PartVerified(ctx context.Context, copyPart int64, at time.Time) error {
	err := db.update(ctx, func(tx *sql.Tx) error { return partVerified(ctx, tx, copyPart, at) })
	if err != nil {
		return fmt.Errorf("record part %d as verified: %w", copyPart, err)
	}
	return nil
}

func partVerified(ctx context.Context, tx *sql.Tx, copyPart int64, at time.Time) error {
	var copyID int64
	if err := tx.QueryRowContext(ctx, `UPDATE copy_part SET verified = ? WHERE id = ? RETURNING copy`, nsOf(at), copyPart).Scan(&copyID); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, textCopyVerified+` = ? AND state = `+sqlDurable, copyID)
	return err
}

// ProvedAt says when the bytes of a file on tape were last read and had their sums; zero: never since they were written.
func (db *DB) ProvedAt(ctx context.Context, copyPart int64) (time.Time, error) {
	var at int64
	if err := db.reader.QueryRowContext(ctx, `SELECT verified FROM copy_part WHERE id = ?`, copyPart).Scan(&at); err != nil {
		return time.Time{}, fmt.Errorf("look when part %d was proved: %w", copyPart, err)
	}
	return timeOf(at), nil
}
