package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// directory makes sure that a directory has a row. One whose record comes later, or never, gets a
// place that no path shows.
func (r *Rebuild) directory(ctx context.Context, id ID) error {
	if id < Root {
		return fmt.Errorf("%d is no directory", id)
	}
	if r.known[id] {
		return nil
	}
	var kind Kind
	found, err := r.get(ctx, []any{&kind}, `SELECT kind FROM version WHERE id = ?`, id)
	if err != nil {
		return err
	}
	if found && kind != Directory {
		return fmt.Errorf("%w: version %d is no directory", ErrContradiction, id)
	}
	if !found {
		owner, err := r.owner(ctx, Owner{})
		if err != nil {
			return err
		}
		err = r.exec(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, data, state, current)
			VALUES (?1, 1, x'', 2, 0, ?2, 0, 0, 0, ?1, ?1, 0, 0)`, id, owner)
		if err != nil {
			return err
		}
	}
	if len(r.known) > 100_000 {
		clear(r.known)
	}
	r.known[id] = true
	return nil
}

func (r *Rebuild) owner(ctx context.Context, o Owner) (int64, error) {
	if id, ok := r.owners[o]; ok {
		return id, nil
	}
	id, err := ownerID(ctx, r.tx, o)
	if err == nil {
		if len(r.owners) > 100_000 {
			clear(r.owners)
		}
		r.owners[o] = id
	}
	return id, err
}

// nodeRow is what a rebuild has to know of a row that is there.
type nodeRow struct {
	parent      ID
	name        []byte
	kind        Kind
	state       VersionState
	until       int64
	current     bool
	placeholder bool
}

func (r *Rebuild) row(ctx context.Context, id ID) (row nodeRow, found bool, err error) {
	found, err = r.get(ctx, []any{&row.parent, &row.name, &row.kind, &row.state, &row.until, &row.current},
		`SELECT parent, name, kind, state, until, current FROM version WHERE id = ?`, id)
	row.placeholder = len(row.name) == 0
	return row, found, err
}

// Node records a version as a manifest knew it. What an older manifest says does not undo what is
// known already.
func (r *Rebuild) Node(ctx context.Context, v *Version) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.node(ctx, v); err != nil {
		return fmt.Errorf("record version %d: %w", v.ID, err)
	}
	return nil
}

func (r *Rebuild) node(ctx context.Context, v *Version) error {
	if v.ID <= Root {
		return fmt.Errorf("%d is no version's number", v.ID)
	}
	if err := checkName(v.Name); err != nil {
		return err
	}
	r.lastVersion = max(r.lastVersion, v.ID)
	if err := r.directory(ctx, v.Parent); err != nil {
		return err
	}
	owner, err := r.owner(ctx, v.Owner)
	if err != nil {
		return err
	}
	row, found, err := r.row(ctx, v.ID)
	if err != nil {
		return err
	}
	switch {
	case !found:
		err = r.exec(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data, target, sha256,
			state, current, since, until, vanished) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)`,
			v.ID, v.Parent, []byte(v.Name), v.Kind, v.Mode, owner, v.Size, v.MTime.Sec, v.MTime.Nsec, v.Inode, max(v.Nlink, 1), v.Data,
			bytesOrNull(v.Target), nullIfEmpty(v.SHA256), v.State, nsOf(v.Since), nsOf(v.Until), nsOf(v.Vanished))
	case row.kind != v.Kind || !row.placeholder && (row.parent != v.Parent || string(row.name) != v.Name):
		return fmt.Errorf("%w: it is %q in directory %d", ErrContradiction, row.name, row.parent)
	case row.placeholder || r.forward || row.state == Planned:
		until := nsOf(v.Until)
		if !r.forward && row.until != 0 {
			until = row.until
		}
		if until != 0 && row.current {
			row.current = false
		}
		err = r.exec(ctx, `UPDATE version SET parent = ?, name = ?, mode = ?, owner = ?, size = ?, mtime = ?, mtime_ns = ?, inode = ?, nlink = ?,
			data = ?, target = ?, sha256 = coalesce(?, sha256), state = ?, current = ?, since = ?, until = ?, vanished = ? WHERE id = ?`,
			v.Parent, []byte(v.Name), v.Mode, owner, v.Size, v.MTime.Sec, v.MTime.Nsec, v.Inode, max(v.Nlink, 1), v.Data, bytesOrNull(v.Target),
			nullIfEmpty(v.SHA256), max(v.State, row.state), boolInt(row.current), nsOf(v.Since), until, nsOf(v.Vanished), v.ID)
	case row.until == 0 && !v.Until.IsZero():
		err = r.exec(ctx, `UPDATE version SET until = ?, current = 0, sha256 = coalesce(sha256, ?) WHERE id = ?`, nsOf(v.Until), nullIfEmpty(v.SHA256), v.ID)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	if !r.forward {
		if err := r.later(ctx, v.ID); err != nil {
			return err
		}
	}
	return r.settle(ctx, v.ID)
}

