package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// partNamed holds for a part p that a rebuild would find: a durable manifest names it. Tapes of imported archives have no
// manifests of ours; what lies on them is found by importing the archive again.
const partNamed = `(EXISTS (SELECT 1 FROM manifest m WHERE m.id = p.manifest AND m.state = ` + sqlManifestDurable + `)
	OR EXISTS (SELECT 1 FROM tape ft WHERE ft.id = p.tape AND ft.state = 'foreign'))`

// partNamedWell is partNamed by a manifest on a tape that can be counted on.
const partNamedWell = `EXISTS (SELECT 1 FROM manifest m JOIN tape mt ON mt.id = m.tape WHERE m.id = p.manifest AND m.state = ` + sqlManifestDurable + `
	AND mt.uuid <> '' AND mt.state IN ` + countedTapes + `)`

// textAwaiting holds for a copy c all of whose parts are safe on tape, and which is not durable because no durable manifest
// names some of them.
const textAwaiting = `c.state = ` + sqlWritten + ` AND NOT EXISTS (SELECT 1 FROM copy_part w WHERE w.copy = c.id AND w.state = ` + sqlPartWritten + `)`

// textAllOnTape holds for a copy c all of whose parts are safe on tape, named or not: it can be read like a durable one.
const textAllOnTape = `(c.state = ` + sqlDurable + ` OR ` + textAwaiting + ` AND EXISTS (SELECT 1 FROM copy_part w WHERE w.copy = c.id AND w.state = ` + sqlPartDurable + `))`

// settleUnnamed takes the manifests away from parts that match a condition over copy_part p, and settles their copies: until another
// manifest names them they are not durable.
func settleUnnamed(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	type part struct{ id, copyID int64 }
	parts, err := query(ctx, tx, "parts that lose their manifest", func(rows *sql.Rows) (p part, err error) { return p, rows.Scan(&p.id, &p.copyID) },
		`SELECT p.id, p.copy FROM copy_part p WHERE p.manifest IS NOT NULL AND `+where, args...)
	if err != nil {
		return err
	}
	copies := map[int64]bool{}
	for _, p := range parts {
		if _, err := tx.ExecContext(ctx, `UPDATE copy_part SET manifest = NULL WHERE id = ?`, p.id); err != nil {
			return err
		}
		copies[p.copyID] = true
	}
	for id := range copies {
		if err := settleCopy(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// UnnameStranded takes their manifest away from parts on good tapes that only a manifest on another tape names which cannot be
// counted on any more: a suspect or retired one, or one that was emptied. The next manifest of their pool names them, and the changes that
// only such manifests name.
func (db *DB) UnnameStranded(ctx context.Context) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		err := rewindJournal(ctx, tx, `(`+suspectTape+` OR t.state = 'retired') AND m.upto > `+textBefore+` AND NOT EXISTS (
			SELECT 1 FROM manifest g JOIN tape gt ON gt.id = g.tape WHERE gt.pool = t.pool AND gt.uuid <> '' AND gt.state IN `+countedTapes+`
			AND g.state = `+sqlManifestDurable+` AND g.upto >= m.upto AND g.after <= `+textBefore+`)`)
		if err != nil {
			return err
		}
		if err := resumeJournals(ctx, tx); err != nil {
			return err
		}
		return settleUnnamed(ctx, tx, `p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) AND EXISTS (SELECT 1 FROM tape t WHERE t.id = p.tape AND `+goodTape+`)
			AND p.manifest IN (SELECT m.id FROM manifest m JOIN tape mt ON mt.id = m.tape
				WHERE mt.id <> p.tape AND (mt.uuid = '' OR mt.state NOT IN `+countedTapes+`))`)
	})
	if err != nil {
		return fmt.Errorf("look for parts whose manifest cannot be counted on: %w", err)
	}
	return nil
}

// Awaiting counts, by source, the copies of a pool that are whole on its tapes and have parts there that no manifest names: they wait
// for one, or what repacking moved does.
func (db *DB) Awaiting(ctx context.Context, pool int64) (map[int64]int, error) {
	out := map[int64]int{}
	_, err := query(ctx, db.reader, "copies that wait for a manifest", func(rows *sql.Rows) (struct{}, error) {
		var source int64
		var n int
		err := rows.Scan(&source, &n)
		out[source] = n
		return struct{}{}, err
	}, `SELECT o.source, count(DISTINCT c.id) FROM copy_part p INDEXED BY copy_part_unnamed CROSS JOIN tape t ON t.id = p.tape
		CROSS JOIN copy c ON c.id = p.copy CROSS JOIN object o ON o.id = c.object
		WHERE p.manifest IS NULL AND (p.state = `+sqlPartWritten+` OR p.state = `+sqlPartDurable+`) AND p.state = `+sqlPartDurable+` AND t.pool = ? AND t.state <> 'foreign' AND c.state IN (`+sqlWritten+`, `+sqlDurable+`)
		AND NOT EXISTS (SELECT 1 FROM copy_part w WHERE w.copy = c.id AND w.state = `+sqlPartWritten+`) GROUP BY o.source`, pool)
	return out, err
}

