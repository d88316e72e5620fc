package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// Kinds of changes that tell what was found of a file on tape which a manifest names. They are about no version, so they bear the
// number of the archive's root, and their detail says which file is meant. A rebuild would believe the manifest otherwise, and a
// file that verify found damaged would count as safe again.
const (
	FoundPartDamaged = "part-damaged" // its bytes are not those that were written
	FoundPartLost    = "part-lost"    // it is not on its tape
	FoundPartGood    = "part-good"    // it counted as damaged, and was read back whole
)

// IsFinding reports whether a change of this kind tells of a file on tape, or of a tape, and of no version.
func IsFinding(kind string) bool {
	switch kind {
	case FoundPartDamaged, FoundPartLost, FoundPartGood, FoundTapeSuspect, FoundTapeTrusted:
		return true
	}
	return false
}

// findingTime is the time of a finding in Unix nanoseconds. The latest finding holds, and not the one with the greatest number: those are
// given twice where an older catalog is put back. So none is earlier than the one before it, whatever the clock says.
func findingTime(ctx context.Context, tx *sql.Tx, at time.Time) (int64, error) {
	var last int64
	err := tx.QueryRowContext(ctx, `SELECT coalesce((SELECT at FROM change WHERE version = `+sqlRoot+` AND (`+textIsFinding+` OR `+textIsTapeFinding+`) ORDER BY id DESC LIMIT 1), 0)`).Scan(&last)
	return max(nsOf(at), last+1), err
}

// journalFinding records what was found of a part for the next manifests. Tapes without a volume of ours have none.
func journalFinding(ctx context.Context, tx *sql.Tx, kind string, copyPart int64, at time.Time) error {
	ns, err := findingTime(ctx, tx, at)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO change (at, run, kind, version, detail) SELECT ?, (SELECT max(id) FROM run), ?, `+sqlRoot+`, json_object(
			'object', o.oid, 'pool', l.name, 'number', p.number, 'volume', t.uuid, 'barcode', t.barcode, 'name', p.name, 'startblock', p.startblock)
		FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object JOIN pool l ON l.id = c.pool JOIN tape t ON t.id = p.tape
		WHERE p.id = ? AND t.uuid <> '' AND t.state <> 'foreign'`, ns, kind, copyPart)
	return err
}

// foundPart is a part that something else was found of than its row says.
type foundPart struct {
	id, tape, size int64
	kind           string
}

// textFoundParts gives those parts, by the latest finding of each file.
const textFoundParts = `WITH told AS (SELECT at, id, kind, CAST(json_extract(detail, '$.volume') AS TEXT) AS volume,
		CAST(json_extract(detail, '$.name') AS TEXT) AS name, CAST(json_extract(detail, '$.startblock') AS INTEGER) AS block
		FROM change WHERE ` + textIsFinding + ` AND json_valid(detail)),
	f AS MATERIALIZED (SELECT kind, volume, name, block FROM (SELECT kind, volume, name, block,
		row_number() OVER (PARTITION BY volume, name, block ORDER BY at DESC, id DESC) AS newest FROM told) WHERE newest = 1)
	SELECT p.id, p.tape, p.size, f.kind FROM copy_part p CROSS JOIN tape t ON t.id = p.tape CROSS JOIN f ON f.volume = t.uuid AND f.name = p.name AND f.block = p.startblock
	WHERE t.uuid <> '' AND p.state = CASE f.kind WHEN '` + FoundPartGood + `' THEN ` + sqlPartDamaged + ` ELSE ` + sqlPartDurable + ` END`

const textIsFinding = `kind IN ('` + FoundPartDamaged + `', '` + FoundPartLost + `', '` + FoundPartGood + `')`

// applyFindings lets each file on tape be what was found of it last. What this rebuild itself saw of a file is newer.
func (r *Rebuild) applyFindings(ctx context.Context) error {
	var some bool
	err := r.db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM change WHERE `+textIsFinding+`)`).Scan(&some)
	if err != nil || !some {
		return err
	}
	parts, err := query(ctx, r.db.reader, "parts that something was found of", func(rows *sql.Rows) (p foundPart, err error) {
		err = rows.Scan(&p.id, &p.tape, &p.size, &p.kind)
		return p, err
	}, textFoundParts)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(parts, settlePage) {
		err := r.db.update(ctx, func(tx *sql.Tx) error {
			for _, p := range page {
				if r.marked[p.id] {
					continue
				}
				if err := applyFinding(ctx, tx, p); err != nil {
					return fmt.Errorf("record what was found of part %d: %w", p.id, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// applyFinding changes a part's row; what lies uselessly on its tape is counted there.
func applyFinding(ctx context.Context, tx *sql.Tx, p foundPart) error {
	useless, text := p.size, `UPDATE copy_part SET state = `+sqlPartDamaged+`, verified = 0 WHERE id = ?`
	switch p.kind {
	case FoundPartLost:
		useless, text = 0, `UPDATE copy_part SET state = `+sqlPartLost+`, verified = 0, manifest = NULL WHERE id = ?`
	case FoundPartGood:
		useless, text = -p.size, `UPDATE copy_part SET state = `+sqlPartDurable+`, size = coalesce((SELECT q.size FROM copy c JOIN part q ON q.object = c.object
			WHERE c.id = copy_part.copy AND q.number = copy_part.number), size) WHERE id = ?`
	}
	if _, err := tx.ExecContext(ctx, text, p.id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE tape SET leftover = max(0, leftover + ?) WHERE id = ?`, useless, p.tape)
	return err
}
