package catalog

import (
	"context"
	"testing"
)

// Receipts of a catalog whose program did not journal them keep their files from counting as vanished at once, and are told once.
func TestReceiptsAfterMigration(t *testing.T) {
	ctx := context.Background()
	old, path := catalogBefore(t, "0020")
	for _, text := range []string{
		`INSERT INTO owner (id, uid, gid, uname, gname) VALUES (70, 77, 77, x'', x'')`,
		`INSERT INTO run (id, kind, args, pid, started, state) VALUES (1, 'archive', '[]', 1, 1, 'done')`,
		`INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, data, state, current, since, vanished) VALUES
			(10, 1, CAST('s' AS BLOB), 2, 493, 70, 0, 1, 0, 10, 10, 1, 1, 1, 0), (11, 10, CAST('removed' AS BLOB), 1, 420, 70, 5, 1, 0, 11, 11, 1, 1, 1, 1000),
			(12, 10, CAST('vanished' AS BLOB), 1, 420, 70, 5, 1, 0, 12, 12, 1, 1, 1, 1000), (13, 10, CAST('back' AS BLOB), 1, 420, 70, 5, 1, 0, 13, 13, 1, 1, 1, 0),
			(14, 10, CAST('kept' AS BLOB), 1, 420, 70, 5, 1, 0, 14, 14, 1, 1, 1, 0), (15, 10, CAST('back and gone' AS BLOB), 1, 420, 70, 5, 1, 0, 15, 15, 1, 1, 1, 2000)`,
		`INSERT INTO source (id, name, url, root) VALUES (1, 's', '/s', 10)`,
		`INSERT INTO receipt (run, source, path, aside, version, kind, size, sha256, copies, state, at) VALUES
			(1, 1, x'72', 'x', 11, 1, 5, zeroblob(32), '[{"pool":"main","object":"01","tapes":["A"]}]', 'removed', 1000),
			(1, 1, x'62', 'x', 13, 1, 5, zeroblob(32), '[]', 'removed', 1000), (1, 1, x'6b', 'x', 14, 1, 5, zeroblob(32), '[]', 'kept', 1000),
			(1, 1, x'67', 'x', 15, 1, 5, zeroblob(32), '[]', 'removed', 1000)`,
	} {
		if _, err := old.writer.ExecContext(ctx, text); err != nil {
			t.Fatalf("%s: %v", text, err)
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
	for id := ID(11); id <= 15; id++ {
		if v, err := db.Get(ctx, id); err != nil || v.Removed != (id == 11) {
			t.Errorf("%s: %+v, %v", v.Name, v, err)
		}
	}
	for range 2 {
		if err := db.JournalReceipts(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	var told []Change
	if err := db.Changes(ctx, 0, func(c *Change) error {
		told = append(told, *c)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 3 || told[0].Version != 11 || told[0].Kind != ChangeRemoved || told[0].At.UnixNano() != 1000 ||
		told[0].Detail != `{"receipt":1,"sha256":"0000000000000000000000000000000000000000000000000000000000000000","copies":[{"pool":"main","object":"01","tapes":["A"]}]}` {
		t.Errorf("the journal has %+v", told)
	}
}
