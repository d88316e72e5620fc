package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// alive holds for a member v of an object whose bytes somebody needs: a version that is not forgotten, or one that such
// versions have their bytes from. Of void ones only those that are shown are kept.
const alive = `(v.state = ` + sqlPresent + ` OR v.state = ` + sqlVoid + ` AND v.current = 1 OR EXISTS (
	SELECT 1 FROM version x WHERE x.data = v.id AND x.data <> x.id AND x.state = ` + sqlPresent + `))`

// weight is about what a member takes of its object, bytes.
const weight = `(1024 + CASE WHEN m.data >= 0 THEN v.size ELSE 0 END)`

// TapeLife is how much of a tape lives.
type TapeLife struct {
	Tape    int64
	Written int64 // bytes of all files of ours on it, leftovers too
	Live    int64 // of these, what somebody needs
}

// Share is the living share of what was written; 1 of a tape with nothing on it.
func (l TapeLife) Share() float64 {
	if l.Written <= 0 {
		return 1
	}
	return min(1, float64(l.Live)/float64(l.Written))
}

// TapeLives tells of each tape how much of it lives. Once something was forgotten it looks at every member of every object.
func (db *DB) TapeLives(ctx context.Context) (map[int64]TapeLife, error) {
	out := map[int64]TapeLife{}
	var forgot bool
	if err := db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM change WHERE kind = 'forget')`).Scan(&forgot); err != nil {
		return nil, fmt.Errorf("look what lives on tapes: %w", err)
	}
	if !forgot {
		tapes, err := db.Tapes(ctx)
		for _, t := range tapes {
			out[t.ID] = TapeLife{Tape: t.ID, Written: t.Used + t.Leftover, Live: t.Used}
		}
		return out, err
	}
	_, err := query(ctx, db.reader, "what lives on tapes", func(rows *sql.Rows) (struct{}, error) {
		var l TapeLife
		var live float64
		err := rows.Scan(&l.Tape, &l.Written, &live)
		l.Live = int64(live)
		out[l.Tape] = l
		return struct{}{}, err
	}, `WITH life (object, share) AS (
			SELECT m.object, CAST(sum(CASE WHEN v.kind <> `+sqlDirectory+` AND `+alive+` THEN `+weight+` ELSE 0 END) AS REAL) / max(1, sum(CASE WHEN v.kind <> `+sqlDirectory+` THEN `+weight+` ELSE 0 END))
			FROM member m JOIN version v ON v.id = m.version GROUP BY m.object)
		SELECT t.id, t.used + t.leftover, (SELECT coalesce(sum(p.size * l.share), 0) FROM copy_part p JOIN copy c ON c.id = p.copy JOIN life l ON l.object = c.object
			WHERE p.tape = t.id AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) AND c.state < `+sqlCopyDropped+`) FROM tape t`)
	return out, err
}

// ObjectLife is an object and which of its members live.
type ObjectLife struct {
	PlannedObject
	Live  map[ID]bool // files and symlinks, and the directories that must be kept
	Whole bool        // all of them do
	Dead  bool        // none does
}

// ObjectLife looks at an object's members. Directories live with what is in them, and where no other object has them.
func (db *DB) ObjectLife(ctx context.Context, object int64) (ObjectLife, error) {
	o, err := db.PackedObject(ctx, object)
	l := ObjectLife{PlannedObject: o, Live: map[ID]bool{}, Whole: true, Dead: true}
	if err != nil {
		return l, err
	}
	ids, err := query(ctx, db.reader, "living members", func(rows *sql.Rows) (id ID, err error) { return id, rows.Scan(&id) },
		`SELECT v.id FROM member m JOIN version v ON v.id = m.version WHERE m.object = ?1 AND (v.kind <> `+sqlDirectory+` AND `+alive+`
			OR v.kind = `+sqlDirectory+` AND v.state = `+sqlPresent+` AND v.current = 1 AND NOT EXISTS (
				SELECT 1 FROM member n JOIN object r ON r.id = n.object WHERE n.version = v.id AND n.object <> ?1 AND r.state < `+sqlObjectSuperseded+`))`, object)
	if err != nil {
		return l, err
	}
	parents := map[ID]ID{}
	for i := range o.Versions {
		if v := &o.Versions[i]; v.Kind == Directory {
			parents[v.ID] = v.Parent
		}
	}
	living := map[ID]bool{}
	for _, id := range ids {
		living[id] = true
	}
	for i := range o.Versions {
		v := &o.Versions[i]
		if !living[v.ID] {
			l.Whole = l.Whole && v.Kind == Directory
			continue
		}
		l.Dead = false
		l.Live[v.ID] = true
		for dir, ok := v.Parent, true; ok && !l.Live[dir]; {
			var up ID
			if up, ok = parents[dir]; ok {
				l.Live[dir] = true
				dir = up
			}
		}
	}
	return l, nil
}

// RepackPart is a durable part on a tape that is being repacked.
type RepackPart struct {
	CopyPart
	Object   int64
	Source   int64
	OID      string
	Moved    bool // the same part of the same copy lies durable on another tape
	Replaced bool // another object takes the place of its object
}

// RepackParts lists the durable parts on a tape that belong to copies in use, in the order of the tape.
func (db *DB) RepackParts(ctx context.Context, tape int64) ([]RepackPart, error) {
	return query(ctx, db.reader, "parts to repack", func(rows *sql.Rows) (p RepackPart, err error) {
		var manifest sql.NullInt64
		err = rows.Scan(&p.ID, &p.Copy, &p.Number, &p.Tape, &p.Barcode, &p.Name, &p.Size, &p.StartBlock, &p.State, &manifest,
			&p.Object, &p.Source, &p.OID, &p.Moved, &p.Replaced)
		p.Manifest = manifest.Int64
		return p, err
	}, `SELECT `+copyPartColumns+`, o.id, o.source, o.oid,
			EXISTS (SELECT 1 FROM copy_part q JOIN tape u ON u.id = q.tape WHERE q.copy = p.copy AND q.number = p.number AND q.id <> p.id AND q.tape <> p.tape
				AND q.state = `+sqlPartDurable+` AND u.state IN `+stayingTapes+`),
			EXISTS (SELECT 1 FROM object r WHERE r.replaces = o.id AND r.state < `+sqlObjectDropped+`)
		FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object JOIN tape t ON t.id = p.tape
		WHERE p.tape = ? AND p.state = `+sqlPartDurable+` AND c.state < `+sqlCopyDropped+` AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`) ORDER BY p.startblock, p.id`, tape)
}

