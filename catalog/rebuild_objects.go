package catalog

import (
	"context"
	"errors"
	"fmt"
)

// Sealing records an object as one manifest describes it, with the sums of the parts that are known to it. Its members and
// parts follow. Tapes of older programs may hold several sealings under one id: each gets a row of its own, and Finish decides
// which of them is the object.
func (r *Rebuild) Sealing(ctx context.Context, o *Object, source string, parts []Part) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	err := r.putSealing(ctx, o, source, parts)
	if err != nil {
		r.oid = ""
		return fmt.Errorf("record object %s: %w", o.OID, err)
	}
	r.oid = o.OID
	return nil
}

func (r *Rebuild) putSealing(ctx context.Context, o *Object, source string, parts []Part) error {
	r.oid = ""
	var src int64
	if found, err := r.get(ctx, []any{&src}, `SELECT id FROM source WHERE name = ?`, source); err != nil || !found {
		return errors.Join(err, fmt.Errorf("source %s: %w", source, ErrNotFound))
	}
	key, err := r.key(ctx, SealKey{Fingerprint: o.Fingerprint})
	if err != nil {
		return err
	}
	if err := checkSealing(o, parts); err != nil {
		return err
	}
	packed := o.State != ObjectPlanned
	var salt any
	if packed {
		salt = o.Salt
		err := r.exec(ctx, `INSERT INTO salt (key, salt, purpose, drawn, used) VALUES (?, ?, 'object', ?, 1) ON CONFLICT DO UPDATE SET used = 1, purpose = 'object'`,
			key, o.Salt, nsOf(o.Created))
		if err != nil {
			return err
		}
	}
	oid, row, err := r.sealing(ctx, o, key, parts)
	if err != nil {
		return err
	}
	var twin string
	if found, err := r.get(ctx, []any{&twin}, `SELECT oid FROM object WHERE key = ? AND salt = ? AND oid <> ?`, key, salt, oid); err != nil {
		return err
	} else if found {
		return fmt.Errorf("%w: object %s has the same salt", ErrContradiction, twin)
	}
	r.object = row.id
	switch {
	case row.id == 0:
		_, err = r.get(ctx, []any{&r.object}, `INSERT INTO object (oid, run, source, key, salt, part_size, planned_size, plain_size, sealed_size, state, created)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, oid, r.run, src, key, salt, o.PartSize, o.SealedSize, o.PlainSize, o.SealedSize, o.State, nsOf(o.Created))
		if err == nil && oid != o.OID {
			err = r.exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING`, sealingOf+oid, o.OID)
		}
	case packed && row.salt == nil:
		err = r.exec(ctx, `UPDATE object SET salt = ?, plain_size = ?, sealed_size = ?, planned_size = ?, state = ? WHERE id = ?`,
			o.Salt, o.PlainSize, o.SealedSize, o.SealedSize, o.State, r.object)
	case packed && (r.forward || o.State > row.state || row.state == ObjectDropped):
		// Dropped may have meant only that no tape at hand had it.
		err = r.exec(ctx, `UPDATE object SET state = ? WHERE id = ?`, o.State, r.object)
	}
	for i := 0; err == nil && i < len(parts); i++ {
		err = r.exec(ctx, `INSERT INTO part (object, number, size, sha256, sums) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			r.object, parts[i].Number, parts[i].Size, parts[i].SHA256, parts[i].Sums)
	}
	return err
}

// checkSealing refuses what no sealing can be.
func checkSealing(o *Object, parts []Part) error {
	packed := o.State != ObjectPlanned
	if packed && (len(o.Salt) != 8 || o.PlainSize <= 0 || o.SealedSize <= 0) || o.PartSize <= 0 || o.PartSize%ExtentSize != 0 {
		return fmt.Errorf("its record says parts of %d bytes, %d plain and %d sealed bytes, %d bytes of salt", o.PartSize, o.PlainSize, o.SealedSize, len(o.Salt))
	}
	for _, p := range parts {
		if p.Number < 0 || p.Size <= 0 || len(p.SHA256) != 32 || int64(len(p.Sums)) != 32*((p.Size+ExtentSize-1)/ExtentSize) {
			return fmt.Errorf("sums of part %d: %d bytes of sums for %d bytes", p.Number, len(p.Sums), p.Size)
		}
	}
	return nil
}

// of finds the row of the object that a record is about: nearly always the last one.
func (r *Rebuild) of(ctx context.Context, oid string) (int64, error) {
	if r.oid == oid {
		return r.object, nil
	}
	found, err := r.get(ctx, []any{&r.object}, `SELECT id FROM object WHERE oid = ?`, oid)
	if err != nil || !found {
		r.oid = ""
		return 0, errors.Join(err, fmt.Errorf("object %s: %w", oid, ErrNotFound))
	}
	r.oid = oid
	return r.object, nil
}

// Member records a version and its place in an object.
func (r *Rebuild) Member(ctx context.Context, oid string, m Member, v *Version) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	object, err := r.of(ctx, oid)
	switch {
	case err != nil:
	case r.simple(v):
		err = r.hold(ctx, object, m, v)
	default:
		if err = r.node(ctx, v, oid); err == nil {
			err = r.exec(ctx, textMember+textMemberKnown, object, v.ID, m.Header, m.Data)
		}
	}
	if err != nil {
		return fmt.Errorf("record member %d of object %s: %w", v.ID, oid, err)
	}
	return nil
}
