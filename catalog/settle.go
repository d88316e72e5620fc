package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// settleCopy derives a copy's state from its parts: it is durable, written, writing or owed. Durable is one all of whose parts are
// safe on tape and named by durable manifests.
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
	err := tx.QueryRowContext(ctx, `SELECT o.state >= `+sqlObjectPacked+`, (SELECT count(*) FROM part WHERE object = o.id) FROM object o WHERE o.id = ?`, object).Scan(&packed, &parts)
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, `SELECT count(DISTINCT CASE WHEN state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) THEN number END), count(DISTINCT CASE WHEN state = `+sqlPartDurable+` AND `+partNamed+` THEN number END),
		count(CASE WHEN state < `+sqlPartAbandoned+` THEN 1 END) FROM copy_part p WHERE copy = ?`, copyID).Scan(&written, &durable, &live)
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
	_, err = tx.ExecContext(ctx, `UPDATE copy SET state = ?1, verified = 0 WHERE id = ?2 AND state <> ?1`, next, copyID)
	if err == nil && next == Durable {
		_, err = tx.ExecContext(ctx, textCopyVerified+` = ?`, copyID) // its parts may have been read back before a manifest named them
	}
	return err
}

// SettleCopy derives a copy's state from its parts once more.
func (db *DB) SettleCopy(ctx context.Context, copyID int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error { return settleCopy(ctx, tx, copyID) })
	if err != nil {
		return fmt.Errorf("settle copy %d: %w", copyID, err)
	}
	return nil
}

// PartFailed moves a part to abandoned, damaged or lost; size is what lies uselessly on its tape.
// Its copy is owed again while the part was not durable or the spool still has the bytes, and damaged
// otherwise. An object that is not packed and has no written part any more loses its part rows, so
// that it is packed anew. A part that failed before keeps what was counted then. That a durable one is not what manifests say is
// journalled.
func (db *DB) PartFailed(ctx context.Context, copyPart int64, s PartState, size int64) error {
	if s != PartAbandoned && s != PartDamaged && s != PartLost {
		return fmt.Errorf("part %d: state %d is no failure", copyPart, s)
	}
	err := db.update(ctx, func(tx *sql.Tx) error {
		var copyID, object, tape, had int64
		var was PartState
		var spooled bool
		err := tx.QueryRowContext(ctx, `SELECT p.copy, c.object, p.tape, p.state, p.size,
			EXISTS (SELECT 1 FROM object o JOIN batch b ON b.id = o.batch WHERE o.id = c.object AND b.state < `+sqlReleased+`)
			FROM copy_part p JOIN copy c ON c.id = p.copy WHERE p.id = ?`,
			copyPart).Scan(&copyID, &object, &tape, &was, &had, &spooled)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		if was >= PartAbandoned {
			_, err := tx.ExecContext(ctx, `UPDATE copy_part SET state = ? WHERE id = ?`, s, copyPart)
			return err
		}
		if kind := map[PartState]string{PartDamaged: FoundPartDamaged, PartLost: FoundPartLost}[s]; was == PartDurable && kind != "" {
			if err := journalFinding(ctx, tx, kind, copyPart, time.Now()); err != nil {
				return err
			}
		}
		// A lost part is named by no manifest any more: what is not there needs no line. One of which nobody knows yet whether it is on
		// tape may turn out to be, and tells of the part for ever then.
		_, err = tx.ExecContext(ctx, `UPDATE copy_part SET state = ?1, size = ?2, manifest = CASE WHEN ?1 = `+sqlPartLost+` AND NOT EXISTS (
				SELECT 1 FROM manifest m WHERE m.id = copy_part.manifest AND m.state = `+sqlManifestWritten+`) THEN NULL ELSE manifest END WHERE id = ?3`,
			s, size, copyPart)
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
			SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = ?1 AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`))`, object)
		if err != nil {
			return err
		}
		if was == PartDurable && !spooled {
			_, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDamaged+` WHERE id = ? AND state < `+sqlCopyDamaged, copyID)
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
		err := tx.QueryRowContext(ctx, `UPDATE copy_part SET state = `+sqlPartDurable+`, durable = CASE WHEN durable = 0 THEN ?1 ELSE durable END, verified = ?1
			WHERE id = ?2 AND state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) RETURNING copy`, now, copyPart).Scan(&copyID)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("no written part: %w", ErrNotFound)
		} else if err != nil {
			return err
		}
		if err := settleCopy(ctx, tx, copyID); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, textCopyVerified+` = ? AND state = `+sqlDurable, copyID)
		return err
	})
	if err != nil {
		return fmt.Errorf("record proved part %d: %w", copyPart, err)
	}
	return nil
}

