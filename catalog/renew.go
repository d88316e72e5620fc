package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// RenewObject returns the id under which a planned object is to be packed now. Where a try of an earlier packing was begun on
// some tape that is not the id it had: next draws another, which takes its place. An id belongs to one sealing for ever, so
// whatever a tape still has under the old one is never mistaken for what is sealed now. Such parts keep their names.
func (db *DB) RenewObject(ctx context.Context, object int64, next func(oid string) (string, error)) (oid, former string, err error) {
	err = db.update(ctx, func(tx *sql.Tx) error {
		var state ObjectState
		var begun bool
		err := tx.QueryRowContext(ctx, `SELECT o.oid, o.state, EXISTS (SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id
			WHERE c.object = o.id AND instr(p.name, o.oid) > 0) FROM object o WHERE o.id = ?`, object).Scan(&oid, &state, &begun)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil || state != ObjectPlanned || !begun {
			return err
		}
		former = oid
		if oid, err = next(former); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE object SET oid = ? WHERE id = ? AND state = `+sqlObjectPlanned, oid, object)
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("give object %d another id: %w", object, err)
	}
	return oid, former, nil
}

// FormerOID is the id that an object had when a part of an earlier packing was written; "" when the part is of the packing
// that the object has now.
func (p *CopyPart) FormerOID(oid string) string {
	name := p.Name[strings.LastIndexByte(p.Name, '/')+1:]
	if len(oid) != 32 || len(name) < len(oid) || name[:len(oid)] == oid || !strings.HasPrefix(name[len(oid):], ".tar.enc") {
		return ""
	}
	return name[:len(oid)]
}
