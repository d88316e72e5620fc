// Package tapebackup reads the SQLite database of the Python program tapebackup, schema version 1, and says
// of each file whether tapefs can read it from its tape. It changes nothing and imports nothing of tapefs.
package tapebackup

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

// ErrSchema: the file is no database of tapebackup, or of another version.
var ErrSchema = errors.New("not a tapebackup database of schema version 1")

// Iterations of PBKDF2 that tapebackup told openssl to use, with aes-256-cbc.
const Iterations = 100_000

const schemaVersion = "1"

// File is a row that can be read from its tape.
type File struct {
	Row     int64
	Path    []string // its parts, from the top
	Size    int64    // plain bytes
	MTime   time.Time
	Deleted bool // at the source

	// Where the bytes are; for a duplicate, those of the row that has them.
	Name       string // of the sealed file, at the top of the volume
	SealedSize int64
	MD5        []byte // 16 bytes, of the sealed file
	Tape       string // label
	Duplicate  bool
}

// ID names the sealed file for ever: the same row of the same database gives the same.
func (f *File) ID() string {
	sum := sha256.Sum256([]byte("tapebackup\n" + f.Tape + "\n" + f.Name))
	return strings.Repeat("0", 12) + hex.EncodeToString(sum[:10])
}

// Unreadable is a row that cannot be read, and why.
type Unreadable struct {
	Row    int64
	Path   string
	Reason string
}

// DB is an open database. Close it.
type DB struct {
	db *sql.DB
	in *time.Location
}

// Open opens a database for reading. Times in it are local ones, of the zone in.
func Open(ctx context.Context, path string, in *time.Location) (*DB, error) {
	h, err := sql.Open("sqlite", (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String()+"?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	var version sql.NullString
	err = h.QueryRowContext(ctx, `SELECT CAST(value AS TEXT) FROM config WHERE name = 'version'`).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = fmt.Errorf("%w: it names no version", ErrSchema)
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrSchema, err)
	case version.String != schemaVersion:
		err = fmt.Errorf("%w: it has version %q", ErrSchema, version.String)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), h.Close())
	}
	return &DB{h, in}, nil
}

// Close closes the database.
func (d *DB) Close() error { return d.db.Close() }

