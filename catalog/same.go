package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// minSame is the least size of files that are looked up by content, bytes: what the index holds.
const minSame = 1 << 20

// SameSize tells whether a version of this size has a known content, so that it is worth summing another file.
func (db *DB) SameSize(ctx context.Context, size int64) (found bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM version INDEXED BY version_sha256 WHERE size = ? AND sha256 IS NOT NULL AND size >= 1048576)`, size).Scan(&found)
	if err != nil {
		err = fmt.Errorf("look for files of %d bytes: %w", size, err)
	}
	return found, err
}

// Unsummed lists versions of a size that were fetched, or are read in place, and whose content nobody has summed yet.
func (db *DB) Unsummed(ctx context.Context, size int64) ([]Version, error) {
	var list []Version
	err := db.eachVersion(ctx, func(v *Version) error {
		list = append(list, *v)
		return nil
	}, `SELECT `+versionColumns+` FROM version v INDEXED BY version_batch WHERE v.batch IS NOT NULL AND v.size = ? AND v.sha256 IS NULL AND `+mayShare+` LIMIT 100`, size)
	return list, err
}

// SetSum records the content of a version that had none.
func (db *DB) SetSum(ctx context.Context, id ID, sum []byte) error {
	return db.exec(ctx, "record the content of a file", `UPDATE version SET sha256 = ? WHERE id = ? AND sha256 IS NULL AND state = `+sqlPresent, sum, id)
}

// SameContent finds a version that has this content in members of its own and a copy, made or owed, in each of some pools. 0: none.
func (db *DB) SameContent(ctx context.Context, size int64, sum []byte, pools []int64) (ID, error) {
	if size < minSame || len(sum) == 0 {
		return 0, nil
	}
	ids, err := query(ctx, db.reader, "files of the same content", func(rows *sql.Rows) (id ID, err error) { return id, rows.Scan(&id) },
		`SELECT id FROM version v INDEXED BY version_sha256 WHERE size = ? AND sha256 = ? AND size >= 1048576 AND `+mayShare+` ORDER BY id LIMIT 100`, size, sum)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		all := true
		for _, pool := range pools {
			var has bool
			err := db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM member m JOIN object o ON o.id = m.object JOIN copy c ON c.object = o.id
				WHERE m.version = ? AND o.state < `+sqlObjectSuperseded+` AND c.pool = ? AND c.state < `+sqlCopyDamaged+`)`, id, pool).Scan(&has)
			if err != nil {
				return 0, fmt.Errorf("look for copies in pool %d: %w", pool, err)
			}
			all = all && has
		}
		if all {
			return id, nil
		}
	}
	return 0, nil
}

// mayShare holds for a version v whose bytes others may have: it is there, and they are its own.
const mayShare = `v.kind = ` + sqlFile + ` AND v.state = ` + sqlPresent + ` AND v.data = v.id AND EXISTS (SELECT 1 FROM member m JOIN object o ON o.id = m.object WHERE m.version = v.id AND o.state < ` + sqlObjectSuperseded + `)`

// link makes a fetched version present with the bytes of another, and journals that. False: the other one cannot give them
// any more, and nothing was done.
func (m *fetchMarker) link(ctx context.Context, f *Fetched, owner, until int64, shown bool) (bool, error) {
	var ok bool
	// The sum counts in this transaction: what was found by it may have become something else since.
	err := m.tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM version v WHERE v.id = ? AND v.size = ? AND v.sha256 = ? AND `+mayShare+`)`,
		f.Twin, f.Size, f.SHA256).Scan(&ok)
	if err != nil || !ok || f.Twin == f.Version || len(f.SHA256) != 32 {
		return false, err
	}
	_, err = m.tx.ExecContext(ctx, `UPDATE version SET state = `+sqlPresent+`, current = ?, since = ?, until = ?, vanished = 0, mode = ?, owner = ?, size = ?, mtime = ?,
		mtime_ns = ?, inode = id, data = ?, nlink = 1, sha256 = ?, batch = NULL WHERE id = ?`,
		boolInt(shown), nsOf(m.at), until, f.Mode, owner, f.Size, f.MTime.Sec, f.MTime.Nsec, f.Twin, f.SHA256, f.Version)
	if err == nil {
		_, err = m.tx.ExecContext(ctx, `DELETE FROM member WHERE version = ?`, f.Version)
	}
	if err == nil {
		err = journal(ctx, m.tx, m.run, "link", f.Version, m.at, "")
	}
	return true, err
}

// DropLinked removes a planned object that has lost all its files to others with the same content, unless it is the only one
// that carries some directory.
func (db *DB) DropLinked(ctx context.Context, object int64) error {
	var needed bool
	err := db.reader.QueryRowContext(ctx, `SELECT o.state <> `+sqlObjectPlanned+` OR EXISTS (SELECT 1 FROM member m JOIN version v ON v.id = m.version WHERE m.object = o.id AND (v.kind <> `+sqlDirectory+`
		OR NOT EXISTS (SELECT 1 FROM member n JOIN object p ON p.id = n.object WHERE n.version = v.id AND n.object <> o.id AND p.state < `+sqlObjectSuperseded+`))) FROM object o WHERE o.id = ?`, object).Scan(&needed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look what object %d is for: %w", object, err)
	}
	if needed {
		return nil
	}
	return db.DropObject(ctx, object)
}

// voidShared takes the bytes away from versions that have them from members of an object just packed, where those could not be
// read or are not what was summed: they are archived again. It returns them.
func voidShared(ctx context.Context, tx *sql.Tx, object int64) ([]ID, error) {
	return voidLinks(ctx, tx, `data IN (SELECT version FROM member WHERE object = ?1) AND id NOT IN (SELECT version FROM member WHERE object = ?1)
		AND EXISTS (SELECT 1 FROM version d WHERE d.id = version.data AND (d.state = `+sqlVoid+` OR d.sha256 IS NOT version.sha256))`, object)
}

// voidLinks makes versions void that have their bytes from another one, and journals that: a manifest may
// have named them as good. Without an inode they are not taken for files that cannot be read.
func voidLinks(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]ID, error) {
	ids, err := query(ctx, tx, "versions that share bytes", func(rows *sql.Rows) (id ID, err error) { return id, rows.Scan(&id) },
		`UPDATE version SET state = `+sqlVoid+`, ino = NULL WHERE data <> id AND state = `+sqlPresent+` AND `+where+` RETURNING id`, args...)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	var run int64
	if err := tx.QueryRowContext(ctx, `SELECT max(id) FROM run`).Scan(&run); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := journal(ctx, tx, run, "link", id, time.Now(), ""); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// Linked tells whether a version has its bytes from another path and no member of its own, and which objects have them.
func (db *DB) Linked(ctx context.Context, v *Version) (bool, error) {
	if v.Data == v.ID || v.Kind != File {
		return false, nil
	}
	var own bool
	err := db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM member WHERE version = ?)`, v.ID).Scan(&own)
	if err != nil {
		return false, fmt.Errorf("look for members of version %d: %w", v.ID, err)
	}
	return !own, nil
}
