package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Nearly all records of a manifest are members with numbers that no row has yet, which nothing ended and which have bytes of their own.
// Those need no look at what is there, and are written many in one statement.

// heldMember is such a member.
type heldMember struct {
	v      Version
	owner  int64
	object int64
	m      Member
}

// holdRows is how many members one statement writes.
const holdRows = 64

// errHeld: members that were held back could not be written. It says nothing of the record at hand.
var errHeld = errors.New("record members")

const (
	textVersion = `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data, target, sha256,
		state, current, since, vanished) VALUES `
	textVersionRow  = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)`
	textVersionTook = ` ON CONFLICT DO NOTHING` // another has the path

	textMember      = `INSERT INTO member (object, version, header, data) VALUES (?, ?, ?, ?)`
	textMemberKnown = ` ON CONFLICT DO UPDATE SET header = excluded.header, data = excluded.data WHERE header < 0`
)

var (
	textOneVersion   = textVersion + textVersionRow + textVersionTook
	textManyVersions = textVersion + textVersionRow + strings.Repeat(", "+textVersionRow, holdRows-1) + textVersionTook
	textOneMember    = textMember + textMemberKnown
	textManyMembers  = textMember + strings.Repeat(", (?, ?, ?, ?)", holdRows-1) + textMemberKnown
)

// maxMade bounds the directories that are remembered.
const maxMade = 100_000

// hasRow notes that a version has a row now.
func (r *Rebuild) hasRow(id ID, kind Kind) {
	switch {
	case id <= r.top:
	case kind == Directory && len(r.made) < maxMade:
		r.made[id] = true
	default:
		r.top = id
	}
}

// simple reports whether a member can be held: nothing has its number.
func (r *Rebuild) simple(v *Version) bool {
	return r.forward && len(r.alias) == 0 && v.ID > r.top && !r.made[v.ID] && v.ID > Root && v.Parent != v.ID && v.Kind != Directory &&
		v.Inode == v.ID && v.Data == v.ID && v.Until.IsZero() && (v.State == Present || v.State == Void)
}

// hold takes a simple member, to be written with others.
func (r *Rebuild) hold(ctx context.Context, object int64, m Member, v *Version) error {
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
	r.held = append(r.held, heldMember{*v, owner, object, m})
	r.hasRow(v.ID, v.Kind)
	if len(r.held) < holdRows {
		return nil
	}
	return r.writeHeld(ctx)
}

// writeHeld writes the members that are held. Where a path has a current version already the newer of the two stays that.
func (r *Rebuild) writeHeld(ctx context.Context) error {
	if len(r.held) == 0 {
		return nil
	}
	held := r.held
	r.held = nil
	err := r.writeMembers(ctx, held)
	r.held = held[:0]
	if err != nil {
		return fmt.Errorf("%w: %w", errHeld, err)
	}
	return nil
}

func (r *Rebuild) writeMembers(ctx context.Context, held []heldMember) error {
	step, texts := 1, [2]string{textOneVersion, textOneMember}
	if len(held) == holdRows {
		step, texts = holdRows, [2]string{textManyVersions, textManyMembers}
	}
	for i := 0; i < len(held); i += step {
		rows := held[i : i+step]
		args := r.args[:0]
		for j := range rows {
			h := &rows[j]
			v := &h.v
			args = append(args, int64(v.ID), int64(v.Parent), []byte(v.Name), int64(v.Kind), int64(v.Mode), h.owner, v.Size, v.MTime.Sec, int64(v.MTime.Nsec),
				int64(v.ID), int64(max(v.Nlink, 1)), int64(v.ID), bytesOrNull(v.Target), nullIfEmpty(v.SHA256), int64(v.State), nsOf(v.Since), nsOf(v.Vanished))
		}
		written, err := r.affected(ctx, texts[0], args...)
		if err != nil {
			return err
		}
		if written < int64(len(rows)) {
			if err := r.settleHeld(ctx, rows); err != nil {
				return err
			}
		}
		args = args[:0]
		for j := range rows {
			h := &rows[j]
			args = append(args, h.object, int64(h.v.ID), h.m.Header, h.m.Data)
		}
		_, err = r.affected(ctx, texts[1], args...)
		r.args = args
		if err != nil {
			return err
		}
	}
	return nil
}

// settleHeld writes those of some members whose paths had a current version when they came.
func (r *Rebuild) settleHeld(ctx context.Context, rows []heldMember) error {
	for i := range rows {
		v := &rows[i].v
		_, found, err := r.row(ctx, v.ID)
		if err != nil {
			return err
		}
		if found {
			continue
		}
		err = r.exec(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data, target, sha256,
			state, current, since, vanished) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?1, ?10, ?1, ?11, ?12, ?13, 0, ?14, ?15)`,
			v.ID, v.Parent, []byte(v.Name), v.Kind, v.Mode, rows[i].owner, v.Size, v.MTime.Sec, v.MTime.Nsec, max(v.Nlink, 1),
			bytesOrNull(v.Target), nullIfEmpty(v.SHA256), v.State, nsOf(v.Since), nsOf(v.Vanished))
		if err == nil {
			err = r.settleAs(ctx, v.ID, v.Parent, []byte(v.Name), nsOf(v.Since))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// affected is exec that counts rows.
func (r *Rebuild) affected(ctx context.Context, text string, args ...any) (int64, error) {
	s, err := r.stmt(ctx, text)
	if err != nil {
		return 0, err
	}
	result, err := s.ExecContext(context.WithoutCancel(ctx), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
