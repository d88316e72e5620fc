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
		_, err = tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlWriting+` WHERE id = ? AND state = `+sqlOwed, p.Copy)
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

	// Voided is what PartClosed adds: members whose bytes are not those of their recorded sum, and other paths that had
	// their bytes from a void member. All are void now, and are to be archived again.
	Voided []ID
}

// PackedMember places a member and carries its content's sum.
type PackedMember struct {
	Member
	SHA256 []byte // nil for directories, symlinks, links and void members
	Void   bool
	Grew   bool // it was longer when it was read, and is what it held up to the planned size
}

// PartClosed records a part as written, with its sums. An object that is packed already must have
// the very same sums: anything else is an error and changes nothing. packing is nil but with the
// last part of the first copy; then the object becomes packed, in the same transaction. When all
// parts of the copy are written the copy is.
func (db *DB) PartClosed(ctx context.Context, p ClosedPart, packing *Packing) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var copyID, object, tape, pool int64
		var number int
		err := tx.QueryRowContext(ctx, `SELECT p.copy, c.object, p.tape, c.pool, p.number FROM copy_part p JOIN copy c ON c.id = p.copy
			WHERE p.id = ? AND p.state = `+sqlPartWriting, p.CopyPart).Scan(&copyID, &object, &tape, &pool, &number)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("no part in writing: %w", ErrNotFound)
		} else if err != nil {
			return err
		}
		if number != p.Part.Number {
			return fmt.Errorf("it is part %d of its object, its sums are those of part %d", number, p.Part.Number)
		}
		if err := recordSums(ctx, tx, object, &p.Part); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE copy_part SET state = `+sqlPartWritten+`, size = ?, startblock = ?, written = ? WHERE id = ?`,
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
	var state ObjectState
	var grid int64
	if err := tx.QueryRowContext(ctx, `SELECT state, part_size FROM object WHERE id = ?`, object).Scan(&state, &grid); err != nil {
		return err
	}
	extents := (p.Size + ExtentSize - 1) / ExtentSize
	if p.Size <= 0 || p.Size > grid || len(p.SHA256) != 32 || int64(len(p.Sums)) != 32*extents {
		return fmt.Errorf("part %d of object %d: %d bytes (parts have up to %d) with %d bytes of sums", p.Number, object, p.Size, grid, len(p.Sums))
	}
	var size int64
	var sum, sums []byte
	err := tx.QueryRowContext(ctx, `SELECT size, sha256, sums FROM part WHERE object = ? AND number = ?`, object, p.Number).Scan(&size, &sum, &sums)
	switch {
	case errors.Is(err, sql.ErrNoRows) && state == ObjectPlanned:
		_, err := tx.ExecContext(ctx, `INSERT INTO part (object, number, size, sha256, sums) VALUES (?, ?, ?, ?, ?)`,
			object, p.Number, p.Size, p.SHA256, p.Sums)
		return err
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("object %d is recorded without a part %d", object, p.Number)
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
	var parts, last, size int64
	err := tx.QueryRowContext(ctx, `SELECT count(*), coalesce(max(number), -1), coalesce(sum(size), 0) FROM part WHERE object = ?`, object).Scan(&parts, &last, &size)
	if err != nil {
		return err
	}
	if last+1 != parts || size != k.SealedSize || len(k.Salt) != 8 {
		return fmt.Errorf("object %d: %d parts up to number %d hold %d bytes, its sealing says %d under %d bytes of salt", object, parts, last, size, k.SealedSize, len(k.Salt))
	}
	err = changeOne(ctx, tx, `UPDATE salt SET used = 1 WHERE key = (SELECT key FROM object WHERE id = ?) AND salt = ? AND used = 0`, object, k.Salt)
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("object %d: its salt was never drawn, or something was sealed under it before", object)
	} else if err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `UPDATE object SET salt = ?, plain_size = ?, sealed_size = ?, state = `+sqlObjectPacked+` WHERE id = ? AND state = `+sqlObjectPlanned,
		k.Salt, k.PlainSize, k.SealedSize, object)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return errors.New("object is packed already")
	}
	differ, err := placeMembers(ctx, tx, object, k.Members)
	if err != nil {
		return err
	}
	// Further hard-linked names have the first one's content.
	_, err = tx.ExecContext(ctx, `UPDATE version SET sha256 = (SELECT d.sha256 FROM version d WHERE d.id = version.data),
		state = CASE (SELECT d.state FROM version d WHERE d.id = version.data) WHEN `+sqlVoid+` THEN `+sqlVoid+` ELSE state END
		WHERE data <> id AND state IN (`+sqlPresent+`, `+sqlVoid+`) AND id IN (SELECT version FROM member WHERE object = ?)`, object)
	if err != nil {
		return err
	}
	links, err := voidShared(ctx, tx, object)
	k.Voided = append(differ, links...)
	return err
}

// placeMembers records where members lie. A member without a place would never be found again,
// and its spool copy would go: that is an error. A recorded sum stays: a member whose bytes have another one is
// void, and is among those returned.
func placeMembers(ctx context.Context, tx *sql.Tx, object int64, members []PackedMember) (differ []ID, err error) {
	place, err := tx.PrepareContext(ctx, `UPDATE member SET header = ?, data = ? WHERE object = ? AND version = ?`)
	if err != nil {
		return nil, err
	}
	defer place.Close()
	// What differs could be read: without its inode it is not taken for a file that cannot be.
	sum, err := tx.PrepareContext(ctx, `UPDATE version SET ino = CASE WHEN sha256 IS NOT NULL AND sha256 <> ?1 THEN NULL ELSE ino END,
		sha256 = coalesce(sha256, ?1), state = CASE WHEN ?2 OR sha256 IS NOT NULL AND sha256 <> ?1 THEN `+sqlVoid+` ELSE state END
		WHERE id = ?3 RETURNING state`)
	if err != nil {
		return nil, err
	}
	defer sum.Close()
	for i := range members {
		m := &members[i]
		res, err := place.ExecContext(ctx, m.Header, m.Data, object, m.Version)
		if err != nil {
			return nil, err
		}
		if n, err := res.RowsAffected(); err != nil {
			return nil, err
		} else if n == 0 {
			return nil, fmt.Errorf("version %d is no member of object %d", m.Version, object)
		}
		if m.Grew {
			if _, err := tx.ExecContext(ctx, `UPDATE version SET grew = 1 WHERE id = ?`, m.Version); err != nil {
				return nil, err
			}
		}
		if m.SHA256 == nil && !m.Void {
			continue
		}
		var state VersionState
		if err := sum.QueryRowContext(ctx, nullIfEmpty(m.SHA256), m.Void, m.Version).Scan(&state); err != nil {
			return nil, err
		}
		if state == Void && !m.Void {
			differ = append(differ, m.Version)
		}
	}
	var left int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM member WHERE object = ? AND header < 0`, object).Scan(&left); err != nil {
		return nil, err
	}
	if left > 0 {
		return nil, fmt.Errorf("%d members of object %d have no place in it", left, object)
	}
	return differ, nil
}
