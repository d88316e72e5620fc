package catalog

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const copyPartColumns = `p.id, p.copy, p.number, p.tape, t.barcode, p.name, p.size, p.startblock, p.state, p.manifest`

func scanCopyPart(rows *sql.Rows) (p CopyPart, err error) {
	var manifest sql.NullInt64
	err = rows.Scan(&p.ID, &p.Copy, &p.Number, &p.Tape, &p.Barcode, &p.Name, &p.Size, &p.StartBlock, &p.State, &manifest)
	p.Manifest = manifest.Int64
	return p, err
}

// AddCopyPart records, in state writing, that a part is about to be written.
func (db *DB) AddCopyPart(ctx context.Context, p CopyPart) (CopyPart, error) {
	p.State, p.StartBlock = PartWriting, -1
	err := db.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO copy_part (copy, number, tape, name, size, state) VALUES (?, ?, ?, ?, ?, ?)`,
			p.Copy, p.Number, p.Tape, p.Name, p.Size, p.State)
		if err != nil {
			return err
		}
		if p.ID, err = res.LastInsertId(); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE copy SET state = 1 WHERE id = ? AND state = 0`, p.Copy)
		return err
	})
	if err != nil {
		return p, fmt.Errorf("record part %s: %w", p.Name, err)
	}
	return p, nil
}

// ClosedPart is what is known when a part's file was closed without error.
type ClosedPart struct {
	CopyPart   int64
	StartBlock int64
	Part       Part // Number, Size and sums
}

// Packing is what the last part of an object adds.
type Packing struct {
	Object     int64
	Salt       []byte
	PlainSize  int64
	SealedSize int64
	Members    []PackedMember
}

// PackedMember places a member and carries its content's sum.
type PackedMember struct {
	Member
	SHA256 []byte // nil for directories, symlinks, links and void members
	Void   bool
}

// PartClosed records a part as written, with its sums. An object that is packed already must have
// the very same sums: anything else is an error and changes nothing. packing is nil but with the
// last part of the first copy; then the object becomes packed, in the same transaction. When all
// parts of the copy are written the copy is.
func (db *DB) PartClosed(ctx context.Context, p ClosedPart, packing *Packing) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var copyID, object, tape, pool int64
		err := tx.QueryRowContext(ctx, `SELECT p.copy, c.object, p.tape, c.pool FROM copy_part p JOIN copy c ON c.id = p.copy
			WHERE p.id = ? AND p.state = 0`, p.CopyPart).Scan(&copyID, &object, &tape, &pool)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("no part in writing: %w", ErrNotFound)
		} else if err != nil {
			return err
		}
		if err := recordSums(ctx, tx, object, &p.Part); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE copy_part SET state = 1, size = ?, startblock = ?, written = ? WHERE id = ?`,
			p.Part.Size, p.StartBlock, time.Now().UnixNano(), p.CopyPart)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tape SET used = used + ? WHERE id = ?`, p.Part.Size, tape); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE pool SET unsnapped = unsnapped + ? WHERE id = ?`, p.Part.Size, pool); err != nil {
			return err
		}
		if packing != nil {
			if err := recordPacking(ctx, tx, object, packing); err != nil {
				return err
			}
		}
		return settleCopy(ctx, tx, copyID)
	})
	if err != nil {
		return fmt.Errorf("record written part %d: %w", p.CopyPart, err)
	}
	return nil
}

// recordSums adds a part's sums, or holds them against those that are recorded.
func recordSums(ctx context.Context, tx *sql.Tx, object int64, p *Part) error {
	var size int64
	var sum, sums []byte
	err := tx.QueryRowContext(ctx, `SELECT size, sha256, sums FROM part WHERE object = ? AND number = ?`, object, p.Number).Scan(&size, &sum, &sums)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err := tx.ExecContext(ctx, `INSERT INTO part (object, number, size, sha256, sums) VALUES (?, ?, ?, ?, ?)`,
			object, p.Number, p.Size, p.SHA256, p.Sums)
		return err
	case err != nil:
		return err
	case size != p.Size || !bytes.Equal(sum, p.SHA256) || !bytes.Equal(sums, p.Sums):
		return fmt.Errorf("part %d of object %d differs from what is recorded", p.Number, object)
	}
	return nil
}

func recordPacking(ctx context.Context, tx *sql.Tx, object int64, k *Packing) error {
	if k.Object != object {
		return fmt.Errorf("part belongs to object %d, packing to %d", object, k.Object)
	}
	res, err := tx.ExecContext(ctx, `UPDATE object SET salt = ?, plain_size = ?, sealed_size = ?, state = 1 WHERE id = ? AND state = 0`,
		k.Salt, k.PlainSize, k.SealedSize, object)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return errors.New("object is packed already")
	}
	place, err := tx.PrepareContext(ctx, `UPDATE member SET header = ?, data = ? WHERE object = ? AND version = ?`)
	if err != nil {
		return err
	}
	defer place.Close()
	sum, err := tx.PrepareContext(ctx, `UPDATE version SET sha256 = coalesce(?, sha256), state = CASE WHEN ? THEN 2 ELSE state END WHERE id = ?`)
	if err != nil {
		return err
	}
	defer sum.Close()
	for i := range k.Members {
		m := &k.Members[i]
		if _, err := place.ExecContext(ctx, m.Header, m.Data, object, m.Version); err != nil {
			return err
		}
		if m.SHA256 == nil && !m.Void {
			continue
		}
		if _, err := sum.ExecContext(ctx, nullIfEmpty(m.SHA256), m.Void, m.Version); err != nil {
			return err
		}
	}
	// Further hard-linked names have the first one's content.
	_, err = tx.ExecContext(ctx, `UPDATE version SET sha256 = (SELECT d.sha256 FROM version d WHERE d.id = version.data),
		state = (SELECT d.state FROM version d WHERE d.id = version.data)
		WHERE data <> id AND state IN (1, 2) AND id IN (SELECT version FROM member WHERE object = ?)`, object)
	return err
}

// settleCopy derives a copy's state from its parts: it is durable, written, writing or owed.
func settleCopy(ctx context.Context, tx *sql.Tx, copyID int64) error {
	var object int64
	var state CopyState
	if err := tx.QueryRowContext(ctx, `SELECT object, state FROM copy WHERE id = ?`, copyID).Scan(&object, &state); err != nil {
		return err
	}
	if state == CopyDamaged || state == CopyDropped {
		return nil
	}
	var packed bool
	var parts, written, durable, live int
	err := tx.QueryRowContext(ctx, `SELECT o.state >= 1, (SELECT count(*) FROM part WHERE object = o.id) FROM object o WHERE o.id = ?`, object).Scan(&packed, &parts)
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, `SELECT count(DISTINCT CASE WHEN state IN (1, 2) THEN number END), count(DISTINCT CASE WHEN state = 2 THEN number END),
		count(CASE WHEN state < 3 THEN 1 END) FROM copy_part WHERE copy = ?`, copyID).Scan(&written, &durable, &live)
	if err != nil {
		return err
	}
	next := Owed
	switch {
	case packed && durable == parts:
		next = Durable
	case packed && written == parts:
		next = Written
	case live > 0:
		next = Writing
	}
	_, err = tx.ExecContext(ctx, `UPDATE copy SET state = ?1, verified = CASE WHEN ?1 < 3 THEN 0 ELSE verified END WHERE id = ?2 AND state <> ?1`, next, copyID)
	return err
}

// PartFailed moves a part to abandoned, damaged or lost; its copy is owed again. An object that is
// not packed and has no written part any more loses its part rows, so that it is packed anew.
func (db *DB) PartFailed(ctx context.Context, copyPart int64, s PartState, size int64) error {
	if s != PartAbandoned && s != PartDamaged && s != PartLost {
		return fmt.Errorf("part %d: state %d is no failure", copyPart, s)
	}
	err := db.update(ctx, func(tx *sql.Tx) error {
		var copyID, object, tape, had int64
		var was PartState
		err := tx.QueryRowContext(ctx, `SELECT p.copy, c.object, p.tape, p.state, p.size FROM copy_part p JOIN copy c ON c.id = p.copy WHERE p.id = ?`,
			copyPart).Scan(&copyID, &object, &tape, &was, &had)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE copy_part SET state = ?, size = ?, manifest = CASE WHEN ? = 5 THEN NULL ELSE manifest END WHERE id = ?`, s, size, s, copyPart)
		if err != nil {
			return err
		}
		counted := int64(0)
		if was == PartWritten || was == PartDurable {
			counted = had
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tape SET used = max(0, used - ?), leftover = leftover + ? WHERE id = ?`, counted, size, tape); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM part WHERE object = ?1 AND (SELECT state FROM object WHERE id = ?1) = 0 AND NOT EXISTS (
			SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = ?1 AND p.state IN (1, 2))`, object)
		if err != nil {
			return err
		}
		return settleCopy(ctx, tx, copyID)
	})
	if err != nil {
		return fmt.Errorf("record failed part %d: %w", copyPart, err)
	}
	return nil
}

