package catalog

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrDiskFull: the file system of the catalog has no room, not even for reading: SQLite maps a file of 32 KiB
// beside the catalog that tells where its log is. Nothing in the catalog is damaged by that.
var ErrDiskFull = errors.New("the disk of the catalog is full")

// ErrCorrupt: the catalog's file is damaged, or no catalog at all.
var ErrCorrupt = errors.New("the catalog is damaged")

// IsCorrupt reports whether an error says that the catalog's file is damaged, or holds no catalog.
func IsCorrupt(err error) bool {
	var e *sqlite.Error
	return errors.Is(err, ErrCorrupt) || errors.As(err, &e) && corruptCode(e.Code())
}

func corruptCode(code int) bool {
	code &= primaryCode
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

// scarce is what SQLite may need at once, bytes: that file, and a page of the log.
const scarce = 64 << 10

// primaryCode cuts what SQLite adds to an error code.
const primaryCode = 0xff

// explain says of an error of SQLite that the disk is full, if that is why.
func (db *DB) explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) || errors.Is(err, ErrDiskFull) {
		return err
	}
	switch e.Code() & primaryCode {
	case sqlite3.SQLITE_FULL:
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		var st unix.Statfs_t
		if unix.Statfs(filepath.Dir(db.path), &st) != nil || int64(st.Bavail)*st.Bsize >= scarce {
			return err
		}
	default:
		return err
	}
	return fmt.Errorf("%w: %w", ErrDiskFull, err)
}

// foreign tells an error of SQLite that says what is in a file, not that it could not be read.
func foreign(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return true
	}
	code := e.Code() & primaryCode
	return code == sqlite3.SQLITE_ERROR || code == sqlite3.SQLITE_NOTADB
}
