package catalog

import (
	"context"
	"database/sql"
	"fmt"
)

// wholeWithout holds for an object o all of whose parts lie durable on good tapes other than ?1, be it in several copies.
const wholeWithout = `o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `) AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = o.id AND NOT EXISTS (
	SELECT 1 FROM copy d JOIN copy_part e ON e.copy = d.id JOIN tape t ON t.id = e.tape
	WHERE d.object = o.id AND d.state < ` + sqlCopyDropped + ` AND e.number = q.number AND e.state = ` + sqlPartDurable + ` AND e.tape <> ?1 AND ` + goodTape + `))`

// lastOn selects from the versions v that live (also old and vanished ones, and those whose bytes a live one shares) and have
// bytes on tape ?1, whole or in part, and are whole on no other good tape. What the spool has does not count.
const lastOn = ` FROM version v WHERE v.kind <> ` + sqlDirectory + `
	AND v.id IN (SELECT m.version FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object JOIN member m ON m.object = o.id
		WHERE p.tape = ?1 AND p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `, ` + sqlPartDamaged + `) AND c.state < ` + sqlCopyDropped + ` AND o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `))
	AND (v.state = ` + sqlPresent + ` OR EXISTS (SELECT 1 FROM version w WHERE w.data = v.id AND w.data <> w.id AND w.state = ` + sqlPresent + `))
	AND NOT EXISTS (SELECT 1 FROM member m JOIN object o ON o.id = m.object WHERE m.version = v.id AND ` + wholeWithout + `)`

// TapeLoss is what would go with a tape.
type TapeLoss struct {
	Objects   int   // in use, with parts on the tape that count or are damaged
	Bytes     int64 // of those parts
	Versions  int   // that live and are whole on no other tape that can be counted on: their last copy goes
	LastBytes int64 // of their content

	Unfinished int // copies with a part on the tape that are not durable yet
}

// TapeLoss counts what would go with a tape: copies, and versions of which no other tape has a copy. Tapes that are
// suspect, retired or not ours any more are no other copy.
func (db *DB) TapeLoss(ctx context.Context, tape int64) (l TapeLoss, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT count(DISTINCT c.object), coalesce(sum(p.size), 0) FROM copy_part p JOIN copy c ON c.id = p.copy
		JOIN object o ON o.id = c.object WHERE p.tape = ? AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`, `+sqlPartDamaged+`) AND c.state < `+sqlCopyDropped+` AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`)`, tape).Scan(&l.Objects, &l.Bytes)
	if err == nil {
		err = db.reader.QueryRowContext(ctx, `SELECT count(DISTINCT c.id) FROM copy_part p JOIN copy c ON c.id = p.copy
			WHERE p.tape = ? AND p.state < `+sqlPartAbandoned+` AND c.state < `+sqlDurable, tape).Scan(&l.Unfinished)
	}
	if err == nil && l.Objects > 0 {
		err = db.reader.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(v.size), 0)`+lastOn, tape).Scan(&l.Versions, &l.LastBytes)
	}
	if err != nil {
		return l, fmt.Errorf("count what only tape %d has: %w", tape, err)
	}
	return l, nil
}

// LastVersions lists up to limit versions (0: all) whose last copy is on a tape, by id.
func (db *DB) LastVersions(ctx context.Context, tape int64, limit int) ([]ID, error) {
	if limit <= 0 {
		limit = -1
	}
	return query(ctx, db.reader, "last copies", func(rows *sql.Rows) (id ID, err error) {
		return id, rows.Scan(&id)
	}, `SELECT v.id`+lastOn+` ORDER BY v.id LIMIT ?2`, tape, limit)
}

// losePage is how many copies one transaction settles: well under a second.
const losePage = 500

// LoseTape records that nothing is on a tape any more: its parts are lost, their copies owed again where the spool or
// other tapes have the bytes and damaged where none has, and what its manifests journalled is to be journalled again.
// The tape is no volume then, and its EmptiedUUID names the one it was; its pool stays. Call it before the tape is erased: a crash in between forgets bytes that are
// there, and believes none that are not.
func (db *DB) LoseTape(ctx context.Context, tape int64) error {
	for {
		n, err := db.losePart(ctx, tape)
		if err != nil {
			return fmt.Errorf("record what was on tape %d as lost: %w", tape, err)
		}
		if n == 0 {
			break
		}
	}
	err := db.update(ctx, func(tx *sql.Tx) error {
		// What a tape named that was repacked is named again already.
		err := rewindJournal(ctx, tx, `m.tape = ? AND t.stage <> 'repacked'`, tape)
		if err != nil {
			return err
		}
		if err := settleUnnamed(ctx, tx, `p.manifest IN (SELECT id FROM manifest WHERE tape = ?1)`, tape); err != nil {
			return err
		}
		for _, text := range []string{
			`UPDATE manifest SET state = ` + sqlManifestLost + ` WHERE tape = ?1`,
			// Bytes since the last catalog on tape: those since one that is gone count again.
			`UPDATE pool SET unsnapped = unsnapped + (SELECT coalesce(sum(size), 0) FROM copy_part WHERE tape = ?1 AND durable > 0) WHERE id = (SELECT pool FROM tape WHERE id = ?1)
				AND EXISTS (SELECT 1 FROM snapshot WHERE tape = ?1 AND state < ` + sqlManifestLost + `)`,
			`UPDATE snapshot SET state = ` + sqlManifestLost + ` WHERE tape = ?1`,
			`DELETE FROM wanted WHERE tape = ?1`,
			`UPDATE tape SET emptied_uuid = uuid, note = 'being emptied of volume ' || uuid WHERE id = ?1 AND uuid <> ''`,
			`UPDATE tape SET uuid = '', stage = CASE WHEN stage = 'formatting' THEN '' ELSE stage END, used = 0, leftover = 0, free = capacity, generation_index = 0, formatted = 0 WHERE id = ?1`,
		} {
			if _, err := tx.ExecContext(ctx, text, tape); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record tape %d as empty: %w", tape, err)
	}
	return nil
}

// losePart loses the parts of some copies on a tape, and returns of how many.
func (db *DB) losePart(ctx context.Context, tape int64) (n int, err error) {
	err = db.update(ctx, func(tx *sql.Tx) error {
		copies, err := query(ctx, tx, "copies on the tape", scanID, `SELECT DISTINCT copy FROM copy_part WHERE tape = ? AND state <> `+sqlPartLost+` LIMIT ?`, tape, losePage)
		if err != nil {
			return err
		}
		n = len(copies)
		for _, id := range copies {
			_, err := tx.ExecContext(ctx, `UPDATE tape SET used = max(0, used - (SELECT coalesce(sum(size), 0) FROM copy_part WHERE copy = ?1 AND tape = ?2 AND state IN (`+sqlPartWritten+`, `+sqlPartDurable+`))) WHERE id = ?2`, id, tape)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE copy_part SET state = `+sqlPartLost+`, manifest = NULL WHERE copy = ? AND tape = ?`, id, tape); err != nil {
				return err
			}
			if err := oweAgain(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func scanID(rows *sql.Rows) (id int64, err error) { return id, rows.Scan(&id) }

// oweAgain settles a copy some of whose parts are gone: it is owed while its bytes can be had, else damaged. One of an object that
// is not in use any more is dropped; one that was damaged or dropped before stays so.
func oweAgain(ctx context.Context, tx *sql.Tx, id int64) error {
	var state CopyState
	var object int64
	var of ObjectState
	var spooled, elsewhere bool
	err := tx.QueryRowContext(ctx, `SELECT c.state, o.id, o.state, coalesce(b.state, `+sqlReleased+`) < `+sqlReleased+`, o.state = `+sqlObjectPacked+` AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = o.id AND NOT EXISTS (
			SELECT 1 FROM copy d JOIN copy_part p ON p.copy = d.id WHERE d.object = o.id AND d.state < `+sqlCopyDropped+` AND p.number = q.number AND p.state = `+sqlPartDurable+`))
		FROM copy c JOIN object o ON o.id = c.object LEFT JOIN batch b ON b.id = o.batch WHERE c.id = ?`, id).Scan(&state, &object, &of, &spooled, &elsewhere)
	if err != nil {
		return err
	}
	if of == ObjectPacked && !spooled && !elsewhere { // nor can those be made that other pools are owed
		if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDamaged+` WHERE object = ? AND state < `+sqlDurable, object); err != nil {
			return err
		}
	}
	if state == CopyDamaged || state == CopyDropped {
		return nil
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM part WHERE object = ?1 AND (SELECT state FROM object WHERE id = ?1) = 0 AND NOT EXISTS (
		SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = ?1 AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`))`, object)
	if err != nil {
		return err
	}
	next := Owed
	switch {
	case of == ObjectSuperseded || of == ObjectDropped:
		next = CopyDropped
	case !spooled && !elsewhere:
		next = CopyDamaged
	}
	if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = ?, verified = 0 WHERE id = ?`, next, id); err != nil {
		return err
	}
	if err := settleCopy(ctx, tx, id); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, textCopyVerified+` = ? AND state = `+sqlDurable, id) // of one that has all its parts elsewhere
	return err
}

// RetireTape records that a tape is written and counted on no more, though still read where nothing else is: each
// durable copy with a part on it is owed to its pool anew, and changes that its manifests name are to be named again. It returns how
// many copies are owed. why is noted with the tape.
func (db *DB) RetireTape(ctx context.Context, tape int64, why string) (owed int, err error) {
	_, err = db.UpdateTape(ctx, tape, func(t *Tape) error {
		t.State, t.Note = TapeRetired, why
		return nil
	})
	if err != nil {
		return 0, err
	}
	err = db.update(ctx, func(tx *sql.Tx) error { return rewindJournal(ctx, tx, `m.tape = ?`, tape) })
	if err != nil {
		return 0, fmt.Errorf("name again what tape %d names: %w", tape, err)
	}
	for {
		n := 0
		err := db.update(ctx, func(tx *sql.Tx) error {
			copies, err := query(ctx, tx, "copies on the tape", scanID, `SELECT DISTINCT p.copy FROM copy_part p JOIN copy c ON c.id = p.copy
				WHERE p.tape = ? AND p.state = `+sqlPartDurable+` AND c.state = `+sqlDurable+` LIMIT ?`, tape, losePage)
			n = len(copies)
			for i := 0; err == nil && i < n; i++ {
				var again int64
				if again, err = replaceCopy(ctx, tx, copies[i]); err == nil {
					owed += int(again)
				}
			}
			return err
		})
		if err != nil {
			return owed, fmt.Errorf("record the copies of tape %d as owed again: %w", tape, err)
		}
		if n == 0 {
			return owed, nil
		}
	}
}

// replaceCopy takes a durable copy out of what counts and owes another in its place. Its parts stay readable.
func replaceCopy(ctx context.Context, tx *sql.Tx, id int64) (owed int64, err error) {
	if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDamaged+` WHERE id = ?`, id); err != nil {
		return 0, err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO copy (object, pool, state) SELECT c.object, c.pool, `+sqlOwed+` FROM copy c JOIN object o ON o.id = c.object
		WHERE c.id = ? AND o.state < `+sqlObjectSuperseded+` AND NOT EXISTS (SELECT 1 FROM copy d WHERE d.object = c.object AND d.pool = c.pool AND d.state < `+sqlCopyDamaged+`)`, id)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
