package catalog

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Adopted is an object that no manifest names, read whole.
type Adopted struct {
	OID, Fingerprint, Source string
	Salt                     []byte
	PartSize                 int64
	PlainSize, SealedSize    int64
	Created                  time.Time
	Pool, Volume             string
	Parts                    []Part
	Files                    []CopyPart // Number, Name, Size, StartBlock
	Members                  []AdoptedMember
}

// AdoptedMember is a member as its tar header tells of it: Version has kind, metadata, size and sum.
type AdoptedMember struct {
	Path         string // within the source, "" its directory
	Header, Data int64
	Link         int // index of the member that this is a hard link to; -1 none
	Version      Version
}

// ErrNothingNew: all that an object holds is in the catalog with bytes of its own.
var ErrNothingNew = errors.New("the catalog has the same files in other objects")

// Adopt takes an object into the catalog under new ids. Its files are as old as the object: where a path
// shows something newer they become past versions. ErrNothingNew leaves all as it is.
func (db *DB) Adopt(ctx context.Context, run int64, a Adopted) error {
	source := Source{}
	if err := checkName(a.Source); err != nil {
		return err
	}
	source, err := db.SourceByName(ctx, a.Source)
	if errors.Is(err, ErrNotFound) {
		source, err = db.EnsureSource(ctx, a.Source, "")
	}
	if err == nil {
		err = db.update(ctx, func(tx *sql.Tx) error { return adopt(ctx, tx, run, source, a) })
	}
	if err != nil {
		return fmt.Errorf("take over object %s: %w", a.OID, err)
	}
	return nil
}

func adopt(ctx context.Context, tx *sql.Tx, run int64, source Source, a Adopted) error {
	var key, tape, pool, object, copyID int64
	err := tx.QueryRowContext(ctx, `SELECT k.id, t.id, t.pool FROM seal_key k, tape t WHERE k.fingerprint = ? AND t.uuid = ?`, a.Fingerprint, a.Volume).Scan(&key, &tape, &pool)
	if err != nil {
		return fmt.Errorf("its key or tape: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO salt (key, salt, purpose, drawn, used) VALUES (?, ?, 'object', ?, 1) ON CONFLICT DO UPDATE SET used = 1`,
		key, a.Salt, nsOf(a.Created)); err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO object (oid, run, source, key, salt, part_size, planned_size, plain_size, sealed_size, state, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, `+sqlObjectPacked+`, ?) RETURNING id`, a.OID, run, source.ID, key, a.Salt, a.PartSize, a.SealedSize, a.PlainSize, a.SealedSize, nsOf(a.Created)).Scan(&object)
	if err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, `INSERT INTO copy (object, pool, state) VALUES (?, ?, `+sqlWritten+`) RETURNING id`, object, pool).Scan(&copyID); err != nil {
		return err
	}
	now := time.Now()
	for i, p := range a.Parts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO part (object, number, size, sha256, sums) VALUES (?, ?, ?, ?, ?)`, object, p.Number, p.Size, p.SHA256, p.Sums); err != nil {
			return err
		}
		f := &a.Files[i]
		_, err := tx.ExecContext(ctx, `INSERT INTO copy_part (copy, number, tape, name, size, startblock, state, written, durable, verified)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, `+sqlPartDurable+`, ?7, ?7, ?7)`, copyID, f.Number, tape, f.Name, f.Size, f.StartBlock, nsOf(now))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tape SET used = used + ?1, leftover = max(0, leftover - ?1) WHERE id = ?2`, f.Size, tape); err != nil {
			return err
		}
	}
	in, err := newVersionInserter(ctx, tx)
	if err != nil {
		return err
	}
	defer in.close()
	ids := make([]ID, len(a.Members))
	fresh := 0
	for i := range a.Members {
		m := &a.Members[i]
		var made bool
		if ids[i], made, err = adoptMember(ctx, in, run, source, a, m, ids); err != nil {
			return fmt.Errorf("%q: %w", m.Path, err)
		}
		if m.Version.Kind == Directory || !made {
			continue
		}
		fresh++
		if _, err := tx.ExecContext(ctx, `INSERT INTO member (object, version, header, data) VALUES (?, ?, ?, ?)`, object, ids[i], m.Header, m.Data); err != nil {
			return err
		}
	}
	if fresh == 0 {
		return ErrNothingNew
	}
	return nil
}

// adoptMember finds or makes a member's version.
func adoptMember(ctx context.Context, in *versionInserter, run int64, source Source, a Adopted, m *AdoptedMember, ids []ID) (id ID, made bool, err error) {
	if m.Path == "" {
		return source.Root, false, nil
	}
	names := strings.Split(m.Path, "/")
	parent := source.Root
	for _, name := range names[:len(names)-1] {
		var kind Kind
		err := in.tx.QueryRowContext(ctx, `SELECT id, kind FROM version WHERE parent = ? AND name = ? AND current = 1 AND id <> 1`, parent, []byte(name)).Scan(&parent, &kind)
		if errors.Is(err, sql.ErrNoRows) || err == nil && kind != Directory {
			return 0, false, fmt.Errorf("%q is no directory now", name)
		}
		if err != nil {
			return 0, false, err
		}
	}
	v := m.Version
	v.Parent, v.Name, v.State, v.Since = parent, names[len(names)-1], Present, a.Created
	var current ID
	var kind Kind
	var since int64
	err = in.tx.QueryRowContext(ctx, `SELECT id, kind, since FROM version WHERE parent = ? AND name = ? AND current = 1 AND id <> 1`, parent, []byte(v.Name)).Scan(&current, &kind, &since)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, false, err
	}
	if v.Kind == Directory && current != 0 {
		return current, false, nil
	}
	same, err := query(ctx, in.tx, "versions", func(rows *sql.Rows) (id ID, err error) {
		var sum, target []byte
		err = rows.Scan(&id, &sum, &target)
		if !bytes.Equal(sum, v.SHA256) && m.Link < 0 || string(target) != v.Target {
			id = 0
		}
		return id, err
	}, `SELECT id, sha256, target FROM version WHERE parent = ? AND name = ? AND kind = ? AND size = ? AND mtime = ? AND mtime_ns = ? AND state = `+sqlPresent,
		parent, []byte(v.Name), v.Kind, v.Size, v.MTime.Sec, v.MTime.Nsec)
	if err != nil {
		return 0, false, err
	}
	for _, id := range same {
		if id != 0 {
			return id, false, nil
		}
	}
	switch newer := current == 0 || since < nsOf(a.Created) && kind != Directory; {
	case !newer:
		v.Until = timeOf(since)
	case current != 0:
		if err := endVersion(ctx, in.tx, run, current, a.Created); err != nil {
			return 0, false, err
		}
		v.Current = true
	default:
		v.Current = true
	}
	if id, err = in.add(ctx, &v); err != nil {
		return 0, false, err
	}
	inode := id
	if m.Link >= 0 {
		inode = ids[m.Link]
		v.SHA256 = a.Members[m.Link].Version.SHA256
	}
	_, err = in.tx.ExecContext(ctx, `UPDATE version SET sha256 = ?, until = ?, inode = ?, data = ? WHERE id = ?`, nullIfEmpty(v.SHA256), nsOf(v.Until), inode, inode, id)
	return id, true, err
}
