package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// ErrNotFound: no such row. Wrapped with what was looked for.
var ErrNotFound = errors.New("not in the catalog")

// ErrNewer: the file was written by a newer tapefs.
var ErrNewer = errors.New("catalog has a newer schema")

// DB is an open catalog. Close it.
type DB struct {
	path      string
	uuid      string
	writer    *sql.DB    // one connection; nil when opened for reading
	reader    *sql.DB    // query_only
	side      *sql.DB    // query_only; its queries are made while another holds a connection of reader
	rowReader *rowReader // of View

	stmtsMu sync.RWMutex
	stmts   map[string]*sql.Stmt

	watch     sync.Mutex // guards the connection that watches data_version
	watchConn *sql.Conn

	ownersMu sync.RWMutex
	owners   map[int64]Owner
}

// Create makes a new catalog, readable by this user alone. A file that exists is an error. The file
// appears under its name when it is whole.
func Create(ctx context.Context, path string) (*DB, error) { return create(ctx, path, "") }

// CreateAs is Create for a catalog that is rebuilt from its tapes: it gets its old UUID back.
func CreateAs(ctx context.Context, path, uuid string) (*DB, error) { return create(ctx, path, uuid) }

func create(ctx context.Context, path, uuid string) (*DB, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("create catalog %s: %w", path, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".catalog-*.new") // 0600
	if err != nil {
		return nil, fmt.Errorf("create catalog: %w", err)
	}
	temp := f.Name()
	defer func() {
		for _, name := range []string{temp, temp + "-wal", temp + "-shm"} {
			os.Remove(name)
		}
	}()
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("create catalog: %w", err)
	}
	if err := fill(ctx, temp, embedded); err != nil {
		return nil, fmt.Errorf("create catalog %s: %w", path, err)
	}
	if uuid != "" {
		if err := setUUID(ctx, temp, uuid); err != nil {
			return nil, fmt.Errorf("create catalog %s: %w", path, err)
		}
	}
	if err := os.Link(temp, path); err != nil { // unlike a rename it replaces nothing
		return nil, fmt.Errorf("create catalog: %w", err)
	}
	if err := syncDir(path); err != nil {
		return nil, fmt.Errorf("create catalog %s: %w", path, err)
	}
	return Open(ctx, path)
}

// fill makes the tables in an empty file, the catalog's identity and the root directory.
func fill(ctx context.Context, path string, m migrations) error {
	uuid, err := newUUID()
	if err != nil {
		return err
	}
	db, err := connect(path)
	if err != nil {
		return err
	}
	if err := db.connectWriter(ctx); err != nil {
		return errors.Join(err, db.Close())
	}
	if err := db.migrate(ctx, m); err != nil {
		return errors.Join(err, db.Close())
	}
	err = db.update(ctx, func(tx *sql.Tx) error {
		now := time.Now()
		for key, value := range map[string]string{"uuid": uuid, "created": now.UTC().Format(time.RFC3339), "format": "1"} {
			if _, err := tx.ExecContext(ctx, `INSERT INTO meta (key, value) VALUES (?, ?)`, key, value); err != nil {
				return err
			}
		}
		owner, err := ownerID(ctx, tx, Owner{})
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, data, state, current, since)
			VALUES (1, 1, x'', ?, 493, ?, 0, ?, 0, 1, 1, ?, 1, ?)`, Directory, owner, now.Unix(), Present, now.UnixNano())
		return err
	})
	return errors.Join(err, db.Close())
}

// setUUID gives the catalog in a file another UUID.
func setUUID(ctx context.Context, path, uuid string) error {
	db, err := connect(path)
	if err != nil {
		return err
	}
	if err = db.connectWriter(ctx); err == nil {
		err = db.execOne(ctx, "name the catalog", `UPDATE meta SET value = ? WHERE key = 'uuid'`, uuid)
	}
	return errors.Join(err, db.Close())
}

// Open opens a catalog for reading and writing. An older schema is migrated after a copy of the
// file was made beside it: catalog.db.before-N, N the schema it gets.
func Open(ctx context.Context, path string) (*DB, error) {
	return open(ctx, path, true, embedded)
}

// OpenReadOnly opens a catalog that another process may be writing. Its methods that change
// anything fail.
func OpenReadOnly(ctx context.Context, path string) (*DB, error) {
	return open(ctx, path, false, embedded)
}

// open looks at the file before it changes anything: what is no catalog of ours stays as it is.
func open(ctx context.Context, path string, write bool, m migrations) (*DB, error) {
	info, err := os.Stat(path)
	if errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, fmt.Errorf("open catalog %s: %w: not a file", path, ErrCorrupt)
	}
	db, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	err = db.bringUp(ctx, write, m)
	if err == nil {
		err = db.reader.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'uuid'`).Scan(&db.uuid)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog %s: %w", path, err), db.Close())
	}
	return db, nil
}

