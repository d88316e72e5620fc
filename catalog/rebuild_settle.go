package catalog

import (
	"context"
	"database/sql"
	"fmt"
)

// settlePage is how many rows one transaction of Finish looks at.
const settlePage = 5000

// Finish makes a whole of what was recorded, and may be called again: states of copies follow their
// parts, what no tape is known to hold is not shown, what was ended by something that never reached a
// tape is shown again, and ids go on above all that was seen. It takes as long as a look at
// every row.
func (r *Rebuild) Finish(ctx context.Context) error {
	if err := r.Flush(); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"what was found on tapes", r.applyFindings},
		{"suspicion against tapes", r.applySuspicions},
		{"copies", r.settleCopies},
		{"objects that were sealed twice", r.chooseSealings},
		{"objects that no tape holds", r.dropUnbacked},
		{"versions that no tape holds", r.hideUnbacked},
		{"directories with two numbers", r.mergeDirectories},
		{"what lies in replaced directories", r.endBelow},
		{"versions whose successor was lost", r.revive},
		{"what was repacked", r.lineage},
		{"what was removed at sources", r.receiveReceipts},
		{"tapes and pools", r.sums},
		{"manifests", r.knowOddChains},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("settle %s: %w", step.what, err)
		}
	}
	return nil
}

// byID calls fn with pages of ids in order, each in a transaction of its own. text selects ids greater than
// its first argument, in order, at most its second.
func (r *Rebuild) byID(ctx context.Context, text string, fn func(*sql.Tx, int64) error) error {
	for after := int64(0); ; {
		n := 0
		err := r.db.update(ctx, func(tx *sql.Tx) error {
			ids, err := query(ctx, tx, "rows", func(rows *sql.Rows) (id int64, err error) {
				err = rows.Scan(&id)
				return id, err
			}, text, after, settlePage)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := fn(tx, id); err != nil {
					return err
				}
				after = id
			}
			n = len(ids)
			return nil
		})
		if err != nil || n < settlePage {
			return err
		}
	}
}

