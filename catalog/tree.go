package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The mount's queries: each is short and answered by an index, in order.
const (
	textGet      = `SELECT ` + versionColumns + ` FROM version v WHERE v.id = ?`
	textVersions = `SELECT ` + versionColumns + ` FROM json_each(?) j JOIN version v ON v.id = j.value`
	textLookup   = `SELECT ` + versionColumns + ` FROM version v WHERE v.parent = ? AND v.name = ? AND v.current = 1 AND v.id <> 1`
	textChildren = `SELECT ` + versionColumns + ` FROM version v INDEXED BY version_children
		WHERE v.parent = ? AND v.current = 1 AND v.id > max(?, 1) ORDER BY v.id LIMIT ?`
	textChildrenByName = `SELECT ` + versionColumns + ` FROM version v INDEXED BY version_path
		WHERE v.parent = ? AND v.name > ? AND v.current = 1 ORDER BY v.name LIMIT ?`
	textParent = `SELECT parent, name FROM version WHERE id = ?`
)

// Get returns a version by its id.
func (db *DB) Get(ctx context.Context, id ID) (Version, error) {
	return db.oneVersion(ctx, func() string { return fmt.Sprintf("version %d", id) }, textGet, id)
}

// GetEach calls fn for the versions with these ids, in any order; ids that there are not are passed over. The Version is
// reused between calls.
func (db *DB) GetEach(ctx context.Context, ids []ID, fn func(*Version) error) error {
	list, err := json.Marshal(ids)
	if err == nil {
		err = db.eachVersion(ctx, fn, textVersions, list)
	}
	if err != nil {
		return fmt.Errorf("read %d versions: %w", len(ids), err)
	}
	return nil
}

// Lookup returns the current version of a name in a directory.
func (db *DB) Lookup(ctx context.Context, parent ID, name string) (Version, error) {
	return db.oneVersion(ctx, func() string { return fmt.Sprintf("%q", name) }, textLookup, parent, []byte(name))
}

// Children calls fn for the current versions in a directory with id > after, in order of id,
// at most limit (0: all). The Version is reused between calls. One short query; it stays open while
// fn runs, so fn must not wait for other calls of the DB.
func (db *DB) Children(ctx context.Context, parent, after ID, limit int, fn func(*Version) error) error {
	return db.eachVersion(ctx, fn, textChildren, parent, after, limitOf(limit))
}

// ChildrenByName is Children in byte order of names greater than after ("" starts).
func (db *DB) ChildrenByName(ctx context.Context, parent ID, after string, limit int, fn func(*Version) error) error {
	return db.eachVersion(ctx, fn, textChildrenByName, parent, []byte(after), limitOf(limit))
}

func limitOf(limit int) int {
	if limit <= 0 {
		return -1
	}
	return limit
}

// Resolve finds the current version at "/source/dir/name", readable or not; "/" is Root.
func (db *DB) Resolve(ctx context.Context, path string) (Version, error) {
	return db.Recorded().Resolve(ctx, path)
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
		stmt, err := db.prepared(ctx, textParent)
		if err != nil {
			return "", fmt.Errorf("path of version %d: %w", id, err)
		}
		err = stmt.QueryRowContext(ctx, id).Scan(&parent, &name)
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

// Walk calls fn for everything below id (not id itself), depth first, by name; path is relative to id.
// Nothing is held open while fn runs; memory is bounded by depth.
func (db *DB) Walk(ctx context.Context, id ID, fn func(path string, v *Version) error) error {
	return db.Recorded().Walk(ctx, id, fn)
}

// Versions lists every version of a path, oldest first, planned and forgotten ones left out.
func (db *DB) Versions(ctx context.Context, parent ID, name string) ([]Version, error) {
	var list []Version
	for _, text := range []string{
		`SELECT ` + versionColumns + ` FROM version v WHERE v.parent = ? AND v.name = ? AND v.current = 0 AND v.state IN (` + sqlPresent + `, ` + sqlVoid + `) AND v.id <> 1 ORDER BY v.id`,
		textLookup,
	} {
		err := db.eachVersion(ctx, func(v *Version) error {
			list = append(list, *v)
			return nil
		}, text, parent, []byte(name))
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
	return db.execOne(ctx, "record listing", `UPDATE source SET listed = ? WHERE id = ?`, nsOf(at), source)
}
