package catalog

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// ErrNotFound: no such row. Wrapped with what was looked for.
var ErrNotFound = errors.New("not in the catalog")

// ErrNewer: the file was written by a newer tapefs.
var ErrNewer = errors.New("catalog has a newer schema")

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open catalog. Close it.
type DB struct {
	path   string
	uuid   string
	writer *sql.DB // nil when opened for reading
	reader *sql.DB

	watch     sync.Mutex // guards the connection that watches data_version
	watchConn *sql.Conn

	ownersMu sync.RWMutex
	owners   map[int64]Owner
}

// Create makes a new catalog, readable by this user alone. A file that exists is an error.
func Create(ctx context.Context, path string) (*DB, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	db, err := create(ctx, path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return db, nil
}

func create(ctx context.Context, path string) (*DB, error) {
	uuid, err := newUUID()
	if err != nil {
		return nil, err
	}
	db, err := connect(path, true)
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	err = db.update(ctx, func(tx *sql.Tx) error {
		for key, value := range map[string]string{"uuid": uuid, "created": time.Now().UTC().Format(time.RFC3339), "format": "1"} {
			if _, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES (?, ?)`, key, value); err != nil {
				return err
			}
		}
		owner, err := ownerID(ctx, tx, Owner{})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, data, state, current, since)
			VALUES (1, 1, x'', ?, 493, ?, 0, ?, 0, 1, 1, ?, 1, ?)`, Directory, owner, time.Now().Unix(), Present, time.Now().UnixNano())
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fill new catalog: %w", err), db.Close())
	}
	db.uuid = uuid
	return db, nil
}

// Open opens a catalog for reading and writing. An older schema is migrated after a copy of the
// file was made beside it (catalog.db.before-N, N the schema it has).
func Open(ctx context.Context, path string) (*DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := connect(path, true)
	if err != nil {
		return nil, err
	}
	if err := db.open(ctx, true); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// OpenReadOnly opens a catalog that another process may be writing. Its methods that change
// anything fail.
func OpenReadOnly(ctx context.Context, path string) (*DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	db, err := connect(path, false)
	if err != nil {
		return nil, err
	}
	if err := db.open(ctx, false); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// open checks the schema, migrates, and reads the catalog's identity.
func (db *DB) open(ctx context.Context, write bool) error {
	have, err := db.schema(ctx)
	if err != nil {
		return err
	}
	want, err := newestSchema()
	if err != nil {
		return err
	}
	switch {
	case have > want:
		return fmt.Errorf("%w: %d, this program knows %d", ErrNewer, have, want)
	case have < want && !write:
		return fmt.Errorf("catalog has the older schema %d: any command that writes migrates it to %d", have, want)
	case have < want:
		if err := db.backup(ctx, have); err != nil {
			return err
		}
		if err := db.migrate(ctx); err != nil {
			return err
		}
	}
	err = db.reader.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'uuid'`).Scan(&db.uuid)
	if err != nil {
		return fmt.Errorf("read catalog's identity: %w", err)
	}
	return nil
}

// connect opens the handles. Pragmas go into the name, so that each connection gets them.
func connect(path string, write bool) (*DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: abs}).String() +
		"?_pragma=busy_timeout(30000)&_pragma=foreign_keys(1)&_pragma=synchronous(2)"
	db := &DB{path: abs, owners: map[int64]Owner{}}
	if write {
		if db.writer, err = sql.Open("sqlite", name+"&_pragma=journal_mode(WAL)&_txlock=immediate"); err != nil {
			return nil, fmt.Errorf("open for writing: %w", err)
		}
		db.writer.SetMaxOpenConns(1)
		if err := db.writer.Ping(); err != nil { // makes it a WAL file before anybody reads
			return nil, errors.Join(fmt.Errorf("open for writing: %w", err), db.writer.Close())
		}
	}
	if db.reader, err = sql.Open("sqlite", name+"&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(fmt.Errorf("open for reading: %w", err), db.Close())
	}
	db.reader.SetMaxOpenConns(8)
	db.reader.SetMaxIdleConns(8)
	return db, nil
}

// Close closes all handles.
func (db *DB) Close() error {
	var errs []error
	db.watch.Lock()
	if db.watchConn != nil {
		errs = append(errs, db.watchConn.Close())
		db.watchConn = nil
	}
	db.watch.Unlock()
	if db.reader != nil {
		errs = append(errs, db.reader.Close())
	}
	if db.writer != nil {
		errs = append(errs, db.writer.Close())
	}
	return errors.Join(errs...)
}

// FilePath is where the catalog lies.
func (db *DB) FilePath() string { return db.path }

// UUID identifies this catalog on its tapes.
func (db *DB) UUID() string { return db.uuid }

// DataVersion changes whenever another connection or process committed.
func (db *DB) DataVersion(ctx context.Context) (int64, error) {
	db.watch.Lock()
	defer db.watch.Unlock()
	if db.watchConn == nil {
		conn, err := db.reader.Conn(ctx)
		if err != nil {
			return 0, fmt.Errorf("watch catalog: %w", err)
		}
		db.watchConn = conn
	}
	var n int64
	if err := db.watchConn.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&n); err != nil {
		return 0, fmt.Errorf("watch catalog: %w", err)
	}
	return n, nil
}

// Snapshot writes a consistent copy to a path that must not exist.
func (db *DB) Snapshot(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("copy catalog: %s: %w", path, fs.ErrExist)
	}
	// VACUUM INTO is refused on a query_only connection, so a handle of its own does it.
	conn, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: db.path}).String()+"?_pragma=busy_timeout(30000)")
	if err != nil {
		return fmt.Errorf("copy catalog: %w", err)
	}
	defer conn.Close()
	old := unix.Umask(0o077)
	_, err = conn.ExecContext(ctx, `VACUUM INTO ?`, path)
	unix.Umask(old)
	if err != nil {
		return fmt.Errorf("copy catalog: %w", err)
	}
	return nil
}

// update runs fn in one write transaction.
func (db *DB) update(ctx context.Context, fn func(*sql.Tx) error) error {
	if db.writer == nil {
		return errors.New("catalog was opened for reading")
	}
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, db, sub)
}

func (db *DB) migrate(ctx context.Context) error {
	p, err := provider(db.writer)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate catalog: %w", err)
	}
	return nil
}

// schema reads the schema number that goose keeps; a file that is no catalog is an error.
func (db *DB) schema(ctx context.Context) (int64, error) {
	var n sql.NullInt64
	err := db.reader.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied = 1`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("read schema: not a catalog of tapefs: %w", err)
	}
	return n.Int64, nil
}

func newestSchema() (int64, error) {
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		return 0, err
	}
	newest := int64(0)
	for _, e := range entries {
		n, err := strconv.ParseInt(e.Name()[:4], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", e.Name(), err)
		}
		newest = max(newest, n)
	}
	return newest, nil
}

func (db *DB) backup(ctx context.Context, schema int64) error {
	path := fmt.Sprintf("%s.before-%d", db.path, schema+1)
	if _, err := os.Lstat(path); err == nil {
		return nil // of an earlier try
	}
	return db.Snapshot(ctx, path)
}
