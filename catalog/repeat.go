package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrLive: parts of the object lie on tapes.
var ErrLive = errors.New("the object has parts on tape")

// GetCopy returns one copy, or ErrNotFound.
func (db *DB) GetCopy(ctx context.Context, id int64) (Copy, error) {
	list, err := query(ctx, db.reader, "a copy", scanCopy, `SELECT id, object, pool, state, verified FROM copy WHERE id = ?`, id)
	if err != nil {
		return Copy{}, err
	}
	if len(list) == 0 {
		return Copy{}, fmt.Errorf("copy %d: %w", id, ErrNotFound)
	}
	return list[0], nil
}

// Unpack makes a packed object planned again, so that it is packed anew under another salt: its
// files changed at the source and no tape holds a part of it. ErrLive when one does, ErrNotFound when
// it is not packed. What was void is so no more; a sum that was recorded stays, and what has another one now is void
// when it is packed.
func (db *DB) Unpack(ctx context.Context, object int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var live bool
		err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id
			WHERE c.object = ? AND p.state < `+sqlPartAbandoned+`)`, object).Scan(&live)
		if err != nil {
			return err
		}
		if live {
			return ErrLive
		}
		err = changeOne(ctx, tx, `UPDATE object SET salt = NULL, plain_size = 0, sealed_size = 0, state = `+sqlObjectPlanned+` WHERE id = ? AND state = `+sqlObjectPacked, object)
		if err != nil {
			return err
		}
		for _, text := range []string{
			`DELETE FROM part WHERE object = ?`,
			`UPDATE member SET header = -1, data = -1 WHERE object = ?`,
			`UPDATE version SET state = ` + sqlPresent + ` WHERE kind = ` + sqlFile + ` AND state IN (` + sqlPresent + `, ` + sqlVoid + `) AND id IN (SELECT version FROM member WHERE object = ?1)
				AND (SELECT replaces FROM object WHERE id = ?1) IS NULL`, // those of a repacked object are known from the one before
			`UPDATE copy SET state = ` + sqlOwed + ` WHERE object = ? AND state < ` + sqlCopyDamaged,
		} {
			if _, err := tx.ExecContext(ctx, text, object); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("unpack object %d: %w", object, err)
	}
	return nil
}
