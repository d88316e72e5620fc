package tapebackup

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const schema = `PRAGMA page_size = 512;
CREATE TABLE config (name, value);
CREATE TABLE tape (id INTEGER PRIMARY KEY, label);
CREATE TABLE file (id INTEGER PRIMARY KEY, duplicate_id, path, filename_encrypted, mtime, filesize, filesize_encrypted, md5sum_encrypted, tape_id,
	downloaded_date, encrypted_date, written_date, written, deleted);
INSERT INTO config VALUES ('version', '1');
INSERT INTO tape VALUES (1, 'VT0001L8'), (2, '../etc');`

// database makes a database with these rows, and returns its bytes.
func database(f *testing.F, rows string) []byte {
	f.Helper()
	name := filepath.Join(f.TempDir(), "tapebackup.db")
	db, err := sql.Open("sqlite", name)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := db.Exec(schema + rows); err != nil {
		f.Fatal(err)
	}
	if err := db.Close(); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// FuzzFiles: a database that anybody may have written is read or refused, and what is taken as readable leads nowhere else.
func FuzzFiles(f *testing.F) {
	good := `INSERT INTO file VALUES (1, NULL, 'photos/a.raw', '` + strings.Repeat("a", 64) + `.enc', '2015-03-04 05:06:07.5', 5, 32, '` + strings.Repeat("00", 16) + `', 1, NULL, NULL, NULL, 1, 0);`
	f.Add(database(f, good))
	f.Add(database(f, good+`INSERT INTO file VALUES (2, 1, 'b', NULL, NULL, 5, NULL, NULL, NULL, '2015-03-04 05:06:07', NULL, NULL, 0, 1), (3, 3, 'c', NULL, 'x', -5, 'x', x'ff', 9, 1, 2, 3, 'y', 'n');`))
	f.Add(database(f, good+`INSERT INTO file VALUES (4, 5, '../../etc/passwd', '../x', 99999999999, 9223372036854775807, 1.5, 'zz', 2, NULL, NULL, NULL, 1, 0), (5, 4, x'00ff', 'x', '9999-99-99', 1e300, 16, '', 1, NULL, NULL, NULL, 1, 0);`))
	f.Add([]byte("SQLite format 3\x00"))
	name := filepath.Join(f.TempDir(), "fuzz.db")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		db, err := Open(ctx, name, time.UTC)
		if err != nil {
			return
		}
		defer db.Close()
		_ = db.Files(ctx, func(file *File) error {
			for _, part := range file.Path {
				if part == "" || part == "." || part == ".." || strings.ContainsAny(part, "/\x00") || len(part) > 255 {
					t.Fatalf("path %q", file.Path)
				}
			}
			if !sealedName().MatchString(file.Name) || !tapeLabel().MatchString(file.Tape) || len(file.MD5) != 16 || file.Size < 0 || file.SealedSize != SealedSize(file.Size) {
				t.Fatalf("%+v", file)
			}
			return nil
		}, func(u Unreadable) error {
			if u.Reason == "" || len(u.Reason) > 1000 {
				t.Fatalf("row %d: %q", u.Row, u.Reason)
			}
			return nil
		})
		if ctx.Err() != nil {
			t.Fatal("it takes for ever")
		}
	})
}
