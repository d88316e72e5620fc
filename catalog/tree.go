package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

const versionColumns = `v.id, v.parent, v.name, v.kind, v.mode, v.owner, v.size, v.mtime, v.mtime_ns, v.inode, v.nlink,
	v.data, v.target, v.sha256, v.state, v.current, v.since, v.until, v.vanished, v.batch`

// versionRow is where a row of versionColumns is scanned; it is reused from row to row.
type versionRow struct {
	v                      Version
	name, target           sql.RawBytes
	sum                    []byte
	owner                  int64
	current                int64
	since, until, vanished int64
	batch                  sql.NullInt64
}

func (r *versionRow) dest() []any {
	v := &r.v
	return []any{&v.ID, &v.Parent, &r.name, &v.Kind, &v.Mode, &r.owner, &v.Size, &v.MTime.Sec, &v.MTime.Nsec, &v.Inode, &v.Nlink,
		&v.Data, &r.target, &r.sum, &v.State, &r.current, &r.since, &r.until, &r.vanished, &r.batch}
}

// fill completes the Version from the scanned row.
func (r *versionRow) fill(ctx context.Context, db *DB, q querier) error {
	v := &r.v
	v.Name, v.Target = string(r.name), string(r.target)
	v.SHA256 = r.sum
	v.Current = r.current == 1
	v.Since, v.Until, v.Vanished = timeOf(r.since), timeOf(r.until), timeOf(r.vanished)
	v.Batch = r.batch.Int64
	var err error
	v.Owner, err = db.owner(ctx, q, r.owner)
	return err
}

// querier is a handle or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
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