// FoundDamaged records that a part of a copy is not on its tape as it was written, or not at all (lost), and why.
// size is what was found of it, bytes. The tape takes no more.
func (db *DB) FoundDamaged(ctx context.Context, p CopyPart, lost bool, size int64, why error) error {
	return db.FoundDamagedSince(ctx, p, lost, size, why, time.Time{})
}

// FoundDamagedSince is FoundDamaged for a reader that has had the tape mounted since a moment: what it has read well in that time is as
// good as what it reads after the damage, so the suspicion begins there.
func (db *DB) FoundDamagedSince(ctx context.Context, p CopyPart, lost bool, size int64, why error, since time.Time) error {
	state := PartDamaged
	if lost {
		state = PartLost
	}
	if err := db.PartFailed(ctx, p.ID, state, size); err != nil {
		return fmt.Errorf("record damaged part %s: %w", p.Name, err)
	}
	_, err := db.UpdateTape(ctx, p.Tape, func(t *Tape) error {
		if t.State == TapeOpen || t.State == TapeFull {
			t.State, t.Note = TapeSuspect, fmt.Sprintf("damage found on %s: %v", time.Now().Format(time.DateOnly), why)
			t.FoundDamaged, t.doubtedFrom = true, since
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record damage on tape %s: %w", p.Barcode, err)
	}
	return nil
}

// PartRecovered makes a part durable again that counted as damaged: its bytes were read back and have their sums, as
// when the drive was at fault. False: another copy has taken its place, and it is left as it is.
func (db *DB) PartRecovered(ctx context.Context, p CopyPart, size int64, at time.Time) (recovered bool, err error) {
	err = db.update(ctx, func(tx *sql.Tx) error {
		var state CopyState
		var object int64
		var twin, whole bool
		// Whatever comes of it: it was read, and speaks no more against its tape.
		if _, err := tx.ExecContext(ctx, `UPDATE copy_part SET verified = ? WHERE id = ?`, nsOf(at), p.ID); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `SELECT c.state, c.object, EXISTS (SELECT 1 FROM copy d WHERE d.object = c.object AND d.pool = c.pool AND d.id <> c.id AND d.state < `+sqlCopyDamaged+`)
			FROM copy_part p JOIN copy c ON c.id = p.copy WHERE p.id = ? AND p.state = `+sqlPartDamaged, p.ID).Scan(&state, &object, &twin)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil || twin || state == CopyDropped {
			return err
		}
		recovered = true
		if err := journalFinding(ctx, tx, FoundPartGood, p.ID, at); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tape SET used = used + ?1, leftover = max(0, leftover - ?2) WHERE id = ?3`, size, p.Size, p.Tape); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE copy_part SET state = `+sqlPartDurable+`, size = ?, verified = ? WHERE id = ?`, size, nsOf(at), p.ID); err != nil {
			return err
		}
		if state != CopyDamaged {
			return settleCopy(ctx, tx, p.Copy)
		}
		err = tx.QueryRowContext(ctx, `SELECT NOT EXISTS (SELECT 1 FROM part q JOIN copy c ON c.object = q.object WHERE c.id = ?1
			AND NOT EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = ?1 AND p.number = q.number AND p.state = `+sqlPartDurable+`))`, p.Copy).Scan(&whole)
		if err != nil || !whole {
			return err
		}
		if _, err = tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlOwed+` WHERE id = ?`, p.Copy); err != nil {
			return err
		}
		if err := settleCopy(ctx, tx, p.Copy); err != nil {
			return err
		}
		return found(ctx, tx, object, at)
	})
	if err != nil {
		return false, fmt.Errorf("record part %s as good again: %w", p.Name, err)
	}
	return recovered, nil
}