// settleCopies derives the state of each copy from its parts.
func (r *Rebuild) settleCopies(ctx context.Context) error {
	return r.byID(ctx, `SELECT id FROM copy WHERE id > ? ORDER BY id LIMIT ?`, func(tx *sql.Tx, id int64) error {
		var object ObjectState
		var state CopyState
		var batch sql.NullInt64
		var bad, good int
		err := tx.QueryRowContext(ctx, `SELECT o.state, o.batch, c.state, (SELECT count(*) FROM copy_part p WHERE p.copy = c.id AND p.state = `+sqlPartDamaged+`),
			(SELECT count(*) FROM copy_part p WHERE p.copy = c.id AND p.state = `+sqlPartDurable+`)
			FROM copy c JOIN object o ON o.id = c.object WHERE c.id = ?`, id).Scan(&object, &batch, &state, &bad, &good)
		if err != nil {
			return err
		}
		if batch.Valid { // what is in the spool is the archiver's to write; what a manifest just told of it counts
			return settleCopy(ctx, tx, id)
		}
		set := func(s CopyState) error {
			_, err := tx.ExecContext(ctx, `UPDATE copy SET state = ?1 WHERE id = ?2 AND state <> ?1`, s, id)
			return err
		}
		if object == ObjectPlanned || object == ObjectDropped && good+bad == 0 {
			return set(CopyDropped) // its salt went with the spool, or nothing is left of it
		}
		if state == CopyDropped && object == ObjectSuperseded {
			return nil
		}
		if state >= CopyDamaged {
			// Another copy may have taken its place; there is room for one.
			var twin bool
			err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM copy c JOIN copy d ON d.object = c.object AND d.pool = c.pool AND d.id <> c.id
				WHERE c.id = ? AND d.state < `+sqlCopyDamaged+`)`, id).Scan(&twin)
			if err != nil || twin {
				return err
			}
			if err := set(Owed); err != nil {
				return err
			}
		}
		if err := settleCopy(ctx, tx, id); err != nil {
			return err
		}
		if bad == 0 && state != CopyDamaged {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDamaged+` WHERE id = ? AND state < `+sqlDurable, id)
		return err
	})
}

// backed holds for an object o that some tape, in the library or not, has whole or had whole until it
// was damaged.
const backed = `EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state IN (` + sqlWritten + `, ` + sqlDurable + `, ` + sqlCopyDamaged + `))`

// dropUnbacked gives up objects whose bytes were in the lost spool alone, or on tapes whose manifests
// are not at hand: a later rebuild that sees those takes them back. One that was never packed whole was sealed anew,
// under another id.
func (r *Rebuild) dropUnbacked(ctx context.Context) error {
	return r.byID(ctx, `SELECT o.id FROM object o WHERE o.id > ? AND o.state IN (`+sqlObjectPlanned+`, `+sqlObjectPacked+`) AND o.batch IS NULL AND NOT `+backed+` ORDER BY o.id LIMIT ?`,
		func(tx *sql.Tx, id int64) error {
			if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDropped+` WHERE object = ?`, id); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `UPDATE object SET state = `+sqlObjectDropped+` WHERE id = ?`, id)
			return err
		})
}

// hideUnbacked takes versions out of sight that have their bytes nowhere: the next run archives
// those files again.
func (r *Rebuild) hideUnbacked(ctx context.Context) error {
	return r.byID(ctx, `SELECT v.id FROM version v WHERE v.id > ? AND v.kind <> `+sqlDirectory+` AND v.state IN (`+sqlPresent+`, `+sqlVoid+`) AND v.batch IS NULL AND NOT EXISTS (
			SELECT 1 FROM member m JOIN object o ON o.id = m.object WHERE m.version = v.data AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`) AND `+backed+`) ORDER BY v.id LIMIT ?`,
		func(tx *sql.Tx, id int64) error {
			_, err := tx.ExecContext(ctx, `UPDATE version SET state = `+sqlPlanned+`, current = 0 WHERE id = ?`, id)
			return err
		})
}

// endBelow ends what is current below directories that were ended: only the topmost has a change
// of its own.
func (r *Rebuild) endBelow(ctx context.Context) error {
	return r.byID(ctx, `SELECT v.id FROM version v WHERE v.id > ? AND v.kind = `+sqlDirectory+` AND v.current = 0 AND v.until <> 0
			AND EXISTS (SELECT 1 FROM version b WHERE b.parent = v.id AND b.current = 1) ORDER BY v.id LIMIT ?`,
		func(tx *sql.Tx, id int64) error {
			_, err := tx.ExecContext(ctx, `WITH RECURSIVE below (id) AS (
					SELECT ?1 UNION SELECT v.id FROM version v JOIN below ON v.parent = below.id WHERE v.current = 1)
				UPDATE version SET current = 0, until = (SELECT until FROM version WHERE id = ?1) WHERE id IN (SELECT id FROM below) AND current = 1`, id)
			return err
		})
}

// revive makes the newest version of a path current again when what replaced it is not known: that
// was in the spool, or is on a tape that was not read. Directories come before what they hold.
func (r *Rebuild) revive(ctx context.Context) error {
	return r.byID(ctx, `SELECT v.id FROM version v WHERE v.id > ? AND v.id > 1 AND v.current = 0 AND v.until <> 0 AND v.state IN (`+sqlPresent+`, `+sqlVoid+`)
			AND NOT EXISTS (SELECT 1 FROM version c WHERE c.parent = v.parent AND c.name = v.name AND (c.current = 1 OR c.state = `+sqlForgotten+` AND (c.since > v.since OR c.since = v.since AND c.id > v.id))) ORDER BY v.id LIMIT ?`,
		func(tx *sql.Tx, id int64) error {
			_, err := tx.ExecContext(ctx, `UPDATE version SET current = 1, until = 0 WHERE id = ?1
				AND EXISTS (SELECT 1 FROM version p WHERE p.id = version.parent AND p.kind = `+sqlDirectory+` AND p.current = 1)
				AND NOT EXISTS (SELECT 1 FROM version c WHERE c.parent = version.parent AND c.name = version.name AND c.id <> ?1
					AND (c.current = 1 OR c.state IN (`+sqlPresent+`, `+sqlVoid+`) AND (c.since > version.since OR c.since = version.since AND c.id > ?1)))`, id)
			return err
		})
}

// lineage finds out which object took the place of which: the planner gives no two objects of a source the same time,
// so what shares it was repacked, and comes after what it replaces in the order of names.
func (r *Rebuild) lineage(ctx context.Context) error {
	return r.db.exec(ctx, "find what was repacked", `UPDATE object SET replaces = (SELECT p.id FROM object p WHERE p.oid >= substr(object.oid, 1, 12) AND p.oid < object.oid
			AND substr(p.oid, 1, 12) = substr(object.oid, 1, 12) AND p.source = object.source ORDER BY p.oid DESC LIMIT 1)
		WHERE replaces IS NULL AND batch IS NULL AND EXISTS (SELECT 1 FROM object p WHERE p.oid >= substr(object.oid, 1, 12) AND p.oid < object.oid AND p.source = object.source)`)
}

// sums recounts what is kept as a sum, and lets ids go on above all that was seen.
func (r *Rebuild) sums(ctx context.Context) error {
	return r.db.update(ctx, func(tx *sql.Tx) error {
		for _, text := range []string{
			`UPDATE tape SET used = (SELECT coalesce(sum(p.size), 0) FROM copy_part p WHERE p.tape = tape.id AND p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `))`,
			`UPDATE pool SET unsnapped = (` + textUnsnapped + `)`,
		} {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		if err := followJournals(ctx, tx); err != nil {
			return err
		}
		for table, last := range map[string]int64{"version": int64(r.lastVersion), "change": r.lastChange} {
			res, err := tx.ExecContext(ctx, `UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?`, last, table)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n > 0 {
				if err != nil {
					return err
				}
				continue
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)`, table, last); err != nil {
				return err
			}
		}
		return nil
	})
}

