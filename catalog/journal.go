package catalog

import (
	"context"
	"database/sql"
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
		parts, err := query(ctx, db.reader, "parts without a manifest", scanCopyPart, textUnmanifested, tape, after)
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

const textUnmanifested = `SELECT ` + copyPartColumns + ` FROM copy_part p INDEXED BY copy_part_unnamed CROSS JOIN tape t ON t.id = p.tape
	WHERE p.tape = ? AND p.id > ? AND p.manifest IS NULL AND (p.state = ` + sqlPartWritten + ` OR p.state = ` + sqlPartDurable + `) ORDER BY p.id LIMIT 1`

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

const manifestColumns = `id, tape, seq, name, mac, previous, coalesce(after, 0), upto, state, written`

func scanManifest(rows *sql.Rows) (m Manifest, err error) {
	var written int64
	err = rows.Scan(&m.ID, &m.Tape, &m.Seq, &m.Name, &m.MAC, &m.Previous, &m.After, &m.Upto, &m.State, &written)
	m.Written = timeOf(written)
	return m, err
}

// LastManifest returns the newest manifest of a tape that is not lost; ErrNotFound when there is none.
func (db *DB) LastManifest(ctx context.Context, tape int64) (Manifest, error) {
	list, err := query(ctx, db.reader, "manifests", scanManifest, `SELECT `+manifestColumns+` FROM manifest
		WHERE tape = ? AND state < `+sqlManifestLost+` ORDER BY seq DESC LIMIT 1`, tape)
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
	m.State = ManifestWritten
	if m.Written.IsZero() {
		m.Written = time.Now().UTC()
	}
	err := db.update(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO manifest (tape, seq, name, mac, previous, after, upto, state, written) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			m.Tape, m.Seq, m.Name, m.MAC, m.Previous, m.After, m.Upto, m.State, nsOf(m.Written))
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

// LoseManifests marks written (not durable) manifests and snapshots of a tape as lost; what they named is unnamed again.
func (db *DB) LoseManifests(ctx context.Context, tape int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE copy_part SET manifest = NULL WHERE manifest IN (SELECT id FROM manifest WHERE tape = ? AND state = `+sqlManifestWritten+`)`, tape)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE manifest SET state = `+sqlManifestLost+` WHERE tape = ? AND state = `+sqlManifestWritten, tape); err != nil {
			return err
		}
		return loseSnapshots(ctx, tx, `s.tape = ? AND s.state = `+sqlManifestWritten, tape)
	})
	if err != nil {
		return fmt.Errorf("record lost manifests: %w", err)
	}
	return nil
}

// AddSnapshot records a catalog snapshot on a tape and resets the pool's unsnapped bytes.
func (db *DB) AddSnapshot(ctx context.Context, tape int64, name string, size int64, mac []byte) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO snapshot (tape, name, size, mac, state, written) VALUES (?, ?, ?, ?, `+sqlManifestWritten+`, ?)`,
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

// JournalFiles lists the durable manifests and snapshots of a tape by name.
func (db *DB) JournalFiles(ctx context.Context, tape int64) ([]string, error) {
	return query(ctx, db.reader, "manifests and snapshots", func(rows *sql.Rows) (s string, err error) {
		return s, rows.Scan(&s)
	}, `SELECT name FROM manifest WHERE tape = ?1 AND state = `+sqlManifestDurable+` UNION SELECT name FROM snapshot WHERE tape = ?1 AND state = `+sqlManifestDurable+` ORDER BY 1`, tape)
}

// HasSnapshot reports whether a durable snapshot with this name and MAC is recorded on a volume.
func (db *DB) HasSnapshot(ctx context.Context, volume, name string, mac []byte) (known bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM snapshot s JOIN tape t ON t.id = s.tape
		WHERE t.uuid = ? AND s.name = ? AND s.mac = ? AND s.state = `+sqlManifestDurable+`)`, volume, name, mac).Scan(&known)
	if err != nil {
		err = fmt.Errorf("look for snapshot %s: %w", name, err)
	}
	return known, err
}
