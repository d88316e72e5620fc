package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ManifestPart is a part that no manifest of its tape names yet, with all it takes to describe it.
type ManifestPart struct {
	CopyPart
	Object PlannedObject // with placed members
	Member []PackedMember
	Parts  []Part
	Others []CopyPart // the other parts of this copy, wherever they are
}

// Unmanifested calls fn for each written part on a tape that no manifest names, in order of id;
// abandoned parts of the copies concerned, on this or other tapes, are among Others.
func (db *DB) Unmanifested(ctx context.Context, tape int64, fn func(*ManifestPart) error) error {
	for after := int64(0); ; {
		parts, err := query(ctx, db.reader, "parts without a manifest", scanCopyPart, `SELECT `+copyPartColumns+` FROM copy_part p
			INDEXED BY copy_part_tape JOIN tape t ON t.id = p.tape WHERE p.tape = ? AND p.id > ? AND p.manifest IS NULL AND p.state IN (1, 2)
			ORDER BY p.id LIMIT 1`, tape, after)
		if err != nil || len(parts) == 0 {
			return err
		}
		after = parts[0].ID
		m, err := db.manifestPart(ctx, parts[0])
		if err != nil {
			return err
		}
		if err := fn(m); err != nil {
			return err
		}
	}
}

func (db *DB) manifestPart(ctx context.Context, p CopyPart) (*ManifestPart, error) {
	m := &ManifestPart{CopyPart: p}
	objects, err := query(ctx, db.reader, "object", scanObject, `SELECT `+objectColumns+` FROM copy c JOIN object o ON o.id = c.object
		JOIN seal_key k ON k.id = o.key WHERE c.id = ?`, p.Copy)
	if err != nil {
		return nil, err
	}
	if len(objects) != 1 {
		return nil, fmt.Errorf("object of part %s: %w", p.Name, ErrNotFound)
	}
	m.Object.Object = objects[0]
	if m.Object.Versions, err = db.memberVersions(ctx, m.Object.ID); err != nil {
		return nil, err
	}
	m.Member, err = query(ctx, db.reader, "members", func(rows *sql.Rows) (k PackedMember, err error) {
		var state VersionState
		err = rows.Scan(&k.Version, &k.Header, &k.Data, &k.SHA256, &state)
		k.Void = state == Void
		return k, err
	}, `SELECT m.version, m.header, m.data, v.sha256, v.state FROM member m JOIN version v ON v.id = m.version WHERE m.object = ? ORDER BY m.version`, m.Object.ID)
	if err != nil {
		return nil, err
	}
	if m.Parts, err = db.Parts(ctx, m.Object.ID); err != nil {
		return nil, err
	}
	all, err := db.CopyParts(ctx, p.Copy)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if other.ID != p.ID {
			m.Others = append(m.Others, other)
		}
	}
	return m, nil
}

// Changes lists journal entries with id > after, in order.
func (db *DB) Changes(ctx context.Context, after int64, fn func(*Change) error) error {
	const page = 1000
	for {
		list, err := query(ctx, db.reader, "changes", func(rows *sql.Rows) (c Change, err error) {
			var at int64
			err = rows.Scan(&c.ID, &at, &c.Run, &c.Kind, &c.Version, &c.Detail)
			c.At = timeOf(at)
			return c, err
		}, `SELECT id, at, run, kind, version, detail FROM change WHERE id > ? ORDER BY id LIMIT ?`, after, page)
		if err != nil {
			return err
		}
		for i := range list {
			if err := fn(&list[i]); err != nil {
				return err
			}
			after = list[i].ID
		}
		if len(list) < page {
			return nil
		}
	}
}

const manifestColumns = `id, tape, seq, name, mac, previous, upto, state, written`

func scanManifest(rows *sql.Rows) (m Manifest, err error) {
	var written int64
	err = rows.Scan(&m.ID, &m.Tape, &m.Seq, &m.Name, &m.MAC, &m.Previous, &m.Upto, &m.State, &written)
	m.Written = timeOf(written)
	return m, err
}