// later applies to a version that an old manifest told of what newer changes did to it.
func (r *Rebuild) later(ctx context.Context, id ID) error {
	for _, text := range []string{
		`UPDATE version SET vanished = coalesce((SELECT CASE kind WHEN 'vanished' THEN at ELSE 0 END FROM change WHERE version = ?1 AND id > ?2
			AND kind IN ('vanished', 'revived') ORDER BY id DESC LIMIT 1), vanished) WHERE id = ?1`,
		`UPDATE version SET until = (SELECT min(at) FROM change WHERE version = ?1 AND kind = 'replaced'), current = 0
			WHERE id = ?1 AND until = 0 AND EXISTS (SELECT 1 FROM change WHERE version = ?1 AND id > ?2 AND kind = 'replaced')`,
	} {
		if err := r.exec(ctx, text, id, r.manifest.Upto); err != nil {
			return err
		}
	}
	return nil
}

// settle makes a version that nothing ended the current one of its path, if it is the newest there.
func (r *Rebuild) settle(ctx context.Context, id ID) error {
	var parent, other ID
	var name []byte
	var since, otherSince int64
	found, err := r.get(ctx, []any{&parent, &name, &since}, `SELECT parent, name, since FROM version WHERE id = ? AND until = 0 AND current = 0 AND state IN (1, 2)`, id)
	if err != nil || !found {
		return err
	}
	found, err = r.get(ctx, []any{&other, &otherSince}, `SELECT id, since FROM version WHERE parent = ? AND name = ? AND current = 1 AND id <> 1`, parent, name)
	if err != nil {
		return err
	}
	if found {
		loser, at := id, otherSince
		if since > otherSince || since == otherSince && id > other {
			loser, at = other, since
		}
		if err := r.exec(ctx, `UPDATE version SET current = 0, until = ? WHERE id = ?`, at, loser); err != nil || loser == id {
			return err
		}
	}
	return r.exec(ctx, `UPDATE version SET current = 1 WHERE id = ?`, id)
}

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
	var id int64 // the copy
	found, err := r.get(ctx, []any{&id}, `SELECT id FROM copy WHERE object = ? AND pool = ? ORDER BY state >= 4, id DESC LIMIT 1`, object, pool)
	if err == nil && !found {
		_, err = r.get(ctx, []any{&id}, `INSERT INTO copy (object, pool, state) VALUES (?, ?, 0) RETURNING id`, object, pool)
	}
	if err != nil {
		return err
	}
	var part int64
	var state PartState
	found, err = r.get(ctx, []any{&part, &state}, `SELECT id, state FROM copy_part WHERE copy = ? AND number = ? AND tape = ? AND name = ?
		AND (startblock = ? OR startblock = -1 OR ? = -1) ORDER BY startblock = -1, id DESC LIMIT 1`, id, p.Number, tape, p.Name, p.StartBlock, p.StartBlock)
	switch {
	case err != nil:
		return err
	case !found:
		return r.exec(ctx, `INSERT INTO copy_part (copy, number, tape, name, size, startblock, state, manifest, written, durable)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)`, id, p.Number, tape, p.Name, p.Size, p.StartBlock, p.State, r.manifest.ID, nsOf(r.manifest.Written))
	case state == PartWritten || r.forward && p.State > state || p.State == PartDamaged && state == PartDurable:
		return r.exec(ctx, `UPDATE copy_part SET state = ?, manifest = coalesce(manifest, ?), durable = max(durable, ?) WHERE id = ?`,
			p.State, r.manifest.ID, nsOf(r.manifest.Written), part)
	}
	return r.exec(ctx, `UPDATE copy_part SET manifest = ? WHERE id = ? AND manifest IS NULL`, r.manifest.ID, part)
}

// Change records a change and, when now is given, the version as it was when the manifest was written.
// A change of a version that nothing tells of leaves only its number.
func (r *Rebuild) Change(ctx context.Context, c Change, now *Version) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.change(ctx, c, now); err != nil {
		return fmt.Errorf("record change %d: %w", c.ID, err)
	}
	return nil
}

func (r *Rebuild) change(ctx context.Context, c Change, now *Version) error {
	if c.ID <= 0 {
		return errors.New("its number is not positive")
	}
	r.lastChange, r.lastVersion = max(r.lastChange, c.ID), max(r.lastVersion, c.Version)
	var kind string
	var version ID
	found, err := r.get(ctx, []any{&kind, &version}, `SELECT kind, version FROM change WHERE id = ?`, c.ID)
	if err != nil {
		return err
	}
	if found {
		if kind != c.Kind || version != c.Version {
			return fmt.Errorf("%w: it is %q of version %d", ErrContradiction, kind, version)
		}
		if r.forward && now != nil {
			return r.node(ctx, now)
		}
		return nil
	}
	// The newest change of a version tells how it is, also from an old manifest.
	var last int64
	if _, err := r.get(ctx, []any{&last}, `SELECT coalesce(max(id), 0) FROM change WHERE version = ?`, c.Version); err != nil {
		return err
	}
	if now != nil {
		was := r.forward
		r.forward = was || c.ID > last
		err := r.node(ctx, now)
		r.forward = was
		if err != nil {
			return err
		}
	}
	if _, found, err = r.row(ctx, c.Version); err != nil || !found {
		return err
	}
	return r.exec(ctx, `INSERT INTO change (id, at, run, kind, version, detail) VALUES (?, ?, ?, ?, ?, ?)`, c.ID, nsOf(c.At), r.run, c.Kind, c.Version, c.Detail)
}
