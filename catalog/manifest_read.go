package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// JournalFile is a durable manifest or catalog snapshot on a tape and when it was last read back.
type JournalFile struct {
	Manifest           // of a snapshot: ID, Tape, Name, MAC and Written alone
	Snapshot bool      // it is a catalog snapshot, and its ID counts among those
	Barcode  string    // of its tape
	Pool     string    // of its tape
	Verified time.Time // zero: never since it was written
	Lives    bool      // it names parts of copies in use
}

// JournalToVerify lists the durable manifests and snapshots on tapes of ours that are not retired, by tape and number. On a tape that
// was repacked only the manifests count that name something in use.
func (db *DB) JournalToVerify(ctx context.Context) ([]JournalFile, error) {
	return query(ctx, db.reader, "manifests to verify", func(rows *sql.Rows) (f JournalFile, err error) {
		var written, verified int64
		err = rows.Scan(&f.ID, &f.Tape, &f.Seq, &f.Name, &f.MAC, &f.Previous, &f.After, &f.Upto, &f.State, &written, &f.Snapshot, &f.Barcode, &f.Pool, &verified, &f.Lives)
		f.Written, f.Verified = timeOf(written), timeOf(verified)
		return f, err
	}, `SELECT f.id, f.tape, f.seq, f.name, f.mac, f.previous, f.after, f.upto, f.state, f.written, f.snapshot, t.barcode, p.name, f.verified, f.lives FROM (
		SELECT id, tape, seq, name, mac, previous, coalesce(after, 0) AS after, upto, state, written, 0 AS snapshot, verified,
			EXISTS (SELECT 1 FROM copy_part q INDEXED BY copy_part_manifest JOIN copy c ON c.id = q.copy
				WHERE q.manifest = manifest.id AND q.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) AND c.state < `+sqlCopyDropped+`) AS lives FROM manifest WHERE state = `+sqlManifestDurable+`
		UNION ALL SELECT id, tape, 0, name, mac, x'', 0, 0, state, written, 1, verified, 0 FROM snapshot WHERE state = `+sqlManifestDurable+`) f
		JOIN tape t ON t.id = f.tape JOIN pool p ON p.id = t.pool
		WHERE t.uuid <> '' AND t.state NOT IN ('retired', 'foreign') AND (t.state <> 'superseded' OR f.lives) ORDER BY t.barcode, f.seq, f.written`)
}

// JournalVerified records that a manifest or snapshot was read back whole.
func (db *DB) JournalVerified(ctx context.Context, f JournalFile, at time.Time) error {
	table := map[bool]string{false: "manifest", true: "snapshot"}[f.Snapshot]
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE `+table+` SET verified = ? WHERE id = ? AND state = `+sqlManifestDurable, nsOf(at), f.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("record %s as read back: %w", f.Name, err)
	}
	return nil
}

// LoseJournalFile records that a durable manifest or snapshot is not on its tape as it was written. What the manifest named is not
// durable before the next manifest of the pool names it: parts, and changes of the catalog. After a snapshot was lost the bytes since
// it count again. It returns how many copies that were durable are so no more.
func (db *DB) LoseJournalFile(ctx context.Context, f JournalFile, at time.Time) (copies int, err error) {
	err = db.update(ctx, func(tx *sql.Tx) error {
		if f.Snapshot {
			return loseSnapshots(ctx, tx, `s.id = ? AND s.state = `+sqlManifestDurable, f.ID)
		}
		err := tx.QueryRowContext(ctx, `SELECT count(DISTINCT c.id) FROM copy_part p JOIN copy c ON c.id = p.copy JOIN manifest m ON m.id = p.manifest
			WHERE m.id = ? AND m.state = `+sqlManifestDurable+` AND p.state = `+sqlPartDurable+` AND c.state = `+sqlDurable, f.ID).Scan(&copies)
		if err != nil {
			return err
		}
		if err := rewindJournal(ctx, tx, `m.id = ?`, f.ID); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, `UPDATE manifest SET state = `+sqlManifestLost+`, missed = ? WHERE id = ? AND state = `+sqlManifestDurable, nsOf(at), f.ID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err // it was lost meanwhile, with its tape
		}
		return settleUnnamed(ctx, tx, `p.manifest = ?`, f.ID)
	})
	if err != nil {
		return 0, fmt.Errorf("record %s as lost: %w", f.Name, err)
	}
	return copies, nil
}

// loseSnapshots records snapshots s as lost. The bytes that went to their pools since the snapshots before them, or ever, count
// towards the next one again.
func loseSnapshots(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	pools, err := query(ctx, tx, "pools of lost snapshots", scanID, `SELECT DISTINCT t.pool FROM snapshot s JOIN tape t ON t.id = s.tape WHERE t.pool IS NOT NULL AND `+where, args...)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE snapshot AS s SET state = `+sqlManifestLost+` WHERE `+where, args...); err != nil {
		return err
	}
	for _, id := range pools {
		_, err := tx.ExecContext(ctx, `UPDATE pool SET unsnapped = max(unsnapped, (`+textUnsnapped+`)) WHERE id = ?`, id)
		if err != nil {
			return err
		}
	}
	return nil
}