// LastManifest returns the newest manifest of a tape that is not lost; ErrNotFound when there is none.
func (db *DB) LastManifest(ctx context.Context, tape int64) (Manifest, error) {
	list, err := query(ctx, db.reader, "manifests", scanManifest, `SELECT `+manifestColumns+` FROM manifest
		WHERE tape = ? AND state < 3 ORDER BY seq DESC LIMIT 1`, tape)
	if err != nil {
		return Manifest{}, err
	}
	if len(list) == 0 {
		return Manifest{}, fmt.Errorf("manifest of tape %d: %w", tape, ErrNotFound)
	}
	return list[0], nil
}

// AddManifest records a manifest as written and that it names these parts: the tape's own, and those of
// tapes that were full before they could take it.
func (db *DB) AddManifest(ctx context.Context, m Manifest, copyParts []int64) (Manifest, error) {
	m.State = 1
	if m.Written.IsZero() {
		m.Written = time.Now().UTC()
	}
	err := db.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO manifest (tape, seq, name, mac, previous, upto, state, written) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			m.Tape, m.Seq, m.Name, m.MAC, m.Previous, m.Upto, m.State, nsOf(m.Written))
		if err != nil {
			return err
		}
		if m.ID, err = res.LastInsertId(); err != nil {
			return err
		}
		for _, part := range copyParts {
			res, err := tx.ExecContext(ctx, `UPDATE copy_part SET manifest = ? WHERE id = ? AND manifest IS NULL`, m.ID, part)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n != 1 {
				return fmt.Errorf("part %d is not there or is named already", part)
			}
		}
		return nil
	})
	if err != nil {
		return m, fmt.Errorf("record manifest %s: %w", m.Name, err)
	}
	return m, nil
}

// LoseManifests marks written (not durable) manifests of a tape as lost; what they named is unnamed again.
func (db *DB) LoseManifests(ctx context.Context, tape int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE copy_part SET manifest = NULL WHERE manifest IN (SELECT id FROM manifest WHERE tape = ? AND state = 1)`, tape)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE manifest SET state = 3 WHERE tape = ? AND state = 1`, tape)
		return err
	})
	if err != nil {
		return fmt.Errorf("record lost manifests: %w", err)
	}
	return nil
}

