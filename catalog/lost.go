package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// A file is known as lost when the last of its changes of the kinds "lost" and "found" is "lost": no copy, no spool and no other
// object has its bytes, and that was said. What is known is no news: nothing can be healed there any more. The last is the one with the
// latest time: where an older catalog was put back, numbers of changes were given a second time. So that a clock that was set back hides
// nothing, each such change of a version is later than the one before it.

// textGone holds for a packed object o with batch b of which no copy, no spool and no other object has all bytes any more.
const textGone = `o.state = ` + sqlObjectPacked + ` AND coalesce(b.state, ` + sqlReleased + `) = ` + sqlReleased + `
	AND NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state < ` + sqlCopyDamaged + `)
	AND NOT EXISTS (SELECT 1 FROM object r WHERE r.replaces = o.id AND r.state < ` + sqlObjectDropped + `)
	AND EXISTS (SELECT 1 FROM part q WHERE q.object = o.id AND NOT EXISTS (
		SELECT 1 FROM copy d JOIN copy_part p ON p.copy = d.id WHERE d.object = o.id AND d.state < ` + sqlCopyDropped + ` AND p.number = q.number AND p.state = ` + sqlPartDurable + `))`

// textOwners are the files x that have bytes in an object o and were not forgotten.
const textOwners = `member m JOIN version x ON (x.id = m.version OR x.data = m.version AND x.data <> x.id) WHERE m.object = o.id AND x.kind = ` + sqlFile + ` AND x.state = ` + sqlPresent

// knownLost holds for a version x.
const knownLost = `coalesce((SELECT h.kind FROM change h WHERE h.version = x.id AND h.kind IN ('lost', 'found') ORDER BY h.at DESC, h.id DESC LIMIT 1), '') = 'lost'`

// timeOfLoss is the time of the next such change of a version x, at the time ?2 or later.
const timeOfLoss = `max(?2, (SELECT coalesce(max(h.at) + 1, 0) FROM change h WHERE h.version = x.id AND h.kind IN ('lost', 'found')))`

// textNews holds for an object o with files that are not known as lost.
const textNews = `EXISTS (SELECT 1 FROM ` + textOwners + ` AND NOT ` + knownLost + `)`

// GoneObjects lists the packed objects of which no copy, no spool and no other object has all bytes any more: what the
// source still has of them must be taken again.
func (db *DB) GoneObjects(ctx context.Context) ([]int64, error) {
	return query(ctx, db.reader, "objects whose bytes are gone", func(rows *sql.Rows) (id int64, err error) { return id, rows.Scan(&id) },
		`SELECT o.id FROM object o LEFT JOIN batch b ON b.id = o.batch WHERE `+textGone)
}

// NewlyLost lists the versions of a source's files whose bytes are gone and that are not known as lost.
func (db *DB) NewlyLost(ctx context.Context, source int64) ([]ID, error) {
	return query(ctx, db.reader, "files that are lost", func(rows *sql.Rows) (id ID, err error) { return id, rows.Scan(&id) },
		`SELECT DISTINCT x.id FROM object o LEFT JOIN batch b ON b.id = o.batch JOIN `+textOwners+` AND NOT `+knownLost+`
			AND o.source = ? AND `+textGone+` ORDER BY x.id`, source)
}

// MarkLost makes versions known as lost, and journals that.
func (db *DB) MarkLost(ctx context.Context, run int64, versions []ID, at time.Time) error {
	for page := range slices.Chunk(versions, changePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			for _, id := range page {
				_, err := tx.ExecContext(ctx, `INSERT INTO change (at, run, kind, version) SELECT `+timeOfLoss+`, ?3, 'lost', x.id FROM version x WHERE x.id = ?1`, id, nsOf(at), run)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record lost files: %w", err)
		}
	}
	return nil
}

// IsLost tells whether a version is known as lost.
func (db *DB) IsLost(ctx context.Context, id ID) (lost bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT `+knownLost+` FROM version x WHERE x.id = ?`, id).Scan(&lost)
	if err != nil {
		err = fmt.Errorf("look whether version %d is lost: %w", id, err)
	}
	return lost, err
}

// Losses counts the versions that are known as lost and their bytes; current is how many of them their paths show.
func (db *DB) Losses(ctx context.Context) (versions, current int, bytes int64, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(current), 0), coalesce(sum(size), 0) FROM (
		SELECT DISTINCT x.id, x.current, x.size FROM copy k JOIN object o ON o.id = k.object LEFT JOIN batch b ON b.id = o.batch JOIN `+textOwners+`
			AND k.state = `+sqlCopyDamaged+` AND `+knownLost+` AND `+textGone+`)`).Scan(&versions, &current, &bytes)
	if err != nil {
		err = fmt.Errorf("count lost files: %w", err)
	}
	return versions, current, bytes, err
}

// found takes back that the files of an object are lost.
func found(ctx context.Context, tx *sql.Tx, object int64, at time.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO change (at, run, kind, version) SELECT DISTINCT `+timeOfLoss+`, (SELECT max(id) FROM run), 'found', x.id
		FROM object o JOIN `+textOwners+` AND o.id = ?1 AND `+knownLost, object, nsOf(at))
	return err
}
