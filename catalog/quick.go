package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"modernc.org/libc"
	sqlite "modernc.org/sqlite/lib"
)

// quick answers queries over versionColumns below database/sql, which takes longer for a row than SQLite and
// the kernel together. It has connections of its own to the same file, opened when they are first used, that
// can write nothing. A query is one statement, so it sees one state of the catalog, as with the reading
// handle. This file is the only one that knows SQLite's C functions.
type quick struct {
	path string
	busy chan struct{} // one element for each connection in use
	done chan struct{} // closed by close

	mu     sync.Mutex // guards the fields below
	idle   []*quickConn
	closed bool

	watchMu     sync.Mutex // guards the fields below
	watch       *quickConn // asks whether the catalog changed; nil until then
	watchClosed bool
}

// quickConn is a connection. One goroutine at a time uses it.
type quickConn struct {
	tls   *libc.TLS
	db    uintptr            // sqlite3 *
	stmts map[string]uintptr // sqlite3_stmt *, by text
}

var errQuickClosed = errors.New("catalog is closed")

func newQuick(path string) *quick {
	return &quick{path: path, busy: make(chan struct{}, maxReaders), done: make(chan struct{})}
}

// each is DB.eachVersion on one of these connections.
func (q *quick) each(ctx context.Context, db *DB, fn func(*Version) error, text string, args ...any) error {
	return q.rows(ctx, db, func(_ *quickConn, _ uintptr, v *Version) error { return fn(v) }, text, args...)
}

// eachAnd is each for a query that has a number behind versionColumns.
func (q *quick) eachAnd(ctx context.Context, db *DB, fn func(v *Version, and int64) error, text string, args ...any) error {
	return q.rows(ctx, db, func(c *quickConn, stmt uintptr, v *Version) error {
		return fn(v, sqlite.Xsqlite3_column_int64(c.tls, stmt, versionColumnCount))
	}, text, args...)
}

func (q *quick) rows(ctx context.Context, db *DB, fn func(c *quickConn, stmt uintptr, v *Version) error, text string, args ...any) error {
	c, err := q.take(ctx)
	if err != nil {
		return err
	}
	sound := false // after a failure, or a panic in fn, the connection is not used again
	defer func() { q.put(c, sound) }()
	stmt, err := c.prepared(text)
	if err != nil {
		return err
	}
	bound, err := c.bind(stmt, args)
	defer func() {
		sqlite.Xsqlite3_reset(c.tls, stmt) // ends the read transaction; says again what step said
		sqlite.Xsqlite3_clear_bindings(c.tls, stmt)
		for _, p := range bound {
			libc.Xfree(c.tls, p)
		}
	}()
	if err != nil {
		return err
	}
	var row versionRow
	for {
		if err := ctx.Err(); err != nil {
			sound = true
			return err
		}
		switch rc := sqlite.Xsqlite3_step(c.tls, stmt); rc {
		case sqlite.SQLITE_ROW:
		case sqlite.SQLITE_DONE:
			sound = true
			return nil
		default:
			return c.failed(rc)
		}
		c.scan(stmt, &row)
		err := row.fill(ctx, db)
		if err == nil {
			err = fn(c, stmt, &row.v)
		}
		if err != nil {
			sound = true
			return err
		}
	}
}

