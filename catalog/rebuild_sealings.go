package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
)

// sealingOf and the id of a row are a key in meta: the row is a further sealing of the object that the value names.
const sealingOf = "sealing-of:"

// furtherOID is the id under which the n-th further sealing of an object is kept. It has the time of the object.
func furtherOID(oid string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "sealing %d of %s", n, oid))
	return oid[:min(12, len(oid))] + hex.EncodeToString(sum[:])[:20]
}

// sealingRow is what a rebuild has to know of an object that has a row; id 0: it has none.
type sealingRow struct {
	id                       int64
	state                    ObjectState
	key, grid, plain, sealed int64
	salt                     []byte
}

// sealing finds the row of an object that a record can be about: nothing that both know differs. Where no row is like that, it
// returns the id for a new one.
func (r *Rebuild) sealing(ctx context.Context, o *Object, key int64, parts []Part) (oid string, row sealingRow, err error) {
	oid = o.OID
	for n := 1; ; n++ {
		row = sealingRow{}
		found, err := r.get(ctx, []any{&row.id, &row.state, &row.key, &row.salt, &row.grid, &row.plain, &row.sealed},
			`SELECT id, state, key, salt, part_size, plain_size, sealed_size FROM object WHERE oid = ?`, oid)
		if err != nil || !found {
			return oid, sealingRow{}, err
		}
		same := row.key == key && row.grid == o.PartSize &&
			(o.State == ObjectPlanned || row.salt == nil || bytes.Equal(row.salt, o.Salt) && row.plain == o.PlainSize && row.sealed == o.SealedSize)
		for i := 0; same && i < len(parts); i++ {
			var size int64
			var sum, sums []byte
			known, err := r.get(ctx, []any{&size, &sum, &sums}, `SELECT size, sha256, sums FROM part WHERE object = ? AND number = ?`, row.id, parts[i].Number)
			if err != nil {
				return oid, row, err
			}
			same = !known || size == parts[i].Size && bytes.Equal(sum, parts[i].SHA256) && bytes.Equal(sums, parts[i].Sums)
		}
		if same {
			return oid, row, nil
		}
		oid = furtherOID(o.OID, n)
	}
}

// chooseSealings decides, where one id stands for several sealings, which of them is the object: one that lies whole on tapes
// that were read, then one that is whole on any, then the one that was made durable last. The others are dropped, and stay
// known: what a tape that comes later says of them is heard.
func (r *Rebuild) chooseSealings(ctx context.Context) error {
	oids, err := query(ctx, r.db.reader, "objects with several sealings", func(rows *sql.Rows) (oid string, err error) { return oid, rows.Scan(&oid) },
		`SELECT DISTINCT value FROM meta WHERE key LIKE ? || '%' ORDER BY value`, sealingOf)
	if err != nil {
		return err
	}
	for _, oid := range oids {
		if err := r.db.update(ctx, func(tx *sql.Tx) error { return chooseSealing(ctx, tx, oid) }); err != nil {
			return fmt.Errorf("object %s: %w", oid, err)
		}
	}
	return nil
}

// textSealings lists the sealings of object ?1, the best first. What other copies have of a part is as good.
const textSealings = `SELECT o.id, o.oid, s.durable FROM object o JOIN (
		SELECT o.id, coalesce((SELECT max(p.durable) FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = o.id), 0) durable,
			(SELECT count(*) FROM part q WHERE q.object = o.id) parts,
			(SELECT count(DISTINCT p.number) FROM copy c JOIN copy_part p ON p.copy = c.id JOIN tape t ON t.id = p.tape
				WHERE c.object = o.id AND p.state = ` + sqlPartDurable + ` AND t.generation_index > 0) here,
			(SELECT count(DISTINCT p.number) FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = o.id AND p.state = ` + sqlPartDurable + `) known
		FROM object o WHERE o.oid = ?1 OR o.oid IN (SELECT substr(key, length(?2) + 1) FROM meta WHERE value = ?1 AND key LIKE ?2 || '%')) s ON s.id = o.id
	ORDER BY o.salt IS NOT NULL AND s.here = s.parts DESC, o.salt IS NOT NULL AND s.known = s.parts DESC, o.salt IS NOT NULL DESC, s.durable DESC, s.known DESC, o.id DESC`

func chooseSealing(ctx context.Context, tx *sql.Tx, oid string) error {
	type sealing struct {
		id      int64
		oid     string
		durable int64
	}
	all, err := query(ctx, tx, "sealings", func(rows *sql.Rows) (s sealing, err error) {
		return s, rows.Scan(&s.id, &s.oid, &s.durable)
	}, textSealings, oid, sealingOf)
	if err != nil || len(all) < 2 {
		return err
	}
	best := all[0]
	for _, s := range all[1:] {
		if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDropped+` WHERE object = ?`, s.id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE object SET state = `+sqlObjectDropped+` WHERE id = ?`, s.id); err != nil {
			return err
		}
		if s.durable > best.durable {
			// What its files were summed to may be of the other sealing: it is found out again.
			_, err := tx.ExecContext(ctx, `UPDATE version SET sha256 = NULL WHERE kind = `+sqlFile+` AND id IN (SELECT version FROM member WHERE object = ?)`, best.id)
			if err != nil {
				return err
			}
		}
	}
	if _, err := tx.ExecContext(ctx, `UPDATE object SET state = `+sqlObjectPacked+` WHERE id = ? AND state = `+sqlObjectDropped+` AND salt IS NOT NULL`, best.id); err != nil {
		return err
	}
	if best.oid == oid {
		return nil
	}
	// The object has the id that its files on tape bear.
	for _, text := range []string{
		`UPDATE object SET oid = ?1 || '-' WHERE oid = ?1`,
		`UPDATE object SET oid = ?1 WHERE oid = ?2`,
		`UPDATE object SET oid = ?2 WHERE oid = ?1 || '-'`,
	} {
		args := []any{oid, best.oid}
		if !strings.Contains(text, "?2") {
			args = args[:1]
		}
		if _, err := tx.ExecContext(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}