// bringUp checks the schema, opens the writing handle, and migrates what is older.
func (db *DB) bringUp(ctx context.Context, write bool, m migrations) error {
	want, err := m.newest()
	if err != nil {
		return err
	}
	have, err := db.schema(ctx)
	if err != nil {
		return err
	}
	switch {
	case have > want:
		return fmt.Errorf("%w: %d, this program knows %d", ErrNewer, have, want)
	case !write && have < want:
		return fmt.Errorf("it has the older schema %d: any command that writes migrates it to %d", have, want)
	case !write:
		return nil
	}
	if err := db.connectWriter(ctx); err != nil || have == want {
		return err
	}
	unlock, err := lockDir(db.path) // one process migrates, others find it done
	if err != nil {
		return err
	}
	defer unlock()
	if have, err = db.schema(ctx); err != nil || have == want {
		return err
	}
	if err := db.backup(ctx, want); err != nil {
		return err
	}
	return db.migrate(ctx, m)
}

// writerCache: planning and recording many files touches many pages of many indexes in one transaction. With the
// default cache of 2 MiB they spill before the commit, and with a checkpoint each 4 MiB they are written again and
// again. 32 MiB each, of memory outside of Go's heap and of log on disk.
const writerCache = "&_pragma=cache_size(-32768)&_pragma=wal_autocheckpoint(8192)"

// maxReaders is how many queries run at once; a connection costs some memory (its page cache).
const maxReaders = 8

// busyTimeout is how long a query waits for another process's lock, milliseconds.
const busyTimeout = 30_000

// connect opens the reading handles. Pragmas go into the name, so that each connection gets them.
func connect(path string) (*DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db := &DB{path: abs, owners: map[int64]Owner{}, stmts: map[string]*sql.Stmt{}, rowReader: newRowReader(abs)}
	if db.reader, err = sql.Open("sqlite", db.dsn("&_pragma=query_only(1)")); err != nil {
		return nil, err
	}
	db.reader.SetMaxOpenConns(maxReaders)
	db.reader.SetMaxIdleConns(maxReaders)
	if db.side, err = sql.Open("sqlite", db.dsn("&_pragma=query_only(1)")); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.side.SetMaxOpenConns(2) // one of them watches data_version
	return db, nil
}

// dsn names the file for the driver; mode=rw never makes one.
func (db *DB) dsn(more string) string {
	return (&url.URL{Scheme: "file", OmitHost: true, Path: db.path}).String() +
		fmt.Sprintf("?mode=rw&_pragma=busy_timeout(%d)&_pragma=foreign_keys(1)&_pragma=synchronous(2)", busyTimeout) + more
}

// connectWriter opens the one writing connection, and makes the file a WAL file.
func (db *DB) connectWriter(ctx context.Context) error {
	w, err := sql.Open("sqlite", db.dsn("&_pragma=journal_mode(WAL)&_pragma=journal_size_limit(67108864)&_txlock=immediate"+writerCache))
	if err != nil {
		return fmt.Errorf("open for writing: %w", err)
	}
	w.SetMaxOpenConns(1)
	var mode string
	if err := w.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return errors.Join(fmt.Errorf("open for writing: %w", err), w.Close())
	}
	if mode != "wal" {
		return errors.Join(fmt.Errorf("open for writing: its folder's file system cannot hold a WAL file (journal mode %s)", mode), w.Close())
	}
	db.writer = w
	return nil
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
	db.stmtsMu.Lock()
	for _, s := range db.stmts {
		errs = append(errs, s.Close())
	}
	clear(db.stmts)
	db.stmtsMu.Unlock()
	errs = append(errs, db.rowReader.close())
	for _, handle := range []*sql.DB{db.reader, db.side, db.writer} { // the writer last: it checkpoints
		if handle != nil {
			errs = append(errs, handle.Close())
		}
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
		conn, err := db.side.Conn(ctx)
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

// update runs fn in one write transaction.
func (db *DB) update(ctx context.Context, fn func(*sql.Tx) error) error {
	if db.writer == nil {
		return errors.New("catalog was opened for reading")
	}
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", db.explain(err))
	}
	if err := fn(tx); err != nil {
		return errors.Join(db.explain(err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", db.explain(err))
	}
	return nil
}