// Repacked is an object that takes the place of another, with those of its members that live.
type Repacked struct {
	Run      int64
	Replaces int64
	OID      string
	Key      int64
	PartSize int64
	Size     int64 // upper bound of its sealed bytes
	Members  []ID
	Dir      string // in the spool: its files' bytes, synced
	Bytes    int64  // of them
}

// AddRepacked records an object whose files were brought into the spool from tape: a copy is owed in each pool that
// had one of the old object. Nothing else changes before those are durable.
func (db *DB) AddRepacked(ctx context.Context, r Repacked) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var source int64
		var taken bool
		err := tx.QueryRowContext(ctx, `SELECT source, EXISTS (SELECT 1 FROM object n WHERE n.replaces = object.id AND n.state < `+sqlObjectDropped+`) FROM object WHERE id = ? AND state = `+sqlObjectPacked,
			r.Replaces).Scan(&source, &taken)
		if errors.Is(err, sql.ErrNoRows) || err == nil && taken {
			return errors.New("it is not packed, or replaced already")
		} else if err != nil {
			return err
		}
		var batch, object int64
		err = tx.QueryRowContext(ctx, `INSERT INTO batch (run, source, dir, local, state, bytes) VALUES (?, ?, ?, 0, ?, ?) RETURNING id`, r.Run, source, r.Dir, Synced, r.Bytes).Scan(&batch)
		if err != nil {
			return err
		}
		err = tx.QueryRowContext(ctx, `INSERT INTO object (oid, run, source, batch, key, part_size, planned_size, state, replaces, created)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, r.OID, r.Run, source, batch, r.Key, r.PartSize, r.Size, ObjectPlanned, r.Replaces, time.Now().UnixNano()).Scan(&object)
		if err != nil {
			return err
		}
		for _, id := range r.Members {
			if _, err := tx.ExecContext(ctx, `INSERT INTO member (object, version) VALUES (?, ?)`, object, id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE version SET batch = ? WHERE id = ? AND kind <> `+sqlDirectory+` AND batch IS NULL`, batch, id); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO copy (object, pool, state) SELECT DISTINCT ?, pool, `+sqlOwed+` FROM copy WHERE object = ? AND state < `+sqlCopyDropped, object, r.Replaces); err != nil {
			return err
		}
		// What the old object still owed the new one does.
		_, err = tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDropped+` WHERE object = ? AND state = `+sqlOwed+` AND NOT EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = copy.id AND p.state < `+sqlPartAbandoned+`)`, r.Replaces)
		return err
	})
	if err != nil {
		return fmt.Errorf("replace object %d: %w", r.Replaces, err)
	}
	return nil
}

// leavePart gives up a part that nobody needs any more; its bytes lie where they are.
func leavePart(ctx context.Context, tx *sql.Tx, where string, args ...any) error {
	type part struct{ id, tape, size int64 }
	parts, err := query(ctx, tx, "parts", func(rows *sql.Rows) (p part, err error) { return p, rows.Scan(&p.id, &p.tape, &p.size) },
		`SELECT id, tape, size FROM copy_part WHERE state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) AND `+where, args...)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := tx.ExecContext(ctx, `UPDATE copy_part SET state = `+sqlPartAbandoned+` WHERE id = ?`, p.id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE tape SET used = max(0, used - ?1), leftover = leftover + ?1 WHERE id = ?2`, p.size, p.tape); err != nil {
			return err
		}
	}
	return nil
}

