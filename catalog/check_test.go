package catalog_test

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// Each rule of Check finds what it is for, in a catalog that is whole without it.
func TestCheckFindsEachFault(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "one", "two")
	l.fetch(t, b, o)
	owed := must(l.db.OwedCopies(ctx, l.pools[0].ID))(t)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	part, err := l.write(t, owed[0], l.tapes[0], salt)
	check(t, err)
	first := must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 1, Name: "m1", MAC: sum, Previous: make([]byte, 32)}, []int64{part.ID}))(t)
	must(l.db.AddManifest(ctx, catalog.Manifest{Tape: l.tapes[0].ID, Seq: 2, Name: "m2", MAC: bytes.Repeat([]byte{8}, 32), Previous: first.MAC}, nil))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 3, 100, time.Now()))
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	if found := must(l.db.Check(ctx))(t); len(found) != 0 {
		t.Fatalf("a whole catalog: %v", found)
	}
	for what, fault := range map[string]string{
		"references":                   `DELETE FROM pool WHERE name = 'offsite'`,
		"directories without a record": `UPDATE version SET name = x'', current = 0 WHERE name = x'6f6e65'`,
		"parents":                      `UPDATE version SET parent = (SELECT id FROM version WHERE name = x'74776f') WHERE name = x'6f6e65'`,
		"paths":                        `UPDATE version SET current = 0 WHERE name = x'737263'`,
		"ends":                         `UPDATE version SET until = 5 WHERE name = x'6f6e65'`,
		"states":                       `UPDATE version SET state = 3 WHERE name = x'6f6e65'`,
		"hard links":                   `UPDATE version SET inode = 999 WHERE name = x'6f6e65'`,
		"bytes of files":               `DELETE FROM member WHERE version = (SELECT id FROM version WHERE name = x'6f6e65')`,
		"sources":                      `UPDATE source SET root = (SELECT id FROM version WHERE name = x'6f6e65')`,
		"totals":                       `UPDATE total SET bytes = bytes + 1`,
		"sealed sizes":                 `UPDATE object SET sealed_size = sealed_size + 1`,
		"plain sizes":                  `UPDATE object SET plain_size = plain_size - 1`,
		"salts":                        `UPDATE object SET salt = NULL`,
		"parts":                        `UPDATE part SET sums = x'00'`,
		"places of members":            `UPDATE member SET header = -1`,
		"sizes on tape":                `UPDATE copy_part SET size = size + 1`,
		"sums of parts":                `DELETE FROM part`,
		"durable copies":               `UPDATE copy_part SET state = 4`,
		"owed copies":                  `UPDATE copy SET state = 1`,
		"tapes of copies":              `UPDATE tape SET pool = 2 WHERE pool = 1`,
		"used space":                   `UPDATE tape SET used = used + 1`,
		"manifests":                    `UPDATE manifest SET previous = mac WHERE seq = 2`,
		"journal":                      `UPDATE pool SET journalled = 99`,
		"ids":                          `UPDATE sqlite_sequence SET seq = 1 WHERE name = 'version'`,
	} {
		path := filepath.Join(t.TempDir(), "catalog.db")
		check(t, l.db.Snapshot(ctx, path))
		behind(t, path, fault)
		db := must(catalog.OpenReadOnly(ctx, path))(t)
		found := must(db.Check(ctx))(t)
		check(t, db.Close())
		if !slices.ContainsFunc(found, func(f catalog.Finding) bool { return f.What == what && len(f.Lines) > 0 }) {
			t.Errorf("%s: found only %v", what, found)
		}
	}
}
