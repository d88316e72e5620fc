package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// MarkDurable is called after a proved sync of a tape: its written parts, manifests and snapshots
// are durable, copies become durable all of whose parts are and are named by durable manifests, also
// parts on other tapes that this tape's manifests name, and the pool's journal position moves.
func (db *DB) MarkDurable(ctx context.Context, tape int64, indexGeneration, free int64, at time.Time) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		copies, err := query(ctx, tx, "written copies", func(rows *sql.Rows) (id int64, err error) {
			err = rows.Scan(&id)
			return id, err
		}, `SELECT copy FROM copy_part WHERE state = `+sqlPartWritten+` AND tape = ?1
			UNION SELECT p.copy FROM manifest m JOIN copy_part p ON p.manifest = m.id WHERE m.tape = ?1 AND m.state = `+sqlManifestWritten, tape)
		if err != nil {
			return err
		}
		manifests, err := query(ctx, tx, "written manifests", scanID, `SELECT id FROM manifest WHERE tape = ? AND state = `+sqlManifestWritten+` ORDER BY upto, id`, tape)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE copy_part SET state = `+sqlPartDurable+`, durable = ? WHERE tape = ? AND state = `+sqlPartWritten, nsOf(at), tape); err != nil {
			return err
		}
		for _, text := range []string{
			`UPDATE manifest SET state = ` + sqlManifestDurable + ` WHERE tape = ? AND state = ` + sqlManifestWritten,
			`UPDATE snapshot SET state = ` + sqlManifestDurable + ` WHERE tape = ? AND state = ` + sqlManifestWritten,
		} {
			if _, err := tx.ExecContext(ctx, text, tape); err != nil {
				return err
			}
		}
		for _, id := range copies {
			if err := settleCopy(ctx, tx, id); err != nil {
				return err
			}
		}
		for _, id := range manifests {
			if err := moveJournal(ctx, tx, id); err != nil {
				return err
			}
		}
		if err := settleMissed(ctx, tx, tape); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE tape SET generation_index = ?, free = ?, seen = ? WHERE id = ?`, indexGeneration, free, nsOf(at), tape)
		return err
	})
	if err != nil {
		return fmt.Errorf("record synced tape %d: %w", tape, err)
	}
	return nil
}

// unsafeObject holds for an object o whose bytes are not safe: its batch must stay. Safe is what was
// dropped with all its files, or packed with a durable copy in each pool it is for; a damaged copy
// counts only where another took its place. An object that is owed to no pool is safe nowhere.
const unsafeObject = `o.state <> ` + sqlObjectDropped + ` AND (o.state = ` + sqlObjectPlanned + `
	OR NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state = ` + sqlDurable + `)
	OR EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state < ` + sqlDurable + `)
	OR EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state = ` + sqlCopyDamaged + ` AND NOT EXISTS (
		SELECT 1 FROM copy d WHERE d.object = o.id AND d.pool = c.pool AND d.state = ` + sqlDurable + `)))`

// unsafeOnce holds for an object o that is durable nowhere: without its batch its bytes could be lost.
const unsafeOnce = `o.state <> ` + sqlObjectDropped + ` AND (o.state = ` + sqlObjectPlanned + ` OR NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state = ` + sqlDurable + `))`

const (
	textReleasable = `SELECT ` + batchColumns + ` FROM batch b INDEXED BY batch_open WHERE b.state < ` + sqlReleased + ` AND b.state = ` + sqlSynced + ` AND NOT EXISTS (
		SELECT 1 FROM object o INDEXED BY object_batch WHERE o.batch = b.id AND ` + unsafeObject + `) ORDER BY b.id`
	textReleasableOnce = `SELECT ` + batchColumns + ` FROM batch b INDEXED BY batch_open WHERE b.state < ` + sqlReleased + ` AND b.state = ` + sqlSynced + ` AND b.local = 0 AND NOT EXISTS (
		SELECT 1 FROM object o INDEXED BY object_batch WHERE o.batch = b.id AND ` + unsafeOnce + `) ORDER BY b.id`
)

// ReleasableBatches lists synced batches all of whose objects have all copies durable.
func (db *DB) ReleasableBatches(ctx context.Context) ([]Batch, error) {
	return query(ctx, db.reader, "safe batches", scanBatch, textReleasable)
}

// OnceSafeBatches lists synced batches in the spool all of whose objects have a durable copy: when the spool is
// full they may go, and what other pools are owed is made from that copy.
func (db *DB) OnceSafeBatches(ctx context.Context) ([]Batch, error) {
	return query(ctx, db.reader, "batches that are safe once", scanBatch, textReleasableOnce)
}

// ErrUnsafe: not all of a batch's objects have all their copies durable.
var ErrUnsafe = errors.New("not all its copies are durable")

// ReleaseBatch forgets a batch's bytes: call it before its directory is removed. ErrUnsafe while a
// copy is not durable. It goes by pages; the batch is released with the last.
func (db *DB) ReleaseBatch(ctx context.Context, batch int64) error {
	return db.releaseBatch(ctx, batch, unsafeObject)
}

// ReleaseBatchOnce is ReleaseBatch with ErrUnsafe only while an object has no durable copy at all.
func (db *DB) ReleaseBatchOnce(ctx context.Context, batch int64) error {
	return db.releaseBatch(ctx, batch, unsafeOnce)
}

func (db *DB) releaseBatch(ctx context.Context, batch int64, forbids string) error {
	for done := false; !done; {
		err := db.update(ctx, func(tx *sql.Tx) error {
			var state BatchState
			var unsafe bool
			err := tx.QueryRowContext(ctx, `SELECT b.state, EXISTS (SELECT 1 FROM object o WHERE o.batch = b.id AND `+forbids+`)
				FROM batch b WHERE b.id = ?`, batch).Scan(&state, &unsafe)
			switch {
			case errors.Is(err, sql.ErrNoRows):
				return ErrNotFound
			case err != nil:
				return err
			case unsafe || state == Fetching:
				return ErrUnsafe
			}
			res, err := tx.ExecContext(ctx, `UPDATE version SET batch = NULL WHERE id IN (SELECT id FROM version WHERE batch = ? LIMIT ?)`, batch, releasePage)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil || n == releasePage {
				return err
			}
			done = true
			_, err = tx.ExecContext(ctx, `UPDATE batch SET state = `+sqlReleased+` WHERE id = ?`, batch)
			return err
		})
		if err != nil {
			return fmt.Errorf("release batch %d: %w", batch, err)
		}
	}
	return nil
}

// releasePage is how many versions one transaction takes out of a batch: well under a second.
const releasePage = 20000
