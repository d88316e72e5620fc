package catalog

import (
	"context"
	"database/sql"
	"fmt"
)

// checkLines is how many findings of one rule are named; the others are counted.
const checkLines = 20

// rule is a query whose rows are what should not be: one text each.
type rule struct {
	what  string
	query string
}

var rules = []rule{
	{"directories without a record", `SELECT 'version ' || id || ' was named by a manifest, and no record tells of it' FROM version WHERE name = x'' AND id <> 1`},
	{"parents", `SELECT 'version ' || v.id || ' lies in version ' || p.id || ', which is no directory' FROM version v JOIN version p ON p.id = v.parent WHERE p.kind <> ` + sqlDirectory + ``},
	{"paths", `SELECT 'version ' || v.id || ' is shown in directory ' || p.id || ', which is not' FROM version v JOIN version p ON p.id = v.parent WHERE v.current = 1 AND p.current = 0`},
	{"ends", `SELECT 'version ' || id || ' is shown and has an end' FROM version WHERE current = 1 AND until <> 0`},
	{"states", `SELECT 'version ' || id || ' is shown in state ' || state FROM version WHERE current = 1 AND state NOT IN (` + sqlPresent + `, ` + sqlVoid + `)`},
	{"hard links", `SELECT 'version ' || v.id || ' names inode ' || v.inode || ' and data ' || v.data || ', which are not there' FROM version v
		WHERE (v.inode <> v.id AND NOT EXISTS (SELECT 1 FROM version i WHERE i.id = v.inode)) OR (v.data <> v.id AND NOT EXISTS (SELECT 1 FROM version d WHERE d.id = v.data))`},
	{"bytes of files", `SELECT 'version ' || v.id || ' is shown, and neither the spool nor an object has its bytes' FROM version v
		WHERE v.current = 1 AND v.kind <> ` + sqlDirectory + ` AND v.state <> ` + sqlVoid + ` AND v.batch IS NULL AND NOT EXISTS (SELECT 1 FROM member m JOIN object o ON o.id = m.object WHERE m.version = v.data AND o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `))`},
	{"sources", `SELECT 'source ' || s.name || ' has no directory' FROM source s JOIN version v ON v.id = s.root WHERE v.kind <> ` + sqlDirectory + ` OR v.parent <> 1`},
	{"totals", `SELECT 'the catalog counts ' || t.files || ' files of ' || t.bytes || ' bytes, and shows ' || count(v.id) || ' of ' || coalesce(sum(v.size), 0)
		FROM total t LEFT JOIN version v ON v.kind = ` + sqlFile + ` AND v.current = 1 GROUP BY t.id HAVING t.files <> count(v.id) OR t.bytes <> coalesce(sum(v.size), 0)`},
	{"sealed sizes", `SELECT 'object ' || o.oid || ' has ' || o.sealed_size || ' sealed bytes, and ' || count(q.number) || ' parts up to number ' || coalesce(max(q.number), -1) ||
		' with ' || coalesce(sum(q.size), 0) FROM object o LEFT JOIN part q ON q.object = o.id WHERE o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `)
		AND (q.object IS NOT NULL OR NOT EXISTS (SELECT 1 FROM foreign_object f WHERE f.object = o.id))
		GROUP BY o.id HAVING count(q.number) = 0 OR max(q.number) + 1 <> count(q.number) OR sum(q.size) <> o.sealed_size`},
	{"plain sizes", `SELECT 'object ' || o.oid || ' has ' || o.plain_size || ' plain and ' || o.sealed_size || ' sealed bytes' FROM object o JOIN seal_key k ON k.id = o.key
		WHERE o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `) AND k.cipher = 'aes-256-ctr' AND o.sealed_size <> o.plain_size + 16`},
	{"salts", `SELECT 'object ' || oid || ' is packed without a salt' FROM object WHERE state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `) AND salt IS NULL
		AND NOT EXISTS (SELECT 1 FROM foreign_object f WHERE f.object = object.id)`},
	{"imported objects", `SELECT 'object ' || o.oid || ' is sealed by another program, and has no MD5' FROM object o JOIN seal_key k ON k.id = o.key
		LEFT JOIN foreign_object f ON f.object = o.id WHERE o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `) AND k.cipher <> 'aes-256-ctr' AND (f.object IS NULL OR length(f.md5) <> 16)`},
	{"parts", `SELECT 'part ' || q.number || ' of object ' || o.oid || ' has ' || q.size || ' bytes, parts have ' || o.part_size || ', and ' || length(q.sums) || ' bytes of sums'
		FROM part q JOIN object o ON o.id = q.object WHERE q.size <= 0 OR q.size > o.part_size OR length(q.sha256) <> 32 OR length(q.sums) <> 32 * ((q.size + 4194303) / 4194304)`},
	{"places of members", `SELECT 'version ' || m.version || ' has no place in object ' || o.oid FROM object o JOIN member m ON m.object = o.id
		WHERE o.state = ` + sqlObjectPacked + ` AND NOT EXISTS (SELECT 1 FROM foreign_object f WHERE f.object = o.id) AND (m.header < 0 OR m.header >= o.plain_size OR m.data >= o.plain_size)`},
	{"sizes on tape", `SELECT p.name || ' on tape ' || t.barcode || ' has ' || p.size || ' bytes, and its object says ' || q.size FROM copy_part p JOIN copy c ON c.id = p.copy
		JOIN part q ON q.object = c.object AND q.number = p.number JOIN tape t ON t.id = p.tape WHERE p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `) AND p.size <> q.size`},
	{"sums of parts", `SELECT p.name || ' on tape ' || t.barcode || ' has no sums' FROM copy_part p JOIN copy c ON c.id = p.copy JOIN tape t ON t.id = p.tape
		WHERE p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `) AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = c.object AND q.number = p.number)
		AND NOT EXISTS (SELECT 1 FROM foreign_object f WHERE f.object = c.object)`},
	{"durable copies", `SELECT 'the copy of object ' || o.oid || ' in pool ' || l.name || ' is said to be durable, and not all its parts are' FROM copy c
		JOIN object o ON o.id = c.object JOIN pool l ON l.id = c.pool WHERE c.state = ` + sqlDurable + ` AND (o.state = ` + sqlObjectPlanned + ` OR EXISTS (SELECT 1 FROM part q WHERE q.object = o.id
		AND NOT EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = c.id AND p.number = q.number AND p.state = ` + sqlPartDurable + `)))`},
	{"manifests of copies", `SELECT 'the copy of object ' || o.oid || ' in pool ' || l.name || ' is said to be durable, and no durable manifest names all its parts' FROM copy c
		JOIN object o ON o.id = c.object JOIN pool l ON l.id = c.pool WHERE c.state = ` + sqlDurable + ` AND EXISTS (SELECT 1 FROM part q WHERE q.object = o.id
		AND EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = c.id AND p.number = q.number AND p.state = ` + sqlPartDurable + `)
		AND NOT EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = c.id AND p.number = q.number AND p.state = ` + sqlPartDurable + ` AND ` + partNamed + `))`},
	{"owed copies", `SELECT 'the copy of object ' || o.oid || ' in pool ' || l.name || ' is said to be owed, and all its parts are durable' FROM copy c
		JOIN object o ON o.id = c.object JOIN pool l ON l.id = c.pool WHERE c.state < ` + sqlDurable + ` AND o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `) AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = o.id
		AND NOT EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = c.id AND p.number = q.number AND p.state = ` + sqlPartDurable + ` AND ` + partNamed + `))`},
	{"tapes of copies", `SELECT p.name || ' of pool ' || l.name || ' lies on tape ' || t.barcode || ' of another pool' FROM copy_part p JOIN copy c ON c.id = p.copy
		JOIN pool l ON l.id = c.pool JOIN tape t ON t.id = p.tape WHERE p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `) AND t.pool IS NOT c.pool`},
	{"used space", `SELECT 'tape ' || t.barcode || ' is said to hold ' || t.used || ' bytes, and its parts have ' || coalesce(sum(p.size), 0) FROM tape t
		LEFT JOIN copy_part p ON p.tape = t.id AND p.state IN (` + sqlPartWritten + `, ` + sqlPartDurable + `) GROUP BY t.id HAVING t.used <> coalesce(sum(p.size), 0)`},
	{"manifests", `SELECT 'manifest ' || m.seq || ' of tape ' || t.barcode || ' does not follow the one before it' FROM manifest m JOIN tape t ON t.id = m.tape
		JOIN manifest b ON b.tape = m.tape AND b.seq = m.seq - 1 AND b.state < ` + sqlManifestLost + ` WHERE m.state < ` + sqlManifestLost + ` AND m.previous <> b.mac
		AND NOT EXISTS (SELECT 1 FROM meta WHERE key = '` + oddChain + `' || m.tape || ':' || m.seq)`},
	{"journal", `SELECT 'pool ' || name || ' is said to have journalled change ' || journalled || ', and there is none' FROM pool
		WHERE journalled > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'change'), 0)`},
	{"ids", `SELECT 'version ' || max(id) || ' has a greater id than was ever given' FROM version HAVING max(id) > (SELECT seq FROM sqlite_sequence WHERE name = 'version')`},
}

// Finding is what a check found: up to some lines of one kind.
type Finding struct {
	What  string   `json:"what"`
	Lines []string `json:"lines"`
	More  int64    `json:"more,omitempty"` // further ones that are not named
}

// Check lets SQLite look through the whole file, and holds the catalog against itself: references, states, sums
// of sizes. Nothing found: the catalog is whole. It takes as long as reading every row several times.
func (db *DB) Check(ctx context.Context) ([]Finding, error) {
	text := func(rows *sql.Rows) (s string, err error) {
		var one sql.NullString
		err = rows.Scan(&one)
		return one.String, err
	}
	lines, err := query(ctx, db.reader, "check", text, fmt.Sprintf(`PRAGMA integrity_check(%d)`, checkLines))
	if err != nil {
		return nil, fmt.Errorf("check catalog: %w: %w", ErrDamaged, err)
	}
	var out []Finding
	if len(lines) != 1 || lines[0] != "ok" {
		return []Finding{{What: "file", Lines: lines}}, nil // what else is read from it means nothing
	}
	all := append([]rule{{"references", `SELECT 'row ' || coalesce(rowid, '?') || ' of ' || "table" || ' names no ' || parent FROM pragma_foreign_key_check`}}, rules...)
	for _, r := range all {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		lines, err := query(ctx, db.reader, "check "+r.what, text, r.query+fmt.Sprintf(` LIMIT %d`, checkLines))
		if err != nil {
			return out, fmt.Errorf("check catalog: %w", err)
		}
		if len(lines) == 0 {
			continue
		}
		f := Finding{What: r.what, Lines: lines}
		if len(lines) == checkLines {
			if err := db.reader.QueryRowContext(ctx, `SELECT count(*) FROM (`+r.query+`)`).Scan(&f.More); err != nil {
				return out, fmt.Errorf("check catalog: %w", err)
			}
			f.More -= checkLines
		}
		out = append(out, f)
	}
	return out, nil
}