// take waits for a connection.
func (q *quick) take(ctx context.Context) (*quickConn, error) {
	select {
	case <-q.done:
		return nil, errQuickClosed
	default:
	}
	select {
	case q.busy <- struct{}{}:
	case <-q.done:
		return nil, errQuickClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	q.mu.Lock()
	if n := len(q.idle); n > 0 {
		c := q.idle[n-1]
		q.idle = q.idle[:n-1]
		q.mu.Unlock()
		return c, nil
	}
	q.mu.Unlock()
	c, err := openQuick(q.path)
	if err != nil {
		<-q.busy
		return nil, err
	}
	return c, nil
}

// put gives a connection back.
func (q *quick) put(c *quickConn, sound bool) {
	if sound {
		q.mu.Lock()
		q.idle = append(q.idle, c)
		q.mu.Unlock()
	} else {
		c.close()
	}
	<-q.busy
}

// close waits for queries under way and closes all connections; again it does nothing.
func (q *quick) close() error {
	q.mu.Lock()
	closed := q.closed
	q.closed = true
	q.mu.Unlock()
	if closed {
		return nil
	}
	close(q.done)
	for range cap(q.busy) {
		q.busy <- struct{}{}
	}
	errs := []error{q.closeWatch()}
	for _, c := range q.idle {
		errs = append(errs, c.close())
	}
	q.idle = nil
	return errors.Join(errs...)
}

// openQuick connects. The file is opened as the other reading handles do it: a log that a killed process left is
// brought in by whoever comes first, also a reader, so it cannot be opened read-only; query_only refuses to write.
func openQuick(path string) (*quickConn, error) {
	c := &quickConn{tls: libc.NewTLS(), stmts: map[string]uintptr{}}
	name, err := libc.CString(path)
	if err != nil {
		c.tls.Close()
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	defer libc.Xfree(c.tls, name)
	const size = bits.UintSize / 8
	handle := c.tls.Alloc(size)
	rc := sqlite.Xsqlite3_open_v2(c.tls, name, handle, sqlite.SQLITE_OPEN_READWRITE|sqlite.SQLITE_OPEN_NOMUTEX, 0)
	c.db = pointerAt(handle)
	c.tls.Free(size)
	if rc == sqlite.SQLITE_OK {
		rc = sqlite.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	}
	if rc == sqlite.SQLITE_OK {
		rc = sqlite.Xsqlite3_busy_timeout(c.tls, c.db, busyTimeout)
	}
	if rc == sqlite.SQLITE_OK {
		// A plan does not depend on the values: else each new one would have the statement prepared again.
		on := libc.NewVaList(int32(1), uintptr(0))
		rc = sqlite.Xsqlite3_db_config(c.tls, c.db, sqlite.SQLITE_DBCONFIG_ENABLE_QPSG, on)
		libc.Xfree(c.tls, on)
	}
	if rc != sqlite.SQLITE_OK {
		return nil, errors.Join(fmt.Errorf("open catalog: %w", c.failed(rc)), c.close())
	}
	stmt, err := c.prepared(`PRAGMA query_only(1)`)
	if err == nil {
		if rc := sqlite.Xsqlite3_step(c.tls, stmt); rc != sqlite.SQLITE_DONE && rc != sqlite.SQLITE_ROW {
			err = c.failed(rc)
		}
		sqlite.Xsqlite3_reset(c.tls, stmt)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog: %w", err), c.close())
	}
	return c, nil
}

// pointerAt reads a C pointer.
func pointerAt(p uintptr) uintptr {
	if bits.UintSize == 32 {
		return uintptr(binary.NativeEndian.Uint32(libc.GoBytes(p, 4)))
	}
	return uintptr(binary.NativeEndian.Uint64(libc.GoBytes(p, 8)))
}

func (c *quickConn) close() error {
	for _, stmt := range c.stmts {
		sqlite.Xsqlite3_finalize(c.tls, stmt)
	}
	clear(c.stmts)
	var err error
	if c.db != 0 {
		if rc := sqlite.Xsqlite3_close(c.tls, c.db); rc != sqlite.SQLITE_OK {
			err = fmt.Errorf("close catalog: %w", c.failed(rc))
		}
		c.db = 0
	}
	c.tls.Close()
	return err
}

// failed is the error of the connection's last call.
func (c *quickConn) failed(rc int32) error {
	text := libc.GoString(sqlite.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 && sqlite.Xsqlite3_extended_errcode(c.tls, c.db) == rc {
		if more := libc.GoString(sqlite.Xsqlite3_errmsg(c.tls, c.db)); more != text {
			text += ": " + more
		}
	}
	if corruptCode(int(rc)) {
		return fmt.Errorf("%w: %s (%d)", ErrCorrupt, text, rc)
	}
	return fmt.Errorf("%s (%d)", text, rc)
}

// prepared returns a statement, prepared once. Texts are constants.
func (c *quickConn) prepared(text string) (uintptr, error) {
	if stmt, ok := c.stmts[text]; ok {
		return stmt, nil
	}
	sql, err := libc.CString(text)
	if err != nil {
		return 0, err
	}
	defer libc.Xfree(c.tls, sql)
	const size = bits.UintSize / 8
	handle := c.tls.Alloc(size)
	defer c.tls.Free(size)
	if rc := sqlite.Xsqlite3_prepare_v3(c.tls, c.db, sql, -1, sqlite.SQLITE_PREPARE_PERSISTENT, handle, 0); rc != sqlite.SQLITE_OK {
		return 0, c.failed(rc)
	}
	stmt := pointerAt(handle)
	c.stmts[text] = stmt
	return stmt, nil
}

// bind gives a statement its parameters. What it returns is freed after the statement forgot them.
func (c *quickConn) bind(stmt uintptr, args []any) (bound []uintptr, err error) {
	for i, arg := range args {
		at, rc := int32(i+1), int32(sqlite.SQLITE_OK)
		switch a := arg.(type) {
		case ID:
			rc = sqlite.Xsqlite3_bind_int64(c.tls, stmt, at, int64(a))
		case int64:
			rc = sqlite.Xsqlite3_bind_int64(c.tls, stmt, at, a)
		case int:
			rc = sqlite.Xsqlite3_bind_int64(c.tls, stmt, at, int64(a))
		case []byte:
			p, err := libc.CString(string(a))
			if err != nil {
				return bound, err
			}
			bound = append(bound, p)
			const static = 0 // SQLITE_STATIC: it stays where it is while it is bound
			rc = sqlite.Xsqlite3_bind_blob(c.tls, stmt, at, p, int32(len(a)), static)
		default:
			return bound, fmt.Errorf("parameter %d has type %T", i+1, arg)
		}
		if rc != sqlite.SQLITE_OK {
			return bound, c.failed(rc)
		}
	}
	return bound, nil
}

// scan reads a row of versionColumns. Its bytes are SQLite's, and good until the next step.
func (c *quickConn) scan(stmt uintptr, r *versionRow) {
	number := func(i int32) int64 { return sqlite.Xsqlite3_column_int64(c.tls, stmt, i) }
	r.id, r.parent, r.name, r.kind, r.mode = number(0), number(1), c.blob(stmt, 2), number(3), number(4)
	r.owner, r.size, r.sec, r.nsec, r.inode = number(5), number(6), number(7), number(8), number(9)
	r.nlink, r.data, r.target, r.sum, r.state = number(10), number(11), c.blob(stmt, 12), c.blob(stmt, 13), number(14)
	r.current, r.since, r.until, r.vanished = number(15), number(16), number(17), number(18)
	r.batch = nil
	if n := number(19); n != 0 {
		r.batch = n
	}
	r.ctime, r.ino, r.grew = nil, nil, number(22)
	if n := number(20); n != 0 {
		r.ctime = n
	}
	if n := number(21); n != 0 {
		r.ino = n
	}
}

func (c *quickConn) blob(stmt uintptr, i int32) []byte {
	p := sqlite.Xsqlite3_column_blob(c.tls, stmt, i)
	if p == 0 {
		return nil
	}
	return libc.GoBytes(p, int(sqlite.Xsqlite3_column_bytes(c.tls, stmt, i)))
}
