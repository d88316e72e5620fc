package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Meta is what a listing or a fetched file says of a path.
type Meta struct {
	Mode  uint32
	Owner Owner
	MTime Time
}

// checkName refuses what no directory can hold. Anything else is a name, whatever its bytes.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q cannot be a name", name)
	}
	return nil
}

// versionInserter adds rows to version within one transaction.
type versionInserter struct {
	tx     *sql.Tx
	insert *sql.Stmt
	last   ID // the last id given
	owners map[Owner]int64
}

func newVersionInserter(ctx context.Context, tx *sql.Tx) (*versionInserter, error) {
	in := &versionInserter{tx: tx, owners: map[Owner]int64{}}
	// The transaction holds the write lock, so nobody else draws ids meanwhile. AUTOINCREMENT
	// remembers the greatest id ever given, also when it is given here.
	err := tx.QueryRowContext(ctx, `SELECT max((SELECT seq FROM sqlite_sequence WHERE name = 'version'), (SELECT max(id) FROM version))`).Scan(&in.last)
	if err != nil {
		return nil, fmt.Errorf("next id: %w", err)
	}
	in.insert, err = tx.PrepareContext(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data,
		target, state, current, since, batch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?1, 1, ?1, ?10, ?11, ?12, ?13, ?14)`)
	return in, err
}

func (in *versionInserter) close() { in.insert.Close() }

// owner is the number of an owner.
func (in *versionInserter) owner(ctx context.Context, o Owner) (int64, error) {
	if id, ok := in.owners[o]; ok {
		return id, nil
	}
	id, err := ownerID(ctx, in.tx, o)
	if err == nil {
		in.owners[o] = id
	}
	return id, err
}

// add inserts a version whose inode and data are its own, and returns its id.
func (in *versionInserter) add(ctx context.Context, v *Version) (ID, error) {
	if err := checkName(v.Name); err != nil {
		return 0, err
	}
	owner, err := in.owner(ctx, v.Owner)
	if err != nil {
		return 0, err
	}
	in.last++
	_, err = in.insert.ExecContext(ctx, in.last, v.Parent, []byte(v.Name), v.Kind, v.Mode, owner, v.Size, v.MTime.Sec, v.MTime.Nsec,
		bytesOrNull(v.Target), v.State, boolInt(v.Current), nsOf(v.Since), nullIfZero(v.Batch))
	return in.last, err
}

// insertVersion adds one row and returns its id.
func insertVersion(ctx context.Context, tx *sql.Tx, v *Version) (ID, error) {
	in, err := newVersionInserter(ctx, tx)
	if err != nil {
		return 0, err
	}
	defer in.close()
	return in.add(ctx, v)
}

// journal records a change without bytes for the next manifests.
func journal(ctx context.Context, tx *sql.Tx, run int64, kind string, v ID, at time.Time, detail string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO change (at, run, kind, version, detail) VALUES (?, ?, ?, ?, ?)`, nsOf(at), run, kind, v, detail)
	return err
}

