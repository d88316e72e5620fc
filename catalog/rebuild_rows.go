package catalog

import (
	"context"
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
			VALUES (?1, 1, x'', `+sqlDirectory+`, 0, ?2, 0, 0, 0, ?1, ?1, `+sqlPlanned+`, 0)`, id, owner)
		if err != nil {
			return err
		}
		r.hasRow(id, Directory)
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
	if err := r.node(ctx, v, ""); err != nil {
		return fmt.Errorf("record version %d: %w", v.ID, err)
	}
	return nil
}

// node records a version, and changes its numbers to those that the catalog has. oid is the object that it is a member of.
func (r *Rebuild) node(ctx context.Context, v *Version, oid string) error {
	if v.ID <= Root {
		return fmt.Errorf("%d is no version's number", v.ID)
	}
	if err := checkName(v.Name); err != nil {
		return err
	}
	r.lastVersion = max(r.lastVersion, v.ID)
	row, found, err := r.translate(ctx, v, oid)
	if err != nil {
		return err
	}
	if err := r.directory(ctx, v.Parent); err != nil {
		return err
	}
	owner, err := r.owner(ctx, v.Owner)
	if err != nil {
		return err
	}
	switch {
	case !found:
		err = r.exec(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data, target, sha256,
			state, current, since, until, vanished) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)`,
			v.ID, v.Parent, []byte(v.Name), v.Kind, v.Mode, owner, v.Size, v.MTime.Sec, v.MTime.Nsec, v.Inode, max(v.Nlink, 1), v.Data,
			bytesOrNull(v.Target), nullIfEmpty(v.SHA256), v.State, nsOf(v.Since), nsOf(v.Until), nsOf(v.Vanished))
		r.hasRow(v.ID, v.Kind)
	case row.kind != v.Kind || !row.placeholder && (row.parent != v.Parent || string(row.name) != v.Name):
		return fmt.Errorf("%w: it is %q in directory %d", ErrContradiction, row.name, row.parent)
	case row.placeholder || r.forward || row.state == Planned:
		if !row.placeholder && !r.forward { // a newer change told what it looks like
			if err := r.keepMeta(ctx, v, &owner); err != nil {
				return err
			}
		}
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
			nullIfEmpty(v.SHA256), r.stateOf(v, &row), boolInt(row.current), nsOf(v.Since), until, nsOf(v.Vanished), v.ID)
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
	if !found && r.forward { // nearly all: what the row says is what was just written
		if !v.Until.IsZero() || v.State != Present && v.State != Void {
			return nil
		}
		return r.settleAs(ctx, v.ID, v.Parent, []byte(v.Name), nsOf(v.Since))
	}
	return r.settle(ctx, v.ID)
}

// stateOf is the state of a version after a record of it. A file that was void in one sealing may be whole in the next; what
// was forgotten stays so.
func (r *Rebuild) stateOf(v *Version, row *nodeRow) VersionState {
	if r.forward && row.state == Void && v.State == Present {
		return Present
	}
	return max(v.State, row.state)
}

// keepMeta puts into v and owner what the row has, if a change that is newer than the manifest said so.
func (r *Rebuild) keepMeta(ctx context.Context, v *Version, owner *int64) error {
	_, err := r.get(ctx, []any{&v.Mode, owner}, `SELECT mode, owner FROM version WHERE id = ?1
		AND EXISTS (SELECT 1 FROM change WHERE version = ?1 AND id > ?2 AND kind = 'metadata')`, v.ID, r.manifest.Upto)
	return err
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
	var parent ID
	var name []byte
	var since int64
	found, err := r.get(ctx, []any{&parent, &name, &since}, `SELECT parent, name, since FROM version WHERE id = ? AND until = 0 AND current = 0 AND state IN (`+sqlPresent+`, `+sqlVoid+`)`, id)
	if err != nil || !found {
		return err
	}
	return r.settleAs(ctx, id, parent, name, since)
}

func (r *Rebuild) settleAs(ctx context.Context, id, parent ID, name []byte, since int64) error {
	var other ID
	var otherSince int64
	found, err := r.get(ctx, []any{&other, &otherSince}, `SELECT id, since FROM version WHERE parent = ? AND name = ? AND current = 1 AND id <> 1`, parent, name)
	if err != nil {
		return err
	}
	if found {
		loser, at := id, otherSince
		if since > otherSince || since == otherSince && id > other {
			loser, at = other, since
		}
		if err := r.mergeLater(ctx, loser, id+other-loser); err != nil {
			return err
		}
		if err := r.exec(ctx, `UPDATE version SET current = 0, until = ? WHERE id = ?`, at, loser); err != nil || loser == id {
			return err
		}
	}
	return r.exec(ctx, `UPDATE version SET current = 1 WHERE id = ?`, id)
}
