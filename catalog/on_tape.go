package catalog

import (
	"context"
	"database/sql"
	"fmt"
)

// TapePart is a part on a tape, with what is needed to say which of its object's files lie in it.
type TapePart struct {
	CopyPart
	Object   int64
	OID      string
	PartSize int64 // of the object, sealed bytes: each part but the last one has so many
}

// PartsOnTape lists the parts that were written to a tape and may still be read there, in the order of their places. Those whose
// place is not known come last.
func (db *DB) PartsOnTape(ctx context.Context, tape int64) ([]TapePart, error) {
	return query(ctx, db.reader, "parts on tape", func(rows *sql.Rows) (p TapePart, err error) {
		var manifest sql.NullInt64
		err = rows.Scan(&p.ID, &p.Copy, &p.Number, &p.Tape, &p.Barcode, &p.Name, &p.Size, &p.StartBlock, &p.State, &manifest, &p.Object, &p.OID, &p.PartSize)
		p.Manifest = manifest.Int64
		return p, err
	}, `SELECT `+copyPartColumns+`, o.id, o.oid, o.part_size FROM copy_part p JOIN tape t ON t.id = p.tape JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object
		WHERE p.tape = ? AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`, `+sqlPartDamaged+`) ORDER BY p.startblock < 0, p.startblock, p.id`, tape)
}

// textMembersOf lists what is shown with the bytes of an object's members, and where those begin in the plain stream: versions that
// share the bytes of another one, too. A member without bytes lies where its header does.
const textMembersOf = `SELECT ` + versionColumns + `, ` + memberAt + ` FROM member m CROSS JOIN version v ON v.id = m.version
	WHERE m.object = ?1 AND v.kind <> ` + sqlDirectory + ` AND v.state = ` + sqlPresent + `
	UNION ALL SELECT ` + versionColumns + `, ` + memberAt + ` FROM member m CROSS JOIN version v ON v.data = m.version AND v.data <> v.id
	WHERE m.object = ?1 AND m.data >= 0 AND v.kind = ` + sqlFile + ` AND v.state = ` + sqlPresent + `
	ORDER BY 25, 1`

const memberAt = `CASE WHEN m.data >= 0 THEN m.data ELSE max(m.header, 0) END`

// MembersOf calls fn for each file and symlink that is shown with bytes of an object, in the order in which they lie there; at is where
// they begin in the plain stream. Forgotten versions are left out. fn must not ask the catalog for rows.
func (db *DB) MembersOf(ctx context.Context, object int64, fn func(v *Version, at int64) error) error {
	if err := db.rowReader.eachAnd(ctx, db, fn, textMembersOf, object); err != nil {
		return fmt.Errorf("list members of object %d: %w", object, err)
	}
	return nil
}

// textLiesOn reports whether any part of any object that has a version's bytes lies on a tape.
const textLiesOn = `SELECT EXISTS (SELECT 1 FROM version v JOIN member m ON m.version IN (v.id, v.data) JOIN copy c ON c.object = m.object JOIN copy_part p ON p.copy = c.id
	WHERE v.id = ? AND p.tape = ? AND p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `, ` + sqlPartDamaged + `))`

// LiesOn reports whether a tape has a part of an object in which a version lies.
func (db *DB) LiesOn(ctx context.Context, id ID, tape int64) (on bool, err error) {
	stmt, err := db.prepared(ctx, textLiesOn)
	if err == nil {
		err = stmt.QueryRowContext(ctx, id, tape).Scan(&on)
	}
	if err != nil {
		return false, fmt.Errorf("look whether version %d is on a tape: %w", id, err)
	}
	return on, nil
}