// EnsureDir returns the id of a directory, made or brought up to date. A file or symlink that
// stood there until now is ended. Nothing is written when nothing differs.
func (db *DB) EnsureDir(ctx context.Context, run int64, parent ID, name string, m Meta) (ID, error) {
	old, err := db.Lookup(ctx, parent, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	if err == nil && old.Kind == Directory && old.Mode == m.Mode && old.Owner == m.Owner && old.MTime == m.MTime {
		return old.ID, nil
	}
	var id ID
	err = db.update(ctx, func(tx *sql.Tx) error {
		in, err := newVersionInserter(ctx, tx)
		if err != nil {
			return err
		}
		defer in.close()
		id, err = ensureDir(ctx, in, run, parent, name, m)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("record directory %q: %w", name, err)
	}
	return id, nil
}

// NewDir is a directory to be made or brought up to date.
type NewDir struct {
	Parent ID // below 0, -1-i: the i-th of the same list, which comes before this one
	Name   string
	Meta
}

// EnsureDirs is EnsureDir for a list in one transaction, so keep it to a few thousand; the ids are
// in the same order.
func (db *DB) EnsureDirs(ctx context.Context, run int64, dirs []NewDir) ([]ID, error) {
	p := &batchPlanner{run: run, dirs: dirs, ids: make([]ID, len(dirs))}
	err := db.update(ctx, func(tx *sql.Tx) (err error) {
		if p.in, err = newVersionInserter(ctx, tx); err != nil {
			return err
		}
		defer p.in.close()
		return p.rest(ctx)
	})
	return p.ids, err
}

func ensureDir(ctx context.Context, in *versionInserter, run int64, parent ID, name string, m Meta) (ID, error) {
	tx, now := in.tx, time.Now()
	var kind Kind
	var current bool
	err := tx.QueryRowContext(ctx, `SELECT kind, current FROM version WHERE id = ?`, parent).Scan(&kind, &current)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (kind != Directory || !current) {
		err = fmt.Errorf("version %d is no directory now: %w", parent, ErrNotFound)
	}
	if err != nil {
		return 0, err
	}
	var id ID
	err = tx.QueryRowContext(ctx, `SELECT id, kind FROM version WHERE parent = ? AND name = ? AND current = 1 AND id <> 1`, parent, []byte(name)).Scan(&id, &kind)
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return 0, err
	case err == nil && kind == Directory:
		return id, updateDir(ctx, tx, run, id, m, now)
	case err == nil:
		if err := endVersion(ctx, tx, run, id, now); err != nil {
			return 0, err
		}
	}
	id, err = in.add(ctx, &Version{Parent: parent, Name: name, Kind: Directory, Mode: m.Mode, Owner: m.Owner, MTime: m.MTime,
		State: Present, Current: true, Since: now})
	if err != nil {
		return 0, err
	}
	return id, journal(ctx, tx, run, "directory", id, now, "")
}

// updateDir changes a current directory in place, and journals that it did. What differs in nothing
// or is no current directory is left alone.
func updateDir(ctx context.Context, tx *sql.Tx, run int64, id ID, m Meta, at time.Time) error {
	owner, err := ownerID(ctx, tx, m.Owner)
	if err != nil {
		return err
	}
	err = changeOne(ctx, tx, `UPDATE version SET mode = ?1, owner = ?2, mtime = ?3, mtime_ns = ?4 WHERE id = ?5 AND kind = `+sqlDirectory+` AND current = 1
		AND (mode <> ?1 OR owner <> ?2 OR mtime <> ?3 OR mtime_ns <> ?4)`, m.Mode, owner, m.MTime.Sec, m.MTime.Nsec, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return journal(ctx, tx, run, "metadata", id, at, "")
}

// DirMeta is a directory's metadata as it was found.
type DirMeta struct {
	ID ID
	Meta
}

// UpdateDirs brings current directories up to date, a page in one transaction, and journals it.
// What is no current directory any more is left alone.
func (db *DB) UpdateDirs(ctx context.Context, run int64, dirs []DirMeta) error {
	for page := range slices.Chunk(dirs, changePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			now := time.Now()
			for _, d := range page {
				if err := updateDir(ctx, tx, run, d.ID, d.Meta, now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record directories: %w", err)
		}
	}
	return nil
}

// endVersion ends a current version, a directory's with all below it.
func endVersion(ctx context.Context, tx *sql.Tx, run int64, id ID, at time.Time) error {
	_, err := tx.ExecContext(ctx, `WITH RECURSIVE below (id) AS (
			SELECT ?1 UNION SELECT v.id FROM version v JOIN below ON v.parent = below.id WHERE v.current = 1)
		UPDATE version SET current = 0, until = ?2 WHERE id IN (SELECT id FROM below) AND current = 1`, id, nsOf(at))
	if err != nil {
		return err
	}
	return journal(ctx, tx, run, "replaced", id, at, "")
}

// changePage is how many versions one transaction marks.
const changePage = 2000

// MarkVanished marks versions (directories too) that a complete listing no longer had. The marks
// are journalled. Marked versions stay current and readable.
func (db *DB) MarkVanished(ctx context.Context, run int64, ids []ID, at time.Time) error {
	return db.mark(ctx, run, ids, "vanished", nsOf(at), at)
}

// Revive takes the mark away, journalled too.
func (db *DB) Revive(ctx context.Context, run int64, ids []ID) error {
	return db.mark(ctx, run, ids, "revived", 0, time.Now())
}

func (db *DB) mark(ctx context.Context, run int64, ids []ID, kind string, vanished int64, at time.Time) error {
	for len(ids) > 0 {
		page := ids[:min(len(ids), changePage)]
		ids = ids[len(page):]
		err := db.update(ctx, func(tx *sql.Tx) error {
			for _, id := range page {
				res, err := tx.ExecContext(ctx, `UPDATE version SET vanished = ?1 WHERE id = ?2 AND (vanished = 0) <> (?1 = 0)`, vanished, id)
				if err != nil {
					return err
				}
				if n, err := res.RowsAffected(); err != nil {
					return err
				} else if n == 0 {
					continue
				}
				if err := journal(ctx, tx, run, kind, id, at, ""); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("mark %s: %w", kind, err)
		}
	}
	return nil
}
