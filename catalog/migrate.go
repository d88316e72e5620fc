package catalog

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
)

//go:embed migrations/*.sql
var files embed.FS

// migrations is a file system whose folder "migrations" holds goose's files: NNNN_what.sql.
type migrations struct{ fs.FS }

var embedded = migrations{files}

// newest is the schema that all migrations together make.
func (m migrations) newest() (int64, error) {
	entries, err := fs.ReadDir(m, "migrations")
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	newest := int64(0)
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", e.Name(), err)
		}
		newest = max(newest, n)
	}
	return newest, nil
}

// schema reads the schema number that goose keeps; a file that is no catalog is an error.
func (db *DB) schema(ctx context.Context) (int64, error) {
	var n sql.NullInt64
	err := db.reader.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1`).Scan(&n)
	switch {
	case err == nil:
		return n.Int64, nil
	case foreign(err):
		return 0, fmt.Errorf("read schema: %w, or not a catalog of tapefs: %w", ErrCorrupt, err)
	}
	return 0, fmt.Errorf("read schema: %w", db.explain(err))
}

func (db *DB) migrate(ctx context.Context, m migrations) error {
	sub, err := fs.Sub(m, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.writer, sub)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// backup keeps the file as it is before it is migrated. A copy of an earlier try stays.
func (db *DB) backup(ctx context.Context, schema int64) error {
	path := fmt.Sprintf("%s.before-%d", db.path, schema)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("copy catalog: %w", err)
	}
	if err := db.Snapshot(ctx, temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("copy catalog: %w", err)
	}
	return syncDir(path)
}

// Snapshot writes a consistent copy, readable by this user alone, to a path that must not exist,
// and syncs it. Writers are not held up.
func (db *DB) Snapshot(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("copy catalog: %w", err)
	}
	if err := errors.Join(db.vacuumInto(ctx, path), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("copy catalog to %s: %w", path, err), os.Remove(path))
	}
	return nil
}

// vacuumInto fills an empty file. A query_only connection refuses that, so one of its own does it.
func (db *DB) vacuumInto(ctx context.Context, path string) error {
	h, err := sql.Open("sqlite", db.dsn(""))
	if err != nil {
		return err
	}
	_, err = h.ExecContext(ctx, `VACUUM INTO ?`, path)
	return errors.Join(err, h.Close())
}

// lockDir waits for the lock of a file's folder. The catalog itself must not be opened for this:
// closing it would drop SQLite's own locks.
func lockDir(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("lock for migration: %w", err)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock for migration: %w", err), dir.Close())
	}
	return func() { dir.Close() }, nil
}

// syncDir makes a name in a folder durable.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