// UnnamedElsewhere is Unmanifested for the other tapes of a tape's pool: parts that are safe there and that no manifest names,
// because their own tape took no more, could not be written, or lost its manifest.
func (db *DB) UnnamedElsewhere(ctx context.Context, tape int64, fn func(*ManifestPart) error) error {
	tapes, err := query(ctx, db.reader, "tapes with unnamed parts", scanID, `SELECT DISTINCT t.id FROM tape t JOIN tape own ON own.pool = t.pool AND own.id = ?
		WHERE t.id <> own.id AND t.state <> 'foreign' AND EXISTS (SELECT 1 FROM copy_part p WHERE p.tape = t.id AND p.manifest IS NULL AND (p.state = `+sqlPartWritten+` OR p.state = `+sqlPartDurable+`)) ORDER BY t.id`, tape)
	if err != nil {
		return err
	}
	for _, id := range tapes {
		err := db.Unmanifested(ctx, id, func(p *ManifestPart) error {
			if p.State != PartDurable {
				return nil // what is not safe there is its own tape's to name
			}
			return fn(p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Manifests lists what the catalog knows of a tape's manifests, lost ones too, by number.
func (db *DB) Manifests(ctx context.Context, tape int64) ([]Manifest, error) {
	return query(ctx, db.reader, "manifests", scanManifest, `SELECT `+manifestColumns+` FROM manifest WHERE tape = ? ORDER BY seq, id`, tape)
}

// UnprovedManifests lists the tapes with manifests that were written and never proved: of a session that died before its sync was
// recorded, or of the one at hand.
func (db *DB) UnprovedManifests(ctx context.Context) (map[int64]bool, error) {
	ids, err := query(ctx, db.reader, "unproved manifests", scanID, `SELECT DISTINCT tape FROM manifest WHERE state = `+sqlManifestWritten)
	out := make(map[int64]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out, err
}

// DurableManifests are the ids of all durable manifests.
func (db *DB) DurableManifests(ctx context.Context) (map[int64]bool, error) {
	ids, err := query(ctx, db.reader, "durable manifests", scanID, `SELECT id FROM manifest WHERE state = `+sqlManifestDurable)
	out := make(map[int64]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out, err
}

// ManifestProved makes a manifest durable that was read back whole: a row in state written, with what it names, or one that counted
// as lost or was never recorded (ID 0), whose parts the next manifest names again. Naming twice does no harm.
func (db *DB) ManifestProved(ctx context.Context, m Manifest) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		if m.ID == 0 {
			_, err := tx.ExecContext(ctx, `INSERT INTO manifest (tape, seq, name, mac, previous, after, upto, state, written, verified) VALUES (?, ?, ?, ?, ?, ?, ?, `+sqlManifestDurable+`, ?, ?)`,
				m.Tape, m.Seq, m.Name, m.MAC, m.Previous, m.After, m.Upto, nsOf(m.Written), time.Now().UnixNano())
			return err
		}
		if err := changeOne(ctx, tx, `UPDATE manifest SET state = `+sqlManifestDurable+`, missed = 0, verified = ? WHERE id = ?`, time.Now().UnixNano(), m.ID); err != nil {
			return err
		}
		if err := settleNamed(ctx, tx, `m.id = ?`, m.ID); err != nil {
			return err
		}
		if err := journalDisproved(ctx, tx, m.ID); err != nil {
			return err
		}
		return moveJournal(ctx, tx, m.ID)
	})
	if err != nil {
		return fmt.Errorf("record manifest %s as proved: %w", m.Name, err)
	}
	return nil
}

// journalDisproved tells the next manifests of the parts that a manifest names and that were not found as they were written: the
// manifest is on tape, and a rebuild would believe it.
func journalDisproved(ctx context.Context, tx *sql.Tx, manifest int64) error {
	type disproved struct {
		id    int64
		state PartState
	}
	parts, err := query(ctx, tx, "named parts that are not there", func(rows *sql.Rows) (p disproved, err error) { return p, rows.Scan(&p.id, &p.state) },
		`SELECT id, state FROM copy_part WHERE manifest = ? AND durable = 0 AND state >= `+sqlPartAbandoned+` ORDER BY id`, manifest)
	if err != nil {
		return err
	}
	for _, p := range parts {
		kind := FoundPartLost
		if p.state == PartDamaged {
			kind = FoundPartDamaged
		}
		if err := journalFinding(ctx, tx, kind, p.id, time.Now()); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `UPDATE copy_part SET manifest = NULL WHERE manifest = ? AND durable = 0 AND state = `+sqlPartLost, manifest)
	return err
}

// AddLostManifest records that a manifest with this name lies on a tape and proves nothing. It names nothing.
func (db *DB) AddLostManifest(ctx context.Context, tape int64, seq int, name string) error {
	return db.exec(ctx, "record a manifest that proves nothing", `INSERT INTO manifest (tape, seq, name, mac, previous, after, upto, state, written)
		VALUES (?, ?, ?, zeroblob(32), zeroblob(32), 0, 0, `+sqlManifestLost+`, ?)`, tape, seq, name, time.Now().UnixNano())
}

// settleNamed settles the copies whose parts are named by the manifests m of a condition.
func settleNamed(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	copies, err := query(ctx, tx, "copies with named parts", scanID, `SELECT DISTINCT p.copy FROM manifest m JOIN copy_part p ON p.manifest = m.id WHERE `+where, args...)
	if err != nil {
		return err
	}
	for _, id := range copies {
		if err := settleCopy(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// moveJournal lets a pool go on after the last change that a manifest names which became durable: unless there is a gap before it,
// since another manifest was lost meanwhile.
func moveJournal(ctx context.Context, tx *sql.Tx, manifest int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE pool SET journalled = m.upto FROM manifest m JOIN tape t ON t.id = m.tape
		WHERE m.id = ? AND pool.id = t.pool AND journalled < m.upto AND journalled >= coalesce(m.after, 0)`, manifest)
	return err
}

// textBefore is the last change that durable manifests of a pool name beside a manifest m on tape t, and those after it. Of
// manifests that older programs recorded it is made up of the others, where none of them was ever lost.
const textBefore = `coalesce(m.after, CASE WHEN EXISTS (SELECT 1 FROM manifest l JOIN tape lt ON lt.id = l.tape WHERE lt.pool = t.pool AND l.state = ` + sqlManifestLost + `) THEN 0
	ELSE (SELECT coalesce(max(b.upto), 0) FROM manifest b JOIN tape bt ON bt.id = b.tape
		WHERE bt.pool = t.pool AND bt.state IN ` + countedTapes + ` AND b.state = ` + sqlManifestDurable + ` AND b.upto < m.upto) END)`

// resumeJournals lets each pool go on after changes that manifests name which were not counted on for a while: those of a tape that was
// suspect and is so no more.
func resumeJournals(ctx context.Context, tx *sql.Tx) error {
	manifests, err := query(ctx, tx, "manifests that count", scanID, `SELECT m.id FROM pool l JOIN tape t ON t.pool = l.id JOIN manifest m ON m.tape = t.id
		WHERE m.state = `+sqlManifestDurable+` AND m.upto > l.journalled AND m.after IS NOT NULL AND `+goodTape+` ORDER BY m.after, m.upto, m.id`)
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

// rewindJournal lets the next manifest of a pool name again what durable manifests m on tapes t name of changes. Call it before they
// are lost.
func rewindJournal(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	_, err := tx.ExecContext(ctx, `UPDATE pool SET journalled = min(journalled, r.before) FROM (
		SELECT t.pool AS pool, min(`+textBefore+`) AS before FROM manifest m JOIN tape t ON t.id = m.tape WHERE m.state = `+sqlManifestDurable+` AND `+where+` GROUP BY t.pool) r
		WHERE pool.id = r.pool`, args...)
	return err
}

// SaltDrawn reports whether this catalog drew a salt for a key: whatever is sealed under it was begun by a session that the catalog
// knows of.
func (db *DB) SaltDrawn(ctx context.Context, fingerprint string, salt []byte) (bool, error) {
	var drawn bool
	err := db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM salt s JOIN seal_key k ON k.id = s.key WHERE k.fingerprint = ? AND s.salt = ?)`,
		fingerprint, salt).Scan(&drawn)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("look for a salt: %w", err)
	}
	return drawn, nil
}

// NamedOnTape reports whether a manifest that is on tape, or may be, names a file of a tape.
func (db *DB) NamedOnTape(ctx context.Context, tape int64, name string) (named bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM copy_part p INDEXED BY copy_part_tape JOIN manifest m ON m.id = p.manifest
		WHERE p.tape = ? AND p.name = ? AND m.state < `+sqlManifestLost+`)`, tape, name).Scan(&named)
	if err != nil {
		err = fmt.Errorf("look whether a manifest names %s: %w", name, err)
	}
	return named, err
}
