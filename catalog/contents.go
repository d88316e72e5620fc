package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// OlderVersions counts the versions of a path that its current one took the place of, planned and forgotten ones left out.
func (db *DB) OlderVersions(ctx context.Context, parent ID, name string) (n int, err error) {
	stmt, err := db.prepared(ctx, textOlderVersions)
	if err == nil {
		err = stmt.QueryRowContext(ctx, parent, []byte(name)).Scan(&n)
	}
	if err != nil {
		return 0, fmt.Errorf("count versions of %q: %w", name, err)
	}
	return n, nil
}

const textOlderVersions = `SELECT count(*) FROM version v INDEXED BY version_past WHERE v.parent = ? AND v.name = ? AND v.current = 0
	AND v.state IN (` + sqlPresent + `, ` + sqlVoid + `) AND v.id <> 1`

// TapeContents is what the rows of a tape's parts tell of it.
type TapeContents struct {
	First, Last time.Time // when the first and the last of them were written; zero: not known, as after a rebuild
	Keys        []string  // fingerprints of the keys that open them, sorted
}

// TapeContents tells of what was written to a tape and may still be read there.
func (db *DB) TapeContents(ctx context.Context, tape int64) (c TapeContents, err error) {
	var first, last int64
	const readable = `p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `, ` + sqlPartDamaged + `)`
	err = db.reader.QueryRowContext(ctx, `SELECT coalesce(min(nullif(p.written, 0)), 0), coalesce(max(p.written), 0) FROM copy_part p
		WHERE p.tape = ? AND `+readable, tape).Scan(&first, &last)
	if err != nil {
		return c, fmt.Errorf("look when tape %d was written: %w", tape, err)
	}
	c.First, c.Last = timeOf(first), timeOf(last)
	c.Keys, err = query(ctx, db.reader, "keys of a tape", func(rows *sql.Rows) (f string, err error) { return f, rows.Scan(&f) },
		`SELECT DISTINCT k.fingerprint FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object JOIN seal_key k ON k.id = o.key
			WHERE p.tape = ? AND `+readable+` ORDER BY 1`, tape)
	if c.Keys == nil {
		c.Keys = []string{}
	}
	return c, err
}