// dropCopy ends a copy, and its object when that was the last.
func dropCopy(ctx context.Context, tx *sql.Tx, id, object int64, ended ObjectState) error {
	if err := leavePart(ctx, tx, `copy = ?`, id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDropped+` WHERE id = ?`, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE object SET state = ?1 WHERE id = ?2 AND state < ?1 AND NOT EXISTS (SELECT 1 FROM copy WHERE object = ?2 AND state < `+sqlCopyDropped+`)`, ended, object)
	return err
}

// DropDead ends a copy of an object none of whose members live. ErrLive when one does.
func (db *DB) DropDead(ctx context.Context, copyID int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var object int64
		var live bool
		err := tx.QueryRowContext(ctx, `SELECT c.object, EXISTS (SELECT 1 FROM member m JOIN version v ON v.id = m.version
			WHERE m.object = c.object AND v.kind <> `+sqlDirectory+` AND (v.batch IS NOT NULL OR `+alive+`)) FROM copy c WHERE c.id = ?`, copyID).Scan(&object, &live)
		if err != nil {
			return err
		}
		if live {
			return ErrLive
		}
		return dropCopy(ctx, tx, copyID, object, ObjectDropped)
	})
	if err != nil {
		return fmt.Errorf("drop copy %d: %w", copyID, err)
	}
	return nil
}

// UnprovedMoves lists the durable parts that repacking wrote and nobody has read back: those that lie beside the same
// part of the same copy on a superseded tape, and those of objects that replace others that have copies still.
func (db *DB) UnprovedMoves(ctx context.Context) ([]VerifyPart, error) {
	all, err := db.VerifyParts(ctx, VerifyFilter{})
	if err != nil {
		return nil, err
	}
	moves := map[int64]bool{}
	_, err = query(ctx, db.reader, "moved parts", func(rows *sql.Rows) (struct{}, error) {
		var id int64
		err := rows.Scan(&id)
		moves[id] = true
		return struct{}{}, err
	}, `SELECT q.id FROM tape t JOIN copy_part p ON p.tape = t.id JOIN copy_part q ON q.copy = p.copy AND q.number = p.number AND q.tape <> p.tape
			WHERE t.state = 'superseded' AND p.state = `+sqlPartDurable+` AND q.state = `+sqlPartDurable+` AND q.verified = 0
		UNION SELECT q.id FROM object r JOIN copy c ON c.object = r.id JOIN copy_part q ON q.copy = c.id JOIN copy d ON d.object = r.replaces AND d.pool = c.pool
			WHERE r.replaces IS NOT NULL AND r.state < `+sqlObjectSuperseded+` AND q.state = `+sqlPartDurable+` AND q.verified = 0 AND d.state < `+sqlCopyDropped)
	if err != nil {
		return nil, err
	}
	out := all[:0]
	for _, p := range all {
		if moves[p.ID] {
			out = append(out, p)
		}
	}
	return out, nil
}

// FinishMoves lets go of what repacking took the place of, as far as its replacement was read back: parts on superseded
// tapes, and copies of replaced objects. It returns how many parts and copies.
func (db *DB) FinishMoves(ctx context.Context) (n int, err error) {
	err = db.update(ctx, func(tx *sql.Tx) error {
		moved, err := query(ctx, tx, "moved parts", func(rows *sql.Rows) (id int64, err error) { return id, rows.Scan(&id) },
			`SELECT DISTINCT p.id FROM tape t JOIN copy_part p ON p.tape = t.id JOIN copy_part q ON q.copy = p.copy AND q.number = p.number AND q.tape <> p.tape
			JOIN tape u ON u.id = q.tape WHERE t.state = 'superseded' AND p.state = `+sqlPartDurable+` AND q.state = `+sqlPartDurable+` AND q.verified <> 0 AND u.state IN `+stayingTapes+`
			AND EXISTS (SELECT 1 FROM manifest m WHERE m.id = q.manifest AND m.state = `+sqlManifestDurable+`)`)
		if err != nil {
			return err
		}
		for _, id := range moved {
			if err := leavePart(ctx, tx, `id = ?`, id); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, textCopyVerified+` = (SELECT copy FROM copy_part WHERE id = ?) AND state = `+sqlPartAbandoned, id); err != nil {
				return err
			}
		}
		type pair struct{ copyID, object int64 }
		replaced, err := query(ctx, tx, "replaced copies", func(rows *sql.Rows) (p pair, err error) { return p, rows.Scan(&p.copyID, &p.object) },
			`SELECT d.id, d.object FROM object r JOIN copy c ON c.object = r.id JOIN copy d ON d.object = r.replaces AND d.pool = c.pool
			WHERE r.replaces IS NOT NULL AND r.state = `+sqlObjectPacked+` AND c.state = `+sqlDurable+` AND d.state < `+sqlCopyDropped+` AND NOT EXISTS (SELECT 1 FROM copy_part q
				JOIN tape u ON u.id = q.tape WHERE q.copy = c.id AND q.state = `+sqlPartDurable+` AND (q.verified = 0 OR u.state NOT IN `+countedTapes+`))
			AND NOT EXISTS (SELECT 1 FROM member m JOIN version v ON v.id = m.version WHERE m.object = d.object AND v.kind <> `+sqlDirectory+` AND `+alive+`
				AND NOT EXISTS (SELECT 1 FROM member n JOIN object k ON k.id = n.object WHERE n.version = v.id AND n.object <> m.object AND k.state = `+sqlObjectPacked+`))`)
		if err != nil {
			return err
		}
		for _, p := range replaced {
			if err := dropCopy(ctx, tx, p.copyID, p.object, ObjectSuperseded); err != nil {
				return err
			}
		}
		n = len(moved) + len(replaced)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("let go of what was repacked: %w", err)
	}
	return n, nil
}

// TapeNeeded counts the files on a tape that living objects have there and that did not go elsewhere: durable ones, and
// what damaged copies have left where no other copy is durable.
func (db *DB) TapeNeeded(ctx context.Context, tape int64) (n int, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT count(*) FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object
		WHERE p.tape = ? AND c.state < `+sqlCopyDropped+` AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`) AND (p.state < `+sqlPartAbandoned+` OR p.state = `+sqlPartDamaged+` AND NOT EXISTS (
			SELECT 1 FROM copy d WHERE d.object = o.id AND d.state = `+sqlDurable+`) AND EXISTS (
			SELECT 1 FROM member m JOIN version v ON v.id = m.version WHERE m.object = o.id AND v.kind <> `+sqlDirectory+` AND `+alive+`))`, tape).Scan(&n)
	if err != nil {
		err = fmt.Errorf("look what tape %d is needed for: %w", tape, err)
	}
	return n, err
}

// JournalBefore is the last change that other tapes of the pool name before a tape's own manifests begin: what comes
// after it must be named again when that tape goes. named: the tape has manifests at all.
func (db *DB) JournalBefore(ctx context.Context, tape int64) (after int64, named bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT coalesce(min(`+textBefore+`), 0), count(m.id) > 0 FROM tape t
		LEFT JOIN manifest m ON m.tape = t.id AND m.state < `+sqlManifestLost+` WHERE t.id = ?`, tape).Scan(&after, &named)
	if err != nil {
		err = fmt.Errorf("look what the manifests of tape %d name: %w", tape, err)
	}
	return after, named, err
}

// UnnameParts makes parts on other tapes unnamed that only a manifest on this tape names, and those that were moved from it: the
// next manifests tell where the parts of their copies are now.
func (db *DB) UnnameParts(ctx context.Context, tape int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		return settleUnnamed(ctx, tx, `p.tape <> ?1 AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) AND (p.manifest IN (SELECT id FROM manifest WHERE tape = ?1)
			OR p.copy IN (SELECT copy FROM copy_part WHERE tape = ?1 AND state = `+sqlPartAbandoned+`))`, tape)
	})
	if err != nil {
		return fmt.Errorf("name parts again: %w", err)
	}
	return nil
}