// textUnsnapped are the bytes on tapes of a pool that became durable after its newest snapshot was written.
const textUnsnapped = `SELECT coalesce(sum(p.size), 0) FROM copy_part p JOIN tape t ON t.id = p.tape WHERE t.pool = pool.id AND p.state = ` + sqlPartDurable + `
	AND p.durable > (SELECT coalesce(max(s.written), 0) FROM snapshot s JOIN tape u ON u.id = s.tape WHERE u.pool = pool.id AND s.state < ` + sqlManifestLost + `)`

// textUnnamedCopy holds for a pool l with a copy that is whole on its tapes and waits for a manifest.
const textUnnamedCopy = `EXISTS (SELECT 1 FROM copy_part p INDEXED BY copy_part_unnamed CROSS JOIN tape t ON t.id = p.tape CROSS JOIN copy c ON c.id = p.copy
	WHERE p.manifest IS NULL AND (p.state = ` + sqlPartWritten + ` OR p.state = ` + sqlPartDurable + `) AND p.state = ` + sqlPartDurable + ` AND t.pool = l.id AND t.state <> 'foreign' AND c.state IN (` + sqlWritten + `, ` + sqlDurable + `)
	AND NOT EXISTS (SELECT 1 FROM copy_part w WHERE w.copy = c.id AND w.state = ` + sqlPartWritten + `))`

// textUnnamedChange holds for a pool l and a lost manifest m that named changes which no durable manifest of the pool names.
const textUnnamedChange = `(m.upto > l.journalled AND EXISTS (SELECT 1 FROM change h WHERE h.id > l.journalled AND h.id <= m.upto))`

// textMissed holds for a manifest m of a pool l that was found lost, while there is something of what it may have named that no durable
// manifest of the pool names.
const textMissed = `m.state = ` + sqlManifestLost + ` AND m.missed > 0 AND (` + textUnnamedChange + ` OR ` + textUnnamedCopy + `)`

// settleMissed forgets which manifests a tape's pool has lost when others name all that they named.
func settleMissed(ctx context.Context, tx *sql.Tx, tape int64) error {
	_, err := tx.ExecContext(ctx, `UPDATE manifest SET missed = 0 WHERE missed > 0 AND id NOT IN (SELECT m.id FROM tape own JOIN pool l ON l.id = own.pool
		JOIN tape t ON t.pool = l.id JOIN manifest m ON m.tape = t.id WHERE own.id = ?1 AND `+textMissed+`)
		AND tape IN (SELECT t.id FROM tape own JOIN tape t ON t.pool = own.pool WHERE own.id = ?1)`, tape)
	return err
}

// MissedManifests counts, by pool, the durable manifests that were found lost or damaged, as long as no other manifest names all that
// they named.
func (db *DB) MissedManifests(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	_, err := query(ctx, db.reader, "lost manifests", func(rows *sql.Rows) (struct{}, error) {
		var pool string
		var n int
		err := rows.Scan(&pool, &n)
		out[pool] = n
		return struct{}{}, err
	}, `SELECT l.name, count(*) FROM manifest m JOIN tape mt ON mt.id = m.tape JOIN pool l ON l.id = mt.pool
		WHERE `+textMissed+` GROUP BY l.id`)
	return out, err
}

// OwesJournal reports whether a manifest of a pool was lost, or its tape retired, with changes of the catalog that no other names. So it is
// with a manifest of an older program on a tape that was suspect: what it begins after is not known.
func (db *DB) OwesJournal(ctx context.Context, pool int64) (owes bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pool l JOIN tape t ON t.pool = l.id JOIN manifest m ON m.tape = t.id
		WHERE l.id = ? AND (m.state = `+sqlManifestLost+` OR t.state = 'retired' OR m.after IS NULL AND `+goodTape+`) AND `+textUnnamedChange+`)`, pool).Scan(&owes)
	if err != nil {
		err = fmt.Errorf("look for changes that no manifest names any more: %w", err)
	}
	return owes, err
}
