package catalog

import (
	"errors"
	"fmt"
	"io/fs"
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

// explain says of an error of SQLite that the disk is full or that the catalog cannot be written, if that is why.
func (db *DB) explain(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) || errors.Is(err, ErrDiskFull) {
		return err
	}
	code := e.Code() & primaryCode
	switch code {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
	default:
		return err
	}
	dir := filepath.Dir(db.path)
	var st unix.Statfs_t
	if code != sqlite3.SQLITE_READONLY && unix.Statfs(dir, &st) == nil && int64(st.Bavail)*st.Bsize < scarce && st.Flags&unix.ST_RDONLY == 0 {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	for _, path := range []string{dir, db.path, db.path + "-wal", db.path + "-shm"} {
		if why := unix.Access(path, unix.W_OK); why != nil && !errors.Is(why, unix.ENOENT) {
			return fmt.Errorf("the catalog cannot be written: %w: %w", &fs.PathError{Op: "write", Path: path, Err: why}, err)
		}
	}
	return err
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