// owner reads an owner, once: there are few.
func (db *DB) owner(ctx context.Context, q querier, id int64) (Owner, error) {
	db.ownersMu.RLock()
	o, ok := db.owners[id]
	db.ownersMu.RUnlock()
	if ok {
		return o, nil
	}
	var user, group []byte
	err := q.QueryRowContext(ctx, `SELECT uid, gid, uname, gname FROM owner WHERE id = ?`, id).Scan(&o.UID, &o.GID, &user, &group)
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

// eachVersion calls fn for the rows of a query over versionColumns. The Version is reused.
func (db *DB) eachVersion(ctx context.Context, q querier, fn func(*Version) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var row versionRow
	dest := row.dest()
	for rows.Next() {
		row.sum = nil // handed out with the Version
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		if err := row.fill(ctx, db, q); err != nil {
			return err
		}
		if err := fn(&row.v); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (db *DB) oneVersion(ctx context.Context, q querier, what string, query string, args ...any) (Version, error) {
	var found *Version
	err := db.eachVersion(ctx, q, func(v *Version) error { c := *v; found = &c; return nil }, query, args...)
	if err != nil {
		return Version{}, fmt.Errorf("read %s: %w", what, err)
	}
	if found == nil {
		return Version{}, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return *found, nil
}

// Get returns a version by its id.
func (db *DB) Get(ctx context.Context, id ID) (Version, error) {
	return db.oneVersion(ctx, db.reader, fmt.Sprintf("version %d", id), `SELECT `+versionColumns+` FROM version v WHERE v.id = ?`, id)
}

// Lookup returns the current version of a name in a directory.
func (db *DB) Lookup(ctx context.Context, parent ID, name string) (Version, error) {
	return db.oneVersion(ctx, db.reader, fmt.Sprintf("%q", name), `SELECT `+versionColumns+` FROM version v
		WHERE v.parent = ? AND v.name = ? AND v.current = 1 AND v.id <> 1`, parent, []byte(name))
}

// Children calls fn for the current versions in a directory with id > after, in order of id,
// at most limit (0: all). The Version is reused between calls. One short query.
func (db *DB) Children(ctx context.Context, parent, after ID, limit int, fn func(*Version) error) error {
	return db.eachVersion(ctx, db.reader, fn, `SELECT `+versionColumns+` FROM version v INDEXED BY version_children
		WHERE v.parent = ? AND v.id > max(?, 1) AND v.current = 1 ORDER BY v.id LIMIT ?`, parent, after, limitOf(limit))
}

// ChildrenByName is Children in byte order of names greater than after ("" starts).
func (db *DB) ChildrenByName(ctx context.Context, parent ID, after string, limit int, fn func(*Version) error) error {
	return db.eachVersion(ctx, db.reader, fn, `SELECT `+versionColumns+` FROM version v INDEXED BY version_path
		WHERE v.parent = ? AND v.name > ? AND v.current = 1 ORDER BY v.name LIMIT ?`, parent, []byte(after), limitOf(limit))
}

func limitOf(limit int) int {
	if limit <= 0 {
		return -1
	}
	return limit
}

// Resolve finds the current version at "/source/dir/name"; "/" is Root.
func (db *DB) Resolve(ctx context.Context, path string) (Version, error) {
	v, err := db.Get(ctx, Root)
	if err != nil {
		return v, err
	}
	for _, name := range strings.Split(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if v, err = db.Lookup(ctx, v.ID, name); err != nil {
			return v, err
		}
	}
	return v, nil
}

// Path is Resolve's inverse.
func (db *DB) Path(ctx context.Context, id ID) (string, error) {
	path := ""
	for depth := 0; id != Root; depth++ {
		if depth > 4096 {
			return "", fmt.Errorf("path of version %d: its directories form a circle", id)
		}
		var parent ID
		var name []byte
		err := db.reader.QueryRowContext(ctx, `SELECT parent, name FROM version WHERE id = ?`, id).Scan(&parent, &name)
		if errors.Is(err, sql.ErrNoRows) {
			return "", fmt.Errorf("version %d: %w", id, ErrNotFound)
		} else if err != nil {
			return "", fmt.Errorf("path of version %d: %w", id, err)
		}
		path = "/" + string(name) + path
		id = parent
	}
	if path == "" {
		return "/", nil
	}
	return path, nil
}

// walkPage is how many entries Walk reads at once.
const walkPage = 512

// Walk calls fn for everything below id (not id itself), depth first, by name; path is relative to id.
// Nothing is held open while fn runs; memory is bounded by depth.
func (db *DB) Walk(ctx context.Context, id ID, fn func(path string, v *Version) error) error {
	return db.walk(ctx, id, "", fn)
}

func (db *DB) walk(ctx context.Context, dir ID, prefix string, fn func(string, *Version) error) error {
	page := make([]Version, 0, walkPage)
	for after := ""; ; {
		page = page[:0]
		err := db.ChildrenByName(ctx, dir, after, walkPage, func(v *Version) error {
			page = append(page, *v)
			return nil
		})
		if err != nil {
			return err
		}
		for i := range page {
			v := &page[i]
			if err := fn(prefix+v.Name, v); err != nil {
				return err
			}
			if v.Kind == Directory {
				if err := db.walk(ctx, v.ID, prefix+v.Name+"/", fn); err != nil {
					return err
				}
			}
		}
		if len(page) < walkPage {
			return nil
		}
		after = page[len(page)-1].Name
	}
}

// Versions lists every version of a path, oldest first, planned ones left out.
func (db *DB) Versions(ctx context.Context, parent ID, name string) ([]Version, error) {
	var list []Version
	for _, current := range []int{0, 1} {
		err := db.eachVersion(ctx, db.reader, func(v *Version) error {
			list = append(list, *v)
			return nil
		}, fmt.Sprintf(`SELECT %s FROM version v WHERE v.parent = ? AND v.name = ? AND v.current = %d AND v.state <> 0 ORDER BY v.id`,
			versionColumns, current), parent, []byte(name))
		if err != nil {
			return nil, fmt.Errorf("versions of %q: %w", name, err)
		}
	}
	return list, nil
}

// Totals counts current files and their bytes; triggers keep the sums.
func (db *DB) Totals(ctx context.Context) (files, bytes int64, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT files, bytes FROM total`).Scan(&files, &bytes)
	if err != nil {
		err = fmt.Errorf("count files: %w", err)
	}
	return files, bytes, err
}

// EnsureSource returns a source, made with its directory when it is new. A changed URL is recorded.
func (db *DB) EnsureSource(ctx context.Context, name, url string) (Source, error) {
	err := db.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE source SET url = ? WHERE name = ?`, url, name)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		now := time.Now()
		root, err := insertVersion(ctx, tx, &Version{Parent: Root, Name: name, Kind: Directory, Mode: 0o755,
			MTime: Time{Sec: now.Unix()}, State: Present, Current: true, Since: now})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO source (name, url, root) VALUES (?, ?, ?)`, name, url, root)
		return err
	})
	if err != nil {
		return Source{}, fmt.Errorf("record source %s: %w", name, err)
	}
	sources, err := db.Sources(ctx)
	if err != nil {
		return Source{}, err
	}
	for _, s := range sources {
		if s.Name == name {
			return s, nil
		}
	}
	return Source{}, fmt.Errorf("source %s: %w", name, ErrNotFound)
}

// Sources lists the sources by name.
func (db *DB) Sources(ctx context.Context) ([]Source, error) {
	return query(ctx, db.reader, "sources", func(rows *sql.Rows) (s Source, err error) {
		var listed int64
		err = rows.Scan(&s.ID, &s.Name, &s.URL, &s.Root, &listed)
		s.Listed = timeOf(listed)
		return s, err
	}, `SELECT id, name, url, root, listed FROM source ORDER BY name`)
}

// SetListed records when a source was last listed whole.
func (db *DB) SetListed(ctx context.Context, source int64, at time.Time) error {
	return db.exec(ctx, "record listing", `UPDATE source SET listed = ? WHERE id = ?`, nsOf(at), source)
}

// query collects the rows of a query.
func query[T any](ctx context.Context, q querier, what string, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
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
