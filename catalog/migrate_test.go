package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// nextSchema is the real migrations and one more.
func nextSchema(t *testing.T, text string) migrations {
	t.Helper()
	all, err := fs.Glob(embedded, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	next := fstest.MapFS{fmt.Sprintf("migrations/%04d_next.sql", nextNumber(t)): {Data: []byte("-- +goose Up\n" + text)}}
	for _, name := range all {
		data, err := fs.ReadFile(embedded, name)
		if err != nil {
			t.Fatal(err)
		}
		next[name] = &fstest.MapFile{Data: data}
	}
	return migrations{next}
}

// nextNumber is that of the schema after the newest.
func nextNumber(t *testing.T) int64 {
	t.Helper()
	newest, err := embedded.newest()
	if err != nil {
		t.Fatal(err)
	}
	return newest + 1
}

func newFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catalog.db")
	db, err := Create(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.EnsurePool(context.Background(), "main"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMigration(t *testing.T) {
	ctx := context.Background()
	path := newFile(t)
	next := nextSchema(t, "ALTER TABLE pool ADD COLUMN note TEXT NOT NULL DEFAULT 'new';\n")
	if _, err := open(ctx, path, false, next); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("older schema %d", nextNumber(t)-1)) {
		t.Errorf("an older catalog opened for reading: %v", err)
	}
	// Several processes meet an older catalog at once: each finds it migrated, once.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			db, err := open(ctx, path, true, next)
			if err != nil {
				t.Errorf("migrate: %v", err)
				return
			}
			defer db.Close()
			var note string
			if err := db.reader.QueryRowContext(ctx, `SELECT note FROM pool WHERE name = 'main'`).Scan(&note); err != nil || note != "new" {
				t.Errorf("after the migration: %q, %v", note, err)
			}
		})
	}
	wg.Wait()
	for _, open := range []func(context.Context, string) (*DB, error){Open, OpenReadOnly} {
		if _, err := open(ctx, path); !errors.Is(err, ErrNewer) {
			t.Errorf("a newer catalog: %v", err)
		}
	}
	// The copy is the catalog as it was.
	info, err := os.Stat(fmt.Sprintf("%s.before-%d", path, nextNumber(t)))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode of the copy: %v", info.Mode())
	}
	old, err := OpenReadOnly(ctx, fmt.Sprintf("%s.before-%d", path, nextNumber(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if pools, err := old.Pools(ctx); err != nil || len(pools) != 1 {
		t.Errorf("pools of the copy: %v, %v", pools, err)
	}
}

func TestMigrationThatFails(t *testing.T) {
	ctx := context.Background()
	path := newFile(t)
	bad := nextSchema(t, "ALTER TABLE pool ADD COLUMN note TEXT;\nALTER TABLE no_such_table ADD COLUMN x TEXT;\n")
	if _, err := open(ctx, path, true, bad); err == nil {
		t.Fatal("a broken migration went through")
	}
	db, err := Open(ctx, path) // as it was: the old program still works
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if pools, err := db.Pools(ctx); err != nil || len(pools) != 1 {
		t.Errorf("pools: %v, %v", pools, err)
	}
	var columns int
	if err := db.reader.QueryRowContext(ctx, `SELECT count(*) FROM pragma_table_info('pool') WHERE name = 'note'`).Scan(&columns); err != nil || columns != 0 {
		t.Errorf("half a migration stayed: %d, %v", columns, err)
	}
}

func TestReadingHandlesRefuseWrites(t *testing.T) {
	ctx := context.Background()
	db, err := Open(ctx, newFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, h := range map[string]*sql.DB{"reader": db.reader, "side": db.side} {
		if _, err := h.ExecContext(ctx, `INSERT INTO pool (name) VALUES ('x')`); err == nil {
			t.Errorf("%s wrote", name)
		}
	}
	for name, h := range map[string]*sql.DB{"reader": db.reader, "side": db.side, "writer": db.writer} {
		for pragma, want := range map[string]string{"foreign_keys": "1", "synchronous": "2", "journal_mode": "wal", "busy_timeout": "30000"} {
			var got string
			if err := h.QueryRowContext(ctx, `PRAGMA `+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %s, want %s (%v)", name, pragma, got, want, err)
			}
		}
	}
}

// The queries that run often or over much are answered by an index, in its order.
func TestQueryPlans(t *testing.T) {
	ctx := context.Background()
	db, err := Open(ctx, newFile(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for name, text := range map[string]string{
		"Get": textGet, "Lookup": textLookup, "Children": textChildren, "ChildrenByName": textChildrenByName, "parent": textParent,
		"OwedCopies": textOwedCopies + textOwedOrder, "OwedAlone": textOwedCopies + textAlone + textOwedOrder, "Unmanifested": textUnmanifested, "UnsafeParts": textUnsafeParts, "members": textMembers, "objects": textBatchObjects,
		"release": textReleasable, "PlannedAt": textPlannedAt,
		"is lost": textIsLost, "on tape": textOnTape, "lost in a listing": markLost(textChildren),
		// What SQLite looks for when a row goes that others may refer to.
		"children of a version": `SELECT 1 FROM version WHERE parent = ?`, "changes of a version": `SELECT 1 FROM change WHERE version = ?`,
		"members of a version": `SELECT 1 FROM member WHERE version = ?`, "copies of an object": `SELECT 1 FROM copy WHERE object = ?`,
		"what replaces an object": `SELECT 1 FROM object WHERE replaces = ?`, "links": `SELECT 1 FROM version WHERE data = ?1 AND data <> id`,
	} {
		plan := explain(t, db, text)
		for _, line := range plan {
			if strings.HasPrefix(line, "SCAN") && line != "SCAN CONSTANT ROW" && !strings.Contains(line, "USING INDEX batch_open") && !strings.Contains(line, "USING INDEX copy_part_unsafe") ||
				strings.Contains(line, "TEMP B-TREE") {
				t.Errorf("%s: %s\n\t%s", name, line, strings.Join(plan, "\n\t"))
			}
		}
	}
}

func explain(t *testing.T, db *DB, text string) []string {
	t.Helper()
	args := make([]any, strings.Count(text, "?"))
	if strings.Contains(text, "?1") {
		args = args[:1]
	}
	rows, err := db.reader.Query(`EXPLAIN QUERY PLAN `+text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var id, parent, unused int
		var line string
		if err := rows.Scan(&id, &parent, &unused, &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// The first migration makes the schema of the frozen catalog: it does not change any more, a change
// is another migration.
func TestFirstMigrationIsFrozen(t *testing.T) {
	ctx := context.Background()
	first, err := fs.ReadFile(embedded, "migrations/0001_catalog.sql")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fresh, frozen := filepath.Join(dir, "fresh.db"), filepath.Join(dir, "frozen.db")
	data, err := os.ReadFile("../testdata/catalogs/0001.db")
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{fresh: nil, frozen: data} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := fill(ctx, fresh, migrations{fstest.MapFS{"migrations/0001_catalog.sql": {Data: first}}}); err != nil {
		t.Fatal(err)
	}
	var schemas []map[string]string
	for _, path := range []string{fresh, frozen} {
		db, err := connect(path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows, err := db.reader.QueryContext(ctx, `SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		schema := map[string]string{}
		for rows.Next() {
			var name, text string
			if err := rows.Scan(&name, &text); err != nil {
				t.Fatal(err)
			}
			schema[name] = text
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		schemas = append(schemas, schema)
	}
	if len(schemas[1]) < 20 {
		t.Fatalf("the frozen schema has %d entries", len(schemas[1]))
	}
	if diff := cmp.Diff(schemas[1], schemas[0]); diff != "" {
		t.Errorf("the first migration changed (-frozen +now):\n%s", diff)
	}
}

// schemaBefore is the real migrations with smaller numbers.
func schemaBefore(t *testing.T, number string) migrations {
	t.Helper()
	all, err := fs.Glob(embedded, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	before := fstest.MapFS{}
	for _, name := range all {
		if filepath.Base(name) >= number {
			continue
		}
		data, err := fs.ReadFile(embedded, name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = &fstest.MapFile{Data: data}
	}
	return migrations{before}
}

// catalogBefore makes an empty catalog of the schema before a migration, for a test to fill and close. Open brings the file up to date.
func catalogBefore(t *testing.T, number string) (old *DB, path string) {
	t.Helper()
	ctx := context.Background()
	path = filepath.Join(t.TempDir(), "catalog.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(ctx, path, schemaBefore(t, number)); err != nil {
		t.Fatal(err)
	}
	old, err := connect(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.connectWriter(ctx); err != nil {
		t.Fatal(err)
	}
	return old, path
}

// Copies that counted as durable though no durable manifest names them wait for one; others stay as they are.
func TestUnnamedCopiesAreNotDurableAfterMigration(t *testing.T) {
	ctx := context.Background()
	old, path := catalogBefore(t, "0007")
	for _, text := range []string{
		`INSERT INTO run (id, kind, args, pid, started, state) VALUES (1, 'archive', '[]', 1, 1, 'done')`,
		`INSERT INTO seal_key (id, fingerprint, cipher, iterations, added) VALUES (1, '0123456789abcdef', 'aes-256-ctr', 10000, 1)`,
		`INSERT INTO source (id, name, url, root) VALUES (1, 's', '/s', 1)`,
		`INSERT INTO pool (id, name) VALUES (1, 'main')`,
		`INSERT INTO tape (id, barcode, uuid, pool, state) VALUES (1, 'A', 'a', 1, 'open'), (2, 'F', '', 1, 'foreign')`,
		`INSERT INTO manifest (id, tape, seq, name, mac, previous, upto, state, written) VALUES (1, 1, 1, 'm', x'00', x'00', 0, 2, 1), (2, 1, 2, 'm', x'00', x'00', 0, 3, 1)`,
	} {
		if _, err := old.writer.ExecContext(ctx, text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	want := map[int]CopyState{}
	for id, c := range []struct {
		tape     int
		manifest any
		state    CopyState
	}{{1, 1, Durable}, {1, nil, Written}, {1, 2, Written}, {2, nil, Durable}} {
		id++
		want[id] = c.state
		for _, q := range []struct {
			text string
			args []any
		}{
			{`INSERT INTO object (id, oid, run, source, key, part_size, planned_size, state, created) VALUES (?1, 'o' || ?1, 1, 1, 1, 4194304, 1, 1, 1)`, []any{id}},
			{`INSERT INTO part (object, number, size, sha256, sums) VALUES (?, 0, 1, zeroblob(32), zeroblob(32))`, []any{id}},
			{`INSERT INTO copy (id, object, pool, state, verified) VALUES (?1, ?1, 1, 3, 5)`, []any{id}},
			{`INSERT INTO copy_part (copy, number, tape, name, size, state, manifest) VALUES (?, 0, ?, 'p', 1, 2, ?)`, []any{id, c.tape, c.manifest}},
		} {
			if _, err := old.writer.ExecContext(ctx, q.text, q.args...); err != nil {
				t.Fatalf("%s: %v", q.text, err)
			}
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for id, state := range want {
		copies, err := db.ObjectCopies(ctx, int64(id))
		if err != nil || len(copies) != 1 || copies[0].State != state || copies[0].Verified.IsZero() != (state != Durable) {
			t.Errorf("copy %d: %+v, want state %d (%v)", id, copies, state, err)
		}
	}
}

// Of tapes that were suspect already it is known since when, at the latest, and whether damage was found on them; no other is touched.
func TestSuspectTapesAfterMigration(t *testing.T) {
	ctx := context.Background()
	old, path := catalogBefore(t, "0010")
	_, err := old.writer.ExecContext(ctx, `INSERT INTO tape (barcode, uuid, state, note) VALUES ('A', 'a', 'open', ''),
		('B', 'b', 'suspect', 'sync volume b: index was not proved to be on tape'), ('C', 'c', 'suspect', 'damage found on 2026-01-02: another sum')`)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tapes, err := db.Tapes(ctx)
	if err != nil || len(tapes) != 3 {
		t.Fatalf("%d tapes, %v", len(tapes), err)
	}
	for i, want := range []struct{ suspect, damaged bool }{{false, false}, {true, false}, {true, true}} {
		if tapes[i].Suspected.IsZero() == want.suspect || tapes[i].FoundDamaged != want.damaged || tapes[i].Was != "" {
			t.Errorf("tape %s: %+v", tapes[i].Barcode, tapes[i])
		}
	}
	if ended, err := db.EndSuspicions(ctx); err != nil || len(ended) != 0 {
		t.Errorf("taken out of suspicion unread: %+v, %v", ended, err)
	}
	if _, was, err := db.TrustTape(ctx, tapes[1].ID); err != nil || was != TapeSuspect {
		t.Errorf("was %q, %v", was, err)
	}
	if b, err := db.TapeByBarcode(ctx, "B"); err != nil || b.State != TapeOpen || !b.Suspected.IsZero() || b.Note != "" {
		t.Errorf("trusted: %+v, %v", b, err)
	}
}
