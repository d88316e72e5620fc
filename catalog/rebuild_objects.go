package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// Object records an object. Its members, sums and parts follow.
func (r *Rebuild) Object(ctx context.Context, o *Object, source string) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.putObject(ctx, o, source); err != nil {
		return fmt.Errorf("record object %s: %w", o.OID, err)
	}
	return nil
}

func (r *Rebuild) putObject(ctx context.Context, o *Object, source string) error {
	r.oid = ""
	var src int64
	if found, err := r.get(ctx, []any{&src}, `SELECT id FROM source WHERE name = ?`, source); err != nil || !found {
		return errors.Join(err, fmt.Errorf("source %s: %w", source, ErrNotFound))
	}
	key, err := r.key(ctx, SealKey{Fingerprint: o.Fingerprint})
	if err != nil {
		return err
	}
	packed := o.State != ObjectPlanned
	if packed && (len(o.Salt) != 8 || o.PlainSize <= 0 || o.SealedSize <= 0) || o.PartSize <= 0 || o.PartSize%ExtentSize != 0 {
		return fmt.Errorf("its record says parts of %d bytes, %d plain and %d sealed bytes, %d bytes of salt", o.PartSize, o.PlainSize, o.SealedSize, len(o.Salt))
	}
	if packed {
		err := r.exec(ctx, `INSERT INTO salt (key, salt, purpose, drawn, used) VALUES (?, ?, 'object', ?, 1) ON CONFLICT DO UPDATE SET used = 1, purpose = 'object'`,
			key, o.Salt, nsOf(o.Created))
		if err != nil {
			return err
		}
		var twin string
		if found, err := r.get(ctx, []any{&twin}, `SELECT oid FROM object WHERE key = ? AND salt = ? AND oid <> ?`, key, o.Salt, o.OID); err != nil {
			return err
		} else if found {
			return fmt.Errorf("%w: object %s has the same salt", ErrContradiction, twin)
		}
	}
	var state ObjectState
	var salt []byte
	var oldKey, grid, plain, sealed int64
	found, err := r.get(ctx, []any{&r.object, &state, &oldKey, &salt, &grid, &plain, &sealed},
		`SELECT id, state, key, salt, part_size, plain_size, sealed_size FROM object WHERE oid = ?`, o.OID)
	switch {
	case err != nil:
		return err
	case !found:
		var s any
		if packed {
			s = o.Salt
		}
		_, err = r.get(ctx, []any{&r.object}, `INSERT INTO object (oid, run, source, key, salt, part_size, planned_size, plain_size, sealed_size, state, created)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, o.OID, r.run, src, key, s, o.PartSize, o.SealedSize, o.PlainSize, o.SealedSize, o.State, nsOf(o.Created))
	case oldKey != key || grid != o.PartSize || packed && salt != nil && (!bytes.Equal(salt, o.Salt) || plain != o.PlainSize || sealed != o.SealedSize):
		return fmt.Errorf("%w: another key, salt or size", ErrContradiction)
	case packed && salt == nil:
		err = r.exec(ctx, `UPDATE object SET salt = ?, plain_size = ?, sealed_size = ?, planned_size = ?, state = ? WHERE id = ?`,
			o.Salt, o.PlainSize, o.SealedSize, o.SealedSize, o.State, r.object)
	case packed && (r.forward || o.State > state || state == ObjectDropped):
		// Dropped may have meant only that no tape at hand had it.
		err = r.exec(ctx, `UPDATE object SET state = ? WHERE id = ?`, o.State, r.object)
	}
	if err == nil {
		r.oid = o.OID
	}
	return err
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

// Part records the sums of one part of an object.
func (r *Rebuild) Part(ctx context.Context, oid string, p Part) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	object, err := r.of(ctx, oid)
	if err != nil {
		return err
	}
	if p.Number < 0 || p.Size <= 0 || len(p.SHA256) != 32 || int64(len(p.Sums)) != 32*((p.Size+ExtentSize-1)/ExtentSize) {
		return fmt.Errorf("sums of part %d of object %s: %d bytes of sums for %d bytes", p.Number, oid, len(p.Sums), p.Size)
	}
	var size int64
	var sum, sums []byte
	found, err := r.get(ctx, []any{&size, &sum, &sums}, `SELECT size, sha256, sums FROM part WHERE object = ? AND number = ?`, object, p.Number)
	switch {
	case err != nil:
	case !found:
		err = r.exec(ctx, `INSERT INTO part (object, number, size, sha256, sums) VALUES (?, ?, ?, ?, ?)`, object, p.Number, p.Size, p.SHA256, p.Sums)
	case size != p.Size || !bytes.Equal(sum, p.SHA256) || !bytes.Equal(sums, p.Sums):
		err = fmt.Errorf("%w: other sums", ErrContradiction)
	}
	if err != nil {
		return fmt.Errorf("record part %d of object %s: %w", p.Number, oid, err)
	}
	return nil
}

// Member records a version and its place in an object.
func (r *Rebuild) Member(ctx context.Context, oid string, m Member, v *Version) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	object, err := r.of(ctx, oid)
	if err == nil {
		err = r.node(ctx, v)
	}
	if err == nil {
		err = r.exec(ctx, `INSERT INTO member (object, version, header, data) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET header = excluded.header, data = excluded.data WHERE header < 0`, object, v.ID, m.Header, m.Data)
	}
	if err != nil {
		return fmt.Errorf("record member %d of object %s: %w", v.ID, oid, err)
	}
	return nil
}