// PartProved makes a written part durable after its bytes were read back (recovery).
func (db *DB) PartProved(ctx context.Context, copyPart int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var copyID int64
		now := time.Now().UnixNano()
		err := tx.QueryRowContext(ctx, `UPDATE copy_part SET state = 2, durable = CASE WHEN durable = 0 THEN ?1 ELSE durable END, verified = ?1
			WHERE id = ?2 AND state IN (1, 2) RETURNING copy`, now, copyPart).Scan(&copyID)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("no written part: %w", ErrNotFound)
		} else if err != nil {
			return err
		}
		return settleCopy(ctx, tx, copyID)
	})
	if err != nil {
		return fmt.Errorf("record proved part %d: %w", copyPart, err)
	}
	return nil
}

// UnsafeParts lists parts in state writing or written, by tape and id.
func (db *DB) UnsafeParts(ctx context.Context) ([]CopyPart, error) {
	return query(ctx, db.reader, "unsafe parts", scanCopyPart, `SELECT `+copyPartColumns+` FROM copy_part p JOIN tape t ON t.id = p.tape
		WHERE p.state < 2 ORDER BY p.tape, p.id`)
}

// OwedCopy is a copy to be made, with its object.
type OwedCopy struct {
	Copy
	Object Object
}

// OwedCopies lists copies in state owed or writing whose object has a synced batch, in order of object id.
func (db *DB) OwedCopies(ctx context.Context, pool int64) ([]OwedCopy, error) {
	return query(ctx, db.reader, "owed copies", func(rows *sql.Rows) (c OwedCopy, err error) {
		var verified int64
		c.Object, err = scanObjectAnd(rows, &c.ID, &c.Copy.Object, &c.Pool, &c.State, &verified)
		c.Verified = timeOf(verified)
		return c, err
	}, `SELECT `+objectColumns+`, c.id, c.object, c.pool, c.state, c.verified FROM copy c INDEXED BY copy_unfinished
		JOIN object o ON o.id = c.object JOIN seal_key k ON k.id = o.key JOIN batch b ON b.id = o.batch
		WHERE c.state <> 3 AND c.state < 2 AND c.pool = ? AND b.state = 1 AND o.state < 2 ORDER BY c.object`, pool)
}

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
