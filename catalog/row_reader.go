package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
)

// rowReader runs queries over versionColumns on SQLite itself: what database/sql spends on a row is more than what SQLite
// and the kernel spend on it together. It has connections of its own to the same file, which can write nothing and are
// opened when they are first needed. A query is one statement, so it sees one state of the catalog, as with the reading
// handle.
type rowReader struct {
	path string
	busy chan struct{} // one element for each connection in use
	done chan struct{} // closed by close

	mu     sync.Mutex // guards the fields below
	idle   []*sqlite.Conn
	closed bool

	watchMu     sync.Mutex   // guards the fields below
	watch       *sqlite.Conn // for stamp; nil until then
	watchClosed bool
}

var errRowReaderClosed = errors.New("catalog is closed")

func newRowReader(path string) *rowReader {
	return &rowReader{path: path, busy: make(chan struct{}, maxReaders), done: make(chan struct{})}
}

// each is DB.eachVersion on one of these connections. Texts are constants: each connection keeps what it has prepared.
func (r *rowReader) each(ctx context.Context, db *DB, fn func(*Version) error, text string, args ...any) error {
	return r.rows(ctx, db, func(_ *sqlite.Stmt, v *Version) error { return fn(v) }, text, args...)
}

// eachAnd is each for a query that has a number behind versionColumns.
func (r *rowReader) eachAnd(ctx context.Context, db *DB, fn func(v *Version, and int64) error, text string, args ...any) error {
	return r.rows(ctx, db, func(stmt *sqlite.Stmt, v *Version) error { return fn(v, stmt.ColumnInt64(versionColumnCount)) }, text, args...)
}

func (r *rowReader) rows(ctx context.Context, db *DB, fn func(stmt *sqlite.Stmt, v *Version) error, text string, args ...any) error {
	conn, err := r.take(ctx)
	if err != nil {
		return err
	}
	sound := false // after a failure, or a panic in fn, the connection is not used again
	defer func() { r.put(conn, sound) }()
	stmt, err := conn.Prepare(text)
	if err != nil {
		return readError(err)
	}
	defer stmt.Reset() // ends the read transaction; what it returns is what Step returned
	if err := bind(stmt, args); err != nil {
		return err
	}
	var row versionRow
	for {
		if err := ctx.Err(); err != nil {
			sound = true
			return err
		}
		more, err := stmt.Step()
		if err != nil {
			return readError(err)
		}
		if !more {
			sound = true
			return nil
		}
		row.read(stmt)
		err = row.fill(ctx, db)
		if err == nil {
			err = fn(stmt, &row.v)
		}
		if err != nil {
			sound = true
			return err
		}
	}
}

// take waits for a connection.
func (r *rowReader) take(ctx context.Context) (*sqlite.Conn, error) {
	select {
	case <-r.done:
		return nil, errRowReaderClosed
	default:
	}
	select {
	case r.busy <- struct{}{}:
	case <-r.done:
		return nil, errRowReaderClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	if n := len(r.idle); n > 0 {
		conn := r.idle[n-1]
		r.idle = r.idle[:n-1]
		r.mu.Unlock()
		return conn, nil
	}
	r.mu.Unlock()
	conn, err := openReading(r.path)
	if err != nil {
		<-r.busy
		return nil, fmt.Errorf("open catalog: %w", readError(err))
	}
	return conn, nil
}

// put makes a connection available again, or closes it when it is not sound.
func (r *rowReader) put(conn *sqlite.Conn, sound bool) {
	if sound {
		r.mu.Lock()
		r.idle = append(r.idle, conn)
		r.mu.Unlock()
	} else {
		conn.Close()
	}
	<-r.busy
}

// close waits for queries under way and closes all connections. Closing again does nothing.
func (r *rowReader) close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	close(r.done)
	for range cap(r.busy) {
		r.busy <- struct{}{}
	}
	errs := []error{r.closeWatch()}
	for _, conn := range r.idle {
		if err := conn.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close catalog: %w", err))
		}
	}
	r.idle = nil
	return errors.Join(errs...)
}

// stamp is a number that changes when any other connection changes the catalog, of this process or another one.
func (r *rowReader) stamp() (int64, error) {
	r.watchMu.Lock()
	defer r.watchMu.Unlock()
	if r.watchClosed {
		return 0, errRowReaderClosed
	}
	if r.watch == nil {
		conn, err := openReading(r.path)
		if err != nil {
			return 0, fmt.Errorf("open catalog: %w", readError(err))
		}
		r.watch = conn
	}
	stmt, err := r.watch.Prepare(`PRAGMA data_version`)
	if err != nil {
		return 0, readError(err)
	}
	defer stmt.Reset()
	if _, err := stmt.Step(); err != nil {
		return 0, readError(err)
	}
	return stmt.ColumnInt64(0), nil
}

func (r *rowReader) closeWatch() error {
	r.watchMu.Lock()
	defer r.watchMu.Unlock()
	r.watchClosed = true
	if r.watch == nil {
		return nil
	}
	conn := r.watch
	r.watch = nil
	return conn.Close()
}

// openReading connects. The file is opened as the other reading handles open it: whoever comes first takes in a log that a
// killed process left, and a reader may be the first, so the file cannot be opened read-only; query_only refuses to write.
func openReading(path string) (*sqlite.Conn, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTimeout * time.Millisecond)
	stmt, _, err := conn.PrepareTransient(`PRAGMA query_only(1)`)
	if err == nil {
		_, err = stmt.Step()
		err = errors.Join(err, stmt.Finalize())
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// readError says of an error of SQLite that the catalog is corrupt, if it is.
func readError(err error) error {
	if corruptCode(int(sqlite.ErrCode(err))) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// bind sets a statement's parameters.
func bind(stmt *sqlite.Stmt, args []any) error {
	for i, arg := range args {
		switch a := arg.(type) {
		case ID:
			stmt.BindInt64(i+1, int64(a))
		case int64:
			stmt.BindInt64(i+1, a)
		case int:
			stmt.BindInt64(i+1, int64(a))
		case []byte:
			stmt.BindBytes(i+1, a)
		default:
			return fmt.Errorf("parameter %d has type %T", i+1, arg)
		}
	}
	return nil
}

// read takes a row of versionColumns from a statement.
func (r *versionRow) read(stmt *sqlite.Stmt) {
	number := func(i int) int64 { return stmt.ColumnInt64(i) }
	r.id, r.parent, r.name, r.kind, r.mode = number(0), number(1), blob(stmt, 2), number(3), number(4)
	r.owner, r.size, r.sec, r.nsec, r.inode = number(5), number(6), number(7), number(8), number(9)
	r.nlink, r.data, r.target, r.sum, r.state = number(10), number(11), blob(stmt, 12), blob(stmt, 13), number(14)
	r.current, r.since, r.until, r.vanished = number(15), number(16), number(17), number(18)
	r.batch = nil
	if n := number(19); n != 0 {
		r.batch = n
	}
	r.ctime, r.ino, r.grew, r.removed = nil, nil, number(22), number(23)
	if n := number(20); n != 0 {
		r.ctime = n
	}
	if n := number(21); n != 0 {
		r.ino = n
	}
}

func blob(stmt *sqlite.Stmt, i int) []byte {
	n := stmt.ColumnLen(i)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	stmt.ColumnBytes(i, b)
	return b
}