// followJournals lets each pool go on after the changes that its durable manifests name one after the other. What comes after a gap is
// named again by the next one.
func followJournals(ctx context.Context, tx *sql.Tx) error {
	manifests, err := query(ctx, tx, "durable manifests", scanID, `SELECT id FROM manifest WHERE state = `+sqlManifestDurable+` ORDER BY coalesce(after, 0), upto, id`)
	if err != nil {
		return err
	}
	for _, id := range manifests {
		if err := moveJournal(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// Unresolved counts directories that were named and never told of.
func (db *DB) Unresolved(ctx context.Context) (n int64, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT count(*) FROM version WHERE name = x'' AND id <> 1`).Scan(&n)
	if err != nil {
		err = fmt.Errorf("count directories without a record: %w", err)
	}
	return n, err
}

// AbsentTape is a tape that a rebuild has not read, and what is known to lie on it.
type AbsentTape struct {
	Tape
	Objects int   // that have parts there
	Bytes   int64 // of those parts
	Only    int   // of Objects: nothing else that was read has those parts
	OnlyLen int64 // bytes of parts that nothing else has
}

// AbsentTapes lists formatted tapes that no rebuild has read, by barcode.
func (db *DB) AbsentTapes(ctx context.Context) ([]AbsentTape, error) {
	tapes, err := db.Tapes(ctx)
	if err != nil {
		return nil, err
	}
	var out []AbsentTape
	for _, t := range tapes {
		if t.IndexGeneration > 0 || t.UUID == "" || t.State == TapeForeign {
			continue
		}
		a := AbsentTape{Tape: t}
		if a.Objects, a.Bytes, err = db.TapeObjects(ctx, t.ID); err != nil {
			return nil, err
		}
		err := db.reader.QueryRowContext(ctx, `SELECT count(DISTINCT c.object), coalesce(sum(p.size), 0) FROM copy_part p JOIN copy c ON c.id = p.copy
			WHERE p.tape = ?1 AND p.state = `+sqlPartDurable+` AND c.state < `+sqlCopyDamaged+` AND NOT EXISTS (
				SELECT 1 FROM copy d JOIN copy_part q ON q.copy = d.id JOIN tape u ON u.id = q.tape
				WHERE d.object = c.object AND q.number = p.number AND q.state = `+sqlPartDurable+` AND q.tape <> ?1 AND u.generation_index > 0)`, t.ID).Scan(&a.Only, &a.OnlyLen)
		if err != nil {
			return nil, fmt.Errorf("look for what tape %s alone holds: %w", t.Barcode, err)
		}
		if (t.State == TapeSuperseded || t.State == TapeRetired) && a.Only == 0 {
			continue // what was on it is elsewhere: it may have been erased since
		}
		out = append(out, a)
	}
	return out, nil
}

// TapeFiles calls fn for the parts that are said to lie on a tape, in order of name. It is one query
// that stays open: fn must not wait for other calls of the DB.
func (db *DB) TapeFiles(ctx context.Context, tape int64, fn func(CopyPart) error) error {
	rows, err := db.reader.QueryContext(ctx, `SELECT `+copyPartColumns+` FROM copy_part p JOIN tape t ON t.id = p.tape WHERE p.tape = ? ORDER BY p.name, p.state DESC, p.id`, tape)
	if err != nil {
		return fmt.Errorf("read parts of tape %d: %w", tape, err)
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scanCopyPart(rows)
		if err != nil {
			return fmt.Errorf("read parts of tape %d: %w", tape, err)
		}
		if err := fn(p); err != nil {
			return err
		}
	}
	return rows.Err()
}

// PartSalt is the salt of the object that a part belongs to; nil when it is not known.
func (db *DB) PartSalt(ctx context.Context, copyPart int64) (salt []byte, err error) {
	err = db.side.QueryRowContext(ctx, `SELECT o.salt FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object WHERE p.id = ?`, copyPart).Scan(&salt)
	if err != nil {
		return nil, fmt.Errorf("read the salt of part %d: %w", copyPart, err)
	}
	return salt, nil
}

// MarkPart records what became of a part that was looked for on its tape. Finish settles its copy.
func (r *Rebuild) MarkPart(ctx context.Context, copyPart int64, s PartState) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.exec(ctx, `UPDATE copy_part SET state = ? WHERE id = ?`, s, copyPart); err != nil {
		return fmt.Errorf("record part %d: %w", copyPart, err)
	}
	r.marked[copyPart] = true
	return nil
}

// ManifestOf returns the durable manifest of a tape with a number, or ErrNotFound.
func (db *DB) ManifestOf(ctx context.Context, tape int64, seq int) (Manifest, error) {
	list, err := query(ctx, db.reader, "manifests", scanManifest, `SELECT `+manifestColumns+` FROM manifest WHERE tape = ? AND seq = ? AND state = `+sqlManifestDurable, tape, seq)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("manifest %d of tape %d: %w", seq, tape, ErrNotFound)
	}
	if err != nil {
		return Manifest{}, err
	}
	return list[0], nil
}

// Empty tells whether a catalog has nothing but what Create puts into it, and keys.
func (db *DB) Empty(ctx context.Context) (bool, error) {
	var empty bool
	err := db.reader.QueryRowContext(ctx, `SELECT NOT EXISTS (SELECT 1 FROM tape) AND NOT EXISTS (SELECT 1 FROM source) AND NOT EXISTS (SELECT 1 FROM object)
		AND (SELECT count(*) FROM version) = 1`).Scan(&empty)
	if err != nil {
		return false, fmt.Errorf("look whether the catalog is empty: %w", err)
	}
	return empty, nil
}

// Census counts what a catalog holds.
type Census struct {
	Sources, Files, Directories, Symlinks, Versions, Objects, Tapes int64 // Versions: past ones
	Bytes                                                           int64 // of current files
}

// Census looks at every row.
func (db *DB) Census(ctx context.Context) (c Census, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM source), (SELECT files FROM total), (SELECT bytes FROM total),
		(SELECT count(*) FROM version WHERE current = 1 AND kind = `+sqlDirectory+` AND id > 1), (SELECT count(*) FROM version WHERE current = 1 AND kind = `+sqlSymlink+`),
		(SELECT count(*) FROM version WHERE current = 0 AND state > `+sqlPlanned+`), (SELECT count(*) FROM object WHERE state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`)), (SELECT count(*) FROM tape)`).Scan(
		&c.Sources, &c.Files, &c.Bytes, &c.Directories, &c.Symlinks, &c.Versions, &c.Objects, &c.Tapes)
	if err != nil {
		err = fmt.Errorf("count what the catalog holds: %w", err)
	}
	return c, err
}
