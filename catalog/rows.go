package catalog

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"time"
)

const versionColumns = `v.id, v.parent, v.name, v.kind, v.mode, v.owner, v.size, v.mtime, v.mtime_ns, v.inode, v.nlink,
	v.data, v.target, v.sha256, v.state, v.current, v.since, v.until, v.vanished, v.batch, v.ctime, v.ino, v.grew, CASE WHEN v.vanished = 0 THEN 0 ELSE ` + textRemoved + ` END`

// textRemoved holds for a version v that counts as vanished because this program removed it at its source.
const textRemoved = `EXISTS (SELECT 1 FROM receipt g WHERE g.version = v.id AND g.at = v.vanished AND g.state = 'removed')`

// versionColumnCount is how many versionColumns are.
const versionColumnCount = 24

// versionRow is where a row of versionColumns is scanned; it is reused from row to row. The numbers
// are of the driver's own type: any other costs database/sql a trip through their decimal digits.
type versionRow struct {
	v                 Version
	name, target, sum sql.RawBytes
	batch, ctime, ino any // int64 or nil

	lastOwner   Owner // of lastOwnerID: rows in a row often have the same
	lastOwnerID int64

	id, parent, kind, mode, owner, size, sec, nsec, inode, nlink, data, state, current, since, until, vanished, grew, removed int64
}

func (r *versionRow) dest() []any {
	return []any{&r.id, &r.parent, &r.name, &r.kind, &r.mode, &r.owner, &r.size, &r.sec, &r.nsec, &r.inode, &r.nlink,
		&r.data, &r.target, &r.sum, &r.state, &r.current, &r.since, &r.until, &r.vanished, &r.batch, &r.ctime, &r.ino, &r.grew, &r.removed}
}

// fill completes the Version from the scanned row.
func (r *versionRow) fill(ctx context.Context, db *DB) error {
	if r.owner != r.lastOwnerID {
		owner, err := db.owner(ctx, r.owner)
		if err != nil {
			return err
		}
		r.lastOwner, r.lastOwnerID = owner, r.owner
	}
	r.v = Version{ID: ID(r.id), Parent: ID(r.parent), Name: string(r.name), Kind: Kind(r.kind), Mode: uint32(r.mode), Owner: r.lastOwner, Size: r.size,
		MTime: Time{Sec: r.sec, Nsec: int32(r.nsec)}, Inode: ID(r.inode), Nlink: uint32(r.nlink), Data: ID(r.data), Target: string(r.target),
		State: VersionState(r.state), Current: r.current == 1, Since: timeOf(r.since), Until: timeOf(r.until), Vanished: timeOf(r.vanished), Removed: r.removed == 1, Grew: r.grew == 1}
	if len(r.sum) > 0 {
		r.v.SHA256 = bytes.Clone(r.sum) // handed out with the Version
	}
	if n, ok := r.batch.(int64); ok {
		r.v.Batch = n
	}
	if n, ok := r.ctime.(int64); ok {
		r.v.CTime = timeOf(n)
	}
	if n, ok := r.ino.(int64); ok {
		r.v.Ino = uint64(n)
	}
	return nil
}

// rowsQuerier is what can be asked for rows: a handle, a transaction, or prepared statements.
type rowsQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// querier is a handle or a transaction.
type querier interface {
	rowsQuerier
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func nsOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// owner reads an owner, once: there are few. It is asked while rows are read, so it uses a handle
// of its own: a reader that waits for a second connection of the same pool could wait for ever.
func (db *DB) owner(ctx context.Context, id int64) (Owner, error) {
	db.ownersMu.RLock()
	o, ok := db.owners[id]
	db.ownersMu.RUnlock()
	if ok {
		return o, nil
	}
	var user, group []byte
	err := db.side.QueryRowContext(ctx, `SELECT uid, gid, uname, gname FROM owner WHERE id = ?`, id).Scan(&o.UID, &o.GID, &user, &group)
	if err != nil {
		return o, fmt.Errorf("read owner %d: %w", id, err)
	}
	o.User, o.Group = string(user), string(group)
	db.ownersMu.Lock()
	db.owners[id] = o
	db.ownersMu.Unlock()
	return o, nil
}

// ownerID finds or makes an owner's number.
func ownerID(ctx context.Context, tx *sql.Tx, o Owner) (int64, error) {
	var id int64
	err := tx.QueryRowContext(ctx, `INSERT INTO owner (uid, gid, uname, gname) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET uid = uid RETURNING id`, o.UID, o.GID, []byte(o.User), []byte(o.Group)).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("record owner: %w", err)
	}
	return id, nil
}

// prepared returns a statement of the reading handle, prepared once. Texts are constants.
func (db *DB) prepared(ctx context.Context, text string) (*sql.Stmt, error) {
	db.stmtsMu.RLock()
	s := db.stmts[text]
	db.stmtsMu.RUnlock()
	if s != nil {
		return s, nil
	}
	db.stmtsMu.Lock()
	defer db.stmtsMu.Unlock()
	if s := db.stmts[text]; s != nil {
		return s, nil
	}
	s, err := db.reader.PrepareContext(ctx, text)
	if err == nil {
		db.stmts[text] = s
	}
	return s, err
}

// preparing is the reading handle for constant texts that are asked over and over: parsing one costs several times what
// answering it does.
type preparing struct{ *DB }

func (p preparing) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	stmt, err := p.prepared(ctx, text)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// eachVersion calls fn for the rows of a constant query over versionColumns. The Version is reused.
func (db *DB) eachVersion(ctx context.Context, fn func(*Version) error, text string, args ...any) error {
	stmt, err := db.prepared(ctx, text)
	if err != nil {
		return err
	}
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var row versionRow
	dest := row.dest()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if err := row.fill(ctx, db); err != nil {
			return err
		}
		if err := fn(&row.v); err != nil {
			return err
		}
	}
	return rows.Err()
}

// oneVersion returns the only row; what names it in errors.
func (db *DB) oneVersion(ctx context.Context, what func() string, text string, args ...any) (Version, error) {
	return only(what, func(fn func(*Version) error) error { return db.eachVersion(ctx, fn, text, args...) })
}

// only returns the only row of each.
func only(what func() string, each func(fn func(*Version) error) error) (Version, error) {
	var v Version
	found := false
	err := each(func(row *Version) error {
		v, found = *row, true
		return nil
	})
	if err != nil {
		return Version{}, fmt.Errorf("read %s: %w", what(), err)
	}
	if !found {
		return Version{}, fmt.Errorf("%s: %w", what(), ErrNotFound)
	}
	return v, nil
}

// query collects the rows of a query.
func query[T any](ctx context.Context, q rowsQuerier, what string, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		list = append(list, one)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	return list, nil
}

// exec is a transaction of one statement.
func (db *DB) exec(ctx context.Context, what, text string, args ...any) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, text, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// execOne is exec of a statement that must change a row; ErrNotFound when it changes none.
func (db *DB) execOne(ctx context.Context, what, text string, args ...any) error {
	err := db.update(ctx, func(tx *sql.Tx) error { return changeOne(ctx, tx, text, args...) })
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// changeOne runs a statement that must change a row; ErrNotFound when it changes none.
func changeOne(ctx context.Context, tx *sql.Tx, text string, args ...any) error {
	res, err := tx.ExecContext(ctx, text, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

func bytesOrNull(s string) any {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func nullIfEmpty(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func nullIfZero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
