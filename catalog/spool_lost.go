package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Retry says when a file that could not be archived is taken again.
type Retry int

const (
	TryAgain Retry = iota // when it is listed the next time
	TryLater              // when it changes, or after a while: nothing else will make it readable
)

// DropSpooled gives up files of a planned object because the bytes that were fetched, or listed where they are read in place,
// are not to be had any more. They become void, so that a later listing takes them again, and so do the paths elsewhere that
// share their bytes, which are returned. ids must name all hard-linked names of a file. The parts of the object must have
// been given up.
func (db *DB) DropSpooled(ctx context.Context, object int64, ids []ID, retry Retry) (links []ID, err error) {
	forget := `, ino = NULL` // what is known of its inode says that nothing changed
	if retry == TryLater {
		forget = ""
	}
	err = db.update(ctx, func(tx *sql.Tx) error {
		var ok bool
		err := tx.QueryRowContext(ctx, `SELECT o.state = `+sqlObjectPlanned+` AND o.replaces IS NULL AND NOT EXISTS (SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id
			WHERE c.object = o.id AND p.state < `+sqlPartAbandoned+`) FROM object o WHERE o.id = ?`, object).Scan(&ok)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err == nil && !ok {
			err = errors.New("it is packed, has parts on tape or replaces another one")
		}
		for i := 0; err == nil && i < len(ids); i++ {
			_, err = tx.ExecContext(ctx, `DELETE FROM member WHERE object = ? AND version = ?`, object, ids[i])
			if err == nil {
				err = changeOne(ctx, tx, `UPDATE version SET state = `+sqlVoid+`, batch = NULL`+forget+` WHERE id = ? AND state IN (`+sqlPresent+`, `+sqlVoid+`)`, ids[i])
			}
		}
		for i := 0; err == nil && i < len(ids); i++ {
			var some []ID
			some, err = voidLinks(ctx, tx, `data = ?`, ids[i])
			links = append(links, some...)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("give up files of object %d: %w", object, err)
	}
	return links, nil
}

// DropRepacked gives up a planned object that was to replace another one, because the spool has lost the bytes that were read
// from tape for it. The other one is in use as before.
func (db *DB) DropRepacked(ctx context.Context, object int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var ok bool
		err := tx.QueryRowContext(ctx, `SELECT state = `+sqlObjectPlanned+` AND replaces IS NOT NULL FROM object WHERE id = ?`, object).Scan(&ok)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err == nil && !ok {
			err = errors.New("it is packed, or replaces nothing")
		}
		if err != nil {
			return err
		}
		for _, text := range []string{
			`UPDATE version SET batch = NULL WHERE batch = (SELECT batch FROM object WHERE id = ?1) AND id IN (SELECT version FROM member WHERE object = ?1)`,
			`DELETE FROM member WHERE object = ?1`,
			`UPDATE copy SET state = ` + sqlCopyDropped + ` WHERE object = ?1`,
			`UPDATE object SET state = ` + sqlObjectDropped + ` WHERE id = ?1`,
		} {
			if _, err := tx.ExecContext(ctx, text, object); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give up object %d: %w", object, err)
	}
	return nil
}

// IsReplacement reports whether an object was made by repacking, to replace another one.
func (db *DB) IsReplacement(ctx context.Context, object int64) (is bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT replaces IS NOT NULL FROM object WHERE id = ?`, object).Scan(&is)
	if err != nil {
		err = fmt.Errorf("look what object %d replaces: %w", object, err)
	}
	return is, err
}

// OnTapes reports whether each part of a packed object is written to some tape, be it in several copies.
func (db *DB) OnTapes(ctx context.Context, object int64) (all bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM part WHERE object = ?1) AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = ?1 AND NOT EXISTS (
		SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = ?1 AND c.state < `+sqlCopyDropped+` AND p.number = q.number AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`)))`, object).Scan(&all)
	if err != nil {
		err = fmt.Errorf("look where object %d lies: %w", object, err)
	}
	return all, err
}

// NoteSpoolRot notes that a version's bytes in the spool were found not to be those that were fetched. The next archive run
// looks at them (SpoolRot). It does nothing when the spool need not have them any more.
func (db *DB) NoteSpoolRot(ctx context.Context, id ID, why error) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO spool_rot (version, found, why) SELECT id, ?, ? FROM version WHERE id = ? AND batch IS NOT NULL
			ON CONFLICT DO NOTHING`, nsOf(time.Now()), why.Error(), id)
		return err
	})
	if err != nil {
		return fmt.Errorf("note the damage of version %d in the spool: %w", id, err)
	}
	return nil
}

// SpoolRot lists the versions of a batch that NoteSpoolRot noted.
func (db *DB) SpoolRot(ctx context.Context, batch int64) (map[ID]bool, error) {
	list, err := query(ctx, db.reader, "damage in the spool", func(rows *sql.Rows) (id ID, err error) { return id, rows.Scan(&id) },
		`SELECT r.version FROM spool_rot r JOIN version v ON v.id = r.version WHERE v.batch = ?`, batch)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	noted := map[ID]bool{}
	for _, id := range list {
		noted[id] = true
	}
	return noted, nil
}

// ForgetSpoolRot forgets what was noted of the versions of a batch, which were looked at, and of those that are in the spool no more.
func (db *DB) ForgetSpoolRot(ctx context.Context, batch int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM spool_rot WHERE version IN (
			SELECT r.version FROM spool_rot r JOIN version v ON v.id = r.version WHERE v.batch IS NULL OR v.batch = ?)`, batch)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget the damage noted of batch %d: %w", batch, err)
	}
	return nil
}