// Names and labels are what the program made them, and nothing that could lead elsewhere.
var (
	sealedName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9]{64}(\.enc)?$`) })
	tapeLabel  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z0-9]{1,32}$`) })
	generation = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[LM]([0-9])$`) })
)

// Generation is the LTO generation that a label's end names; 0: none.
func Generation(label string) int {
	m := generation().FindStringSubmatch(label)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // one digit
	return n
}

// firstLTFS is the first LTO generation with two partitions, as LTFS needs them.
const firstLTFS = 5

const columns = `SELECT f.id, coalesce(f.duplicate_id, 0), CAST(f.path AS BLOB),
	coalesce(CAST(f.mtime AS TEXT), ''), coalesce(CAST(f.downloaded_date AS TEXT), CAST(f.encrypted_date AS TEXT), CAST(f.written_date AS TEXT), ''), coalesce(f.filesize, -1),
	coalesce(f.filesize_encrypted, -1), coalesce(CAST(f.md5sum_encrypted AS TEXT), ''), coalesce(CAST(f.filename_encrypted AS TEXT), ''),
	coalesce(CAST(t.label AS TEXT), ''), coalesce(f.written + 0, 0), coalesce(f.deleted + 0, 0) FROM file f LEFT JOIN tape t ON t.id = f.tape_id`

type row struct {
	File
	duplicate int64
	path      string
	mtime     string
	handled   string // when tapebackup first handled it
	md5       string
	written   bool
}

func scan(s interface{ Scan(...any) error }) (r row, err error) {
	var path []byte
	err = s.Scan(&r.Row, &r.duplicate, &path, &r.mtime, &r.handled, &r.Size, &r.SealedSize, &r.md5, &r.Name, &r.Tape, &r.written, &r.Deleted)
	r.path = string(path)
	return r, err
}

// Files calls readable for each file that can be read from its tape and other for each that cannot: first for
// rows that have bytes of their own, then for duplicates; each time in order of path. An error of a function ends it.
func (d *DB) Files(ctx context.Context, readable func(*File) error, other func(Unreadable) error) error {
	for _, where := range []string{`f.duplicate_id IS NULL`, `f.duplicate_id IS NOT NULL`} {
		if err := d.files(ctx, where, readable, other); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) files(ctx context.Context, where string, readable func(*File) error, other func(Unreadable) error) error {
	rows, err := d.db.QueryContext(ctx, columns+` WHERE `+where+` ORDER BY f.path, f.id`)
	if err != nil {
		return fmt.Errorf("read files: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return fmt.Errorf("read files: %w", err)
		}
		reason, err := d.judge(ctx, &r)
		if err != nil {
			return err
		}
		if reason != "" {
			err = other(Unreadable{r.Row, r.path, reason})
		} else {
			err = readable(&r.File)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

// judge fills what follows from a row, and says why it cannot be read, if so.
func (d *DB) judge(ctx context.Context, r *row) (reason string, err error) {
	if reason = r.splitPath(); reason != "" {
		return reason, nil
	}
	from := *r
	seen := map[int64]bool{r.Row: true}
	for from.duplicate != 0 {
		next := from.duplicate
		if seen[next] {
			return fmt.Sprintf("it is a duplicate of row %d, and the chain of duplicates leads back to that: none has bytes", next), nil
		}
		seen[next] = true
		from, err = scan(d.db.QueryRowContext(ctx, columns+` WHERE f.id = ?`, next))
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Sprintf("it is a duplicate of row %d, which is not there", next), nil
		}
		if err != nil {
			return "", fmt.Errorf("read row %d: %w", next, err)
		}
		// A row that only names another one has its path, and often nothing else.
		if r.Size < 0 {
			r.Size = from.Size
		}
		if r.mtime == "" {
			r.mtime = from.mtime
		}
		if r.handled == "" {
			r.handled = from.handled
		}
	}
	if reason = r.own(d.in); reason != "" {
		return reason, nil
	}
	reason = from.bytes()
	if from.Row != r.Row {
		r.Duplicate = true
		if reason == "" && from.Size != r.Size {
			reason = fmt.Sprintf("it has %d bytes, not %d", from.Size, r.Size)
		}
		if reason != "" {
			return fmt.Sprintf("its bytes are those of row %d: %s", from.Row, reason), nil
		}
	}
	r.Name, r.SealedSize, r.MD5, r.Tape = from.Name, from.SealedSize, from.MD5, from.Tape
	return reason, nil
}

// splitPath checks the path.
func (r *row) splitPath() string {
	for part := range strings.SplitSeq(strings.Trim(r.path, "/"), "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) || len(part) > 255 {
			return "its path is not one that a file can have here"
		}
		r.Path = append(r.Path, part)
	}
	return ""
}

// own checks size and time. Without a time of its own a file gets that at which tapebackup handled it, or none: 1970.
func (r *row) own(in *time.Location) string {
	if r.Size < 0 {
		return "the database has no size of it"
	}
	if r.mtime == "" {
		r.MTime = time.Unix(0, 0).UTC()
		if t, ok := parseTime(r.handled, in); ok {
			r.MTime = t
		}
		return ""
	}
	t, ok := parseTime(r.mtime, in)
	if !ok {
		return fmt.Sprintf("its modification time %.40q is none", r.mtime)
	}
	r.MTime = t
	return ""
}

// parseTime reads a time as SQLAlchemy and SQLite write it.
func parseTime(text string, in *time.Location) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", time.RFC3339} { // each takes a fraction of a second
		if t, err := time.ParseInLocation(layout, text, in); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// bytes checks where a row's bytes are.
func (r *row) bytes() string {
	sum, err := hex.DecodeString(r.md5)
	switch {
	case !r.written:
		return "it was never written to a tape"
	case r.Tape == "":
		return "the database names no tape that it was written to"
	case !tapeLabel().MatchString(r.Tape):
		return fmt.Sprintf("its tape's label %.40q is none", r.Tape)
	case Generation(r.Tape) > 0 && Generation(r.Tape) < firstLTFS:
		return fmt.Sprintf("tape %s is LTO-%d, which has no LTFS: tapebackup wrote it as plain tar", r.Tape, Generation(r.Tape))
	case !sealedName().MatchString(r.Name):
		return "its name on tape is not one that tapebackup gives"
	case err != nil || len(sum) != 16:
		return "the database has no MD5 of its sealed bytes: nothing would prove them"
	case r.SealedSize != SealedSize(r.Size):
		return fmt.Sprintf("%d bytes sealed cannot be %d plain ones", r.SealedSize, r.Size)
	}
	r.MD5, r.Name = sum, strings.TrimSuffix(r.Name, ".enc")+".enc"
	return ""
}

// SealedSize is what openssl enc -aes-256-cbc makes of plain bytes: a header of 16, and padding to whole blocks.
func SealedSize(plain int64) int64 { return 16 + 16*(plain/16+1) }