// MarkDurable is called after a proved sync of a tape: its written parts, manifests and snapshots
// are durable, copies all of whose parts are become durable, the pool's journal position moves.
func (db *DB) MarkDurable(ctx context.Context, tape int64, indexGeneration, free int64, at time.Time) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		copies, err := query(ctx, tx, "written copies", func(rows *sql.Rows) (id int64, err error) {
			err = rows.Scan(&id)
			return id, err
		}, `SELECT DISTINCT copy FROM copy_part WHERE state = 1 AND tape = ?`, tape)
		if err != nil {
			return err
		}
		for _, text := range []string{
			`UPDATE copy_part SET state = 2, durable = ?2 WHERE tape = ?1 AND state = 1`,
			`UPDATE manifest SET state = 2 WHERE tape = ?1 AND state = 1 AND ?2 <> 0`,
			`UPDATE snapshot SET state = 2 WHERE tape = ?1 AND state = 1 AND ?2 <> 0`,
		} {
			if _, err := tx.ExecContext(ctx, text, tape, nsOf(at)); err != nil {
				return err
			}
		}
		for _, id := range copies {
			if err := settleCopy(ctx, tx, id); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `UPDATE pool SET journalled = max(journalled, (SELECT coalesce(max(m.upto), 0) FROM manifest m JOIN tape t ON t.id = m.tape
			WHERE t.pool = pool.id AND m.state = 2)) WHERE id = (SELECT pool FROM tape WHERE id = ?)`, tape)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE tape SET generation_index = ?, free = ?, seen = ? WHERE id = ?`, indexGeneration, free, nsOf(at), tape)
		return err
	})
	if err != nil {
		return fmt.Errorf("record synced tape %d: %w", tape, err)
	}
	return nil
}

// ReleasableBatches lists synced batches all of whose objects have all copies durable.
func (db *DB) ReleasableBatches(ctx context.Context) ([]Batch, error) {
	return query(ctx, db.reader, "safe batches", scanBatch, `SELECT `+batchColumns+` FROM batch b WHERE b.state = 1 AND b.state < 2 AND NOT EXISTS (
		SELECT 1 FROM object o WHERE o.batch = b.id AND (o.state = 0 OR EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state < 3)))
		ORDER BY b.id`)
}

// ReleaseBatch forgets a batch's bytes: call it before its directory is removed.
func (db *DB) ReleaseBatch(ctx context.Context, batch int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE version SET batch = NULL WHERE batch = ?`, batch); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE batch SET state = 2 WHERE id = ?`, batch)
		return err
	})
	if err != nil {
		return fmt.Errorf("release batch %d: %w", batch, err)
	}
	return nil
}

// AddSnapshot records a catalog snapshot on a tape and resets the pool's unsnapped bytes.
func (db *DB) AddSnapshot(ctx context.Context, tape int64, name string, size int64, mac []byte) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO snapshot (tape, name, size, mac, state, written) VALUES (?, ?, ?, ?, 1, ?)`,
			tape, name, size, mac, time.Now().UnixNano())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE pool SET unsnapped = 0 WHERE id = (SELECT pool FROM tape WHERE id = ?)`, tape)
		return err
	})
	if err != nil {
		return fmt.Errorf("record snapshot %s: %w", name, err)
	}
	return nil
}

// Place is one copy with its live parts in order.
type Place struct {
	Copy
	Parts []CopyPart
}

// Location says where a version's bytes are.
type Location struct {
	Version Version // whose members hold the bytes (Version.Data of what was asked for)
	Batch   *Batch  // synced spool batch that has them, or nil
	Path    string  // below the batch's Dir: the path within the source
	Object  Object  // zero ID: not packed yet
	Data    int64   // offset of the bytes in the plain stream
	Places  []Place // durable and written copies
}

// Locate finds a version's bytes. Of several objects one with a durable copy is preferred.
func (db *DB) Locate(ctx context.Context, id ID) (Location, error) {
	var loc Location
	asked, err := db.Get(ctx, id)
	if err != nil {
		return loc, err
	}
	loc.Version = asked
	if asked.Data != asked.ID {
		if loc.Version, err = db.Get(ctx, asked.Data); err != nil {
			return loc, err
		}
	}
	if loc.Version.Batch != 0 {
		batches, err := query(ctx, db.reader, "batch", scanBatch, `SELECT `+batchColumns+` FROM batch b WHERE b.id = ? AND b.state = 1`, loc.Version.Batch)
		if err != nil {
			return loc, err
		}
		if len(batches) == 1 {
			loc.Batch = &batches[0]
			if loc.Path, err = db.pathInSource(ctx, loc.Version.ID); err != nil {
				return loc, err
			}
		}
	}
	type placed struct {
		o    Object
		data int64
	}
	objects, err := query(ctx, db.reader, "objects", func(rows *sql.Rows) (p placed, err error) {
		p.o, err = scanObjectAnd(rows, &p.data)
		return p, err
	}, `SELECT `+objectColumns+`, m.data FROM member m JOIN object o ON o.id = m.object JOIN seal_key k ON k.id = o.key
		WHERE m.version = ? AND o.state IN (1, 2)
		ORDER BY EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND c.state = 3) DESC, o.id DESC LIMIT 1`, loc.Version.ID)
	if err != nil || len(objects) == 0 {
		return loc, err
	}
	loc.Object, loc.Data = objects[0].o, objects[0].data
	copies, err := query(ctx, db.reader, "copies", scanCopy, `SELECT id, object, pool, state, verified FROM copy
		WHERE object = ? AND state IN (2, 3) ORDER BY state DESC, id`, loc.Object.ID)
	if err != nil {
		return loc, err
	}
	for _, c := range copies {
		parts, err := query(ctx, db.reader, "parts of copy", scanCopyPart, `SELECT `+copyPartColumns+` FROM copy_part p JOIN tape t ON t.id = p.tape
			WHERE p.copy = ? AND p.state IN (1, 2) ORDER BY p.number, p.id`, c.ID)
		if err != nil {
			return loc, err
		}
		loc.Places = append(loc.Places, Place{Copy: c, Parts: parts})
	}
	return loc, nil
}

// pathInSource is a version's path below its source's directory.
func (db *DB) pathInSource(ctx context.Context, id ID) (string, error) {
	path, err := db.Path(ctx, id)
	if err != nil {
		return "", err
	}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			return path[i+1:], nil
		}
	}
	return "", errors.New("a source's directory has no bytes")
}
