package catalog

import (
	"context"
	"fmt"
)

// RebuiltPart is a part as a file on a tape, as a manifest names it.
type RebuiltPart struct {
	OID, Pool       string
	Number          int
	Volume, Barcode string
	Name            string
	Size            int64
	StartBlock      int64
	State           PartState
}

// CopyPart records where a part lies. What a proved manifest calls written was made durable by the
// same sync as the manifest itself.
func (r *Rebuild) CopyPart(ctx context.Context, p RebuiltPart) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.copyPart(ctx, p); err != nil {
		return fmt.Errorf("record part %s on tape %s: %w", p.Name, p.Barcode, err)
	}
	return nil
}

func (r *Rebuild) copyPart(ctx context.Context, p RebuiltPart) error {
	switch p.State {
	case PartWriting, PartLost:
		return nil // nothing of it is there
	case PartWritten:
		p.State = PartDurable
	}
	object, err := r.of(ctx, p.OID)
	if err != nil {
		return err
	}
	pool, err := r.Pool(ctx, p.Pool)
	if err != nil {
		return err
	}
	tape := r.volumes[p.Volume]
	if tape == 0 {
		if tape, _, err = r.tape(ctx, Tape{Barcode: p.Barcode, UUID: p.Volume, PoolName: p.Pool}); err != nil {
			return err
		}
		r.volumes[p.Volume] = tape
	}
	id, err := r.copyOf(ctx, object, pool)
	if err != nil {
		return err
	}
	row, state, err := r.sameFile(ctx, object, pool, tape, &p)
	switch {
	case err != nil:
		return err
	case row == 0:
		durable := int64(0) // a try that failed never was
		if p.State != PartAbandoned {
			durable = nsOf(r.manifest.Written)
		}
		return r.exec(ctx, `INSERT INTO copy_part (copy, number, tape, name, size, startblock, state, manifest, written, durable)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, p.Number, tape, p.Name, p.Size, p.StartBlock, p.State, r.manifest.ID, nsOf(r.manifest.Written), durable)
	case state == PartWritten || r.forward && p.State > state || p.State == PartDamaged && state == PartDurable:
		return r.exec(ctx, `UPDATE copy_part SET state = ?, manifest = coalesce(manifest, ?), durable = max(durable, ?) WHERE id = ?`,
			p.State, r.manifest.ID, nsOf(r.manifest.Written), row)
	}
	return r.exec(ctx, `UPDATE copy_part SET manifest = ? WHERE id = ? AND manifest IS NULL`, r.manifest.ID, row)
}

// copyOf finds or makes the copy of an object in a pool that new parts belong to.
func (r *Rebuild) copyOf(ctx context.Context, object, pool int64) (id int64, err error) {
	found, err := r.get(ctx, []any{&id}, `SELECT id FROM copy WHERE object = ? AND pool = ? ORDER BY state >= `+sqlCopyDamaged+`, id DESC LIMIT 1`, object, pool)
	if err == nil && !found {
		_, err = r.get(ctx, []any{&id}, `INSERT INTO copy (object, pool, state) VALUES (?, ?, `+sqlOwed+`) RETURNING id`, object, pool)
	}
	return id, err
}

// sameFile finds the row that is about the very file that a record names; 0 when there is none. A part that was tried again
// bears the same name on the same tape, and after a crash it may even begin at the same block, so each row answers only for
// what it is evidence of: a try that failed before it was ever durable never stands for a file that a manifest vouches for,
// and a record of such a try never speaks against a file that is good.
func (r *Rebuild) sameFile(ctx context.Context, object, pool, tape int64, p *RebuiltPart) (row int64, state PartState, err error) {
	text := `SELECT p.id, p.state FROM copy c JOIN copy_part p ON p.copy = c.id
		WHERE c.object = ?1 AND c.pool = ?2 AND p.number = ?3 AND p.tape = ?4 AND p.name = ?5 AND `
	if p.State == PartAbandoned {
		// Named with its block it may have been durable once: then it was given up with the whole packing.
		text += `(p.startblock = ?6 AND (?6 >= 0 OR p.state >= ` + sqlPartAbandoned + ` AND p.durable = 0))
			ORDER BY p.state = ` + sqlPartAbandoned + ` DESC, p.durable = 0 DESC, p.id DESC LIMIT 1`
		_, err = r.get(ctx, []any{&row, &state}, text, object, pool, p.Number, tape, p.Name, p.StartBlock)
		return row, state, err
	}
	// The size of a damaged or lost part is what was found of it.
	text += `CASE WHEN p.state < ` + sqlPartAbandoned + ` THEN p.size = ?7 ELSE p.durable > 0 END
			AND (p.startblock = ?6 AND ?6 >= 0 OR (p.startblock = -1 OR ?6 = -1) AND p.state NOT IN (` + sqlPartAbandoned + `, ` + sqlPartLost + `))
		ORDER BY p.state < ` + sqlPartAbandoned + ` DESC, p.startblock = ?6 DESC, p.id DESC LIMIT 1`
	_, err = r.get(ctx, []any{&row, &state}, text, object, pool, p.Number, tape, p.Name, p.StartBlock, p.Size)
	return row, state, err
}
