package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// HeldCopy is a durable copy of an object: all its parts lie on tapes of ours that nothing is known against, and so do the manifests
// that name them.
type HeldCopy struct {
	Object      int64
	OID         string
	Fingerprint string // of the key that opens it
	Pool        int64
	Verified    bool // its bytes were read back, and so were the manifests that name them
}

// textHeldCopies leaves out copies with a part, or its manifest, on a tape that is suspect, retired or not ours any more.
const textHeldCopies = `SELECT o.id, o.oid, k.fingerprint, c.pool, CASE WHEN EXISTS (SELECT 1 FROM part q WHERE q.object = o.id AND NOT EXISTS (
		SELECT 1 FROM copy_part p JOIN manifest m ON m.id = p.manifest WHERE p.copy = c.id AND p.number = q.number AND p.state = ` + sqlPartDurable + ` AND m.verified > 0))
		THEN 0 ELSE c.verified END FROM copy c JOIN object o ON o.id = c.object JOIN seal_key k ON k.id = o.key
	WHERE c.object = ? AND c.state = ` + sqlDurable + ` AND o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `) AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = o.id AND NOT EXISTS (
		SELECT 1 FROM copy_part p JOIN tape t ON t.id = p.tape WHERE p.copy = c.id AND p.number = q.number AND p.state = ` + sqlPartDurable + `
		AND ` + goodTape + ` AND ` + partNamedWell + `))
	ORDER BY c.id`

// HeldCopies lists the copies of an object that can be counted on.
func (db *DB) HeldCopies(ctx context.Context, object int64) ([]HeldCopy, error) {
	return query(ctx, db.reader, "durable copies", func(rows *sql.Rows) (h HeldCopy, err error) {
		var verified int64
		err = rows.Scan(&h.Object, &h.OID, &h.Fingerprint, &h.Pool, &verified)
		h.Verified = verified != 0
		return h, err
	}, textHeldCopies, object)
}

// ObjectsWith lists the objects whose stream holds a version's own bytes or entry.
func (db *DB) ObjectsWith(ctx context.Context, id ID) ([]int64, error) {
	return query(ctx, db.reader, "objects of a version", func(rows *sql.Rows) (n int64, err error) {
		return n, rows.Scan(&n)
	}, `SELECT m.object FROM member m JOIN object o ON o.id = m.object WHERE m.version = ? AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`) ORDER BY m.object`, id)
}

// LinkNamed lists the pools of which a durable manifest, on a tape that can be counted on, names a version that has its bytes from
// another path, and whether that was read back: without a manifest nothing on tape tells of it.
func (db *DB) LinkNamed(ctx context.Context, id ID) (map[int64]bool, error) {
	pools := map[int64]bool{}
	_, err := query(ctx, db.reader, "pools that name a link", func(rows *sql.Rows) (struct{}, error) {
		var pool int64
		var verified bool
		err := rows.Scan(&pool, &verified)
		pools[pool] = verified
		return struct{}{}, err
	}, `SELECT l.id, max(m.verified) > 0 FROM pool l JOIN tape t ON t.pool = l.id JOIN manifest m ON m.tape = t.id,
		(SELECT max(id) AS id FROM change WHERE version = ? AND kind IN ('link', 'moved')) h
		WHERE l.journalled >= h.id AND m.state = `+sqlManifestDurable+` AND m.upto >= h.id AND `+goodTape+` AND (m.after < h.id OR m.after IS NULL AND NOT EXISTS (
			SELECT 1 FROM manifest b JOIN tape bt ON bt.id = b.tape WHERE bt.pool = l.id AND b.state = `+sqlManifestDurable+` AND b.upto >= h.id AND b.upto < m.upto))
		GROUP BY l.id`, id)
	return pools, err
}

// TakenAt is when a source's planner wrote down what it had listed, as an object's id tells: before any byte was read.
func TakenAt(oid string) (time.Time, error) {
	var ms int64
	if len(oid) < 12 {
		return time.Time{}, fmt.Errorf("object id %q is too short", oid)
	}
	if _, err := fmt.Sscanf(oid[:12], "%012x", &ms); err != nil {
		return time.Time{}, fmt.Errorf("object id %q: %w", oid, err)
	}
	return time.UnixMilli(ms).UTC(), nil
}
