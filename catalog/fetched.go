package catalog

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Fetched is what the fetched file itself said.
type Fetched struct {
	Version ID
	Gone    bool // could not be fetched: the planned version is dropped
	Size    int64
	Target  string
	Inode   ID // of the first of its hard-linked names in this batch; 0: itself
	Nlink   uint32
	Same    ID        // a version that has the same bytes already, under another name; 0: it has its own
	SHA256  []byte    // of the content, where it was summed; nil
	Twin    ID        // a version with the same content, there or on its way to tape, whose bytes it is to have; 0: its own
	CTime   time.Time // of a source that is read in place: the last change of the inode; zero: unknown
	Ino     uint64    // its inode number there; 0: unknown
	Grew    bool      // it grew while it was read
	Meta

	Replaced bool // set by MarkFetched: the path showed something else until then
}

// MarkFetched makes planned versions present and current and ends those they replace. The spool
// must have been synced. Call it in pieces; then SetBatchState(Synced). A version that is marked
// already may be marked again (a run that died repeats itself) while the path still shows it. What
// was planned below a directory that is none any more is kept as a past version.
func (db *DB) MarkFetched(ctx context.Context, run int64, batch int64, files []Fetched, at time.Time) error {
	for page := range slices.Chunk(files, changePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			m, err := newFetchMarker(ctx, tx, run, batch, at)
			if err != nil {
				return err
			}
			defer m.close()
			for i := range page {
				if err := m.mark(ctx, &page[i]); err != nil {
					return fmt.Errorf("version %d: %w", page[i].Version, err)
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("record fetched files of batch %d: %w", batch, err)
		}
	}
	return nil
}

// fetchMarker makes planned versions of one batch present within one transaction.
type fetchMarker struct {
	tx                                           *sql.Tx
	run, batch                                   int64
	at                                           time.Time
	planned, first, update, asPlanned, seen, sum *sql.Stmt
	owners                                       map[Owner]int64
}

func newFetchMarker(ctx context.Context, tx *sql.Tx, run, batch int64, at time.Time) (m *fetchMarker, err error) {
	var state BatchState
	err = tx.QueryRowContext(ctx, `SELECT state FROM batch WHERE id = ?`, batch).Scan(&state)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, ErrNotFound
	case err != nil:
		return nil, err
	case state != Fetching:
		return nil, errors.New("it is fetched already")
	}
	m = &fetchMarker{tx: tx, run: run, batch: batch, at: at, owners: map[Owner]int64{}}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&m.planned, `SELECT v.size, v.state, v.current, d.current, o.id FROM version v JOIN version d ON d.id = v.parent
			LEFT JOIN version o INDEXED BY version_path ON o.parent = v.parent AND o.name = v.name AND o.current = 1 WHERE v.id = ? AND v.batch = ?`},
		{&m.first, `SELECT count(*) FROM version WHERE id = ? AND batch = ? AND kind = ` + sqlFile + ``},
		{&m.update, `UPDATE version SET state = ` + sqlPresent + `, current = ?, since = ?, until = ?, vanished = 0, mode = ?, owner = ?, size = ?, mtime = ?,
			mtime_ns = ?, inode = ?, data = ?, nlink = ?, target = ? WHERE id = ?`},
		// Most files are what was planned: fewer columns are fewer indexes to look at.
		{&m.asPlanned, `UPDATE version SET state = ` + sqlPresent + `, current = 1, since = ?, mode = ?, owner = ?, mtime = ?, mtime_ns = ? WHERE id = ?`},
		{&m.seen, `UPDATE version SET ctime = ?, ino = ?, grew = ? WHERE id = ?`},
		{&m.sum, `UPDATE version SET sha256 = ? WHERE id = ? AND sha256 IS NULL`},
	} {
		if *p.stmt, err = tx.PrepareContext(ctx, p.text); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *fetchMarker) close() {
	for _, s := range []*sql.Stmt{m.planned, m.first, m.update, m.asPlanned, m.seen, m.sum} {
		if s != nil {
			s.Close()
		}
	}
}

func (m *fetchMarker) mark(ctx context.Context, f *Fetched) error {
	var size int64
	var state VersionState
	var current, below bool // below: its directory is one still
	var old sql.NullInt64   // what the path shows until now
	err := m.planned.QueryRowContext(ctx, f.Version, m.batch).Scan(&size, &state, &current, &below, &old)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return err
	case f.Gone:
		return m.drop(ctx, f.Version, state)
	case state == Present && !current:
		return nil // marked before, and replaced since
	case state != Planned && state != Present:
		return fmt.Errorf("its state is %d", state)
	}
	var until int64
	if !below {
		until = nsOf(m.at)
	} else if old.Valid && ID(old.Int64) != f.Version {
		err = endVersion(ctx, m.tx, m.run, ID(old.Int64), m.at)
	}
	if err != nil {
		return err
	}
	f.Replaced = old.Valid && ID(old.Int64) != f.Version
	if !f.CTime.IsZero() || f.Grew {
		if _, err := m.seen.ExecContext(ctx, nullIfZero(nsOf(f.CTime)), nullIfZero(int64(f.Ino)), boolInt(f.Grew), f.Version); err != nil {
			return err
		}
	}
	owner, err := m.owner(ctx, f.Owner)
	if err != nil {
		return err
	}
	if f.Twin != 0 && f.Same == 0 && state == Planned {
		if done, err := m.link(ctx, f, owner, until, below); done || err != nil {
			return err
		}
	}
	if len(f.SHA256) > 0 {
		if _, err := m.sum.ExecContext(ctx, f.SHA256, f.Version); err != nil {
			return err
		}
	}
	if state == Planned && below && f.Same == 0 && f.Size == size && f.Target == "" && f.Nlink <= 1 && (f.Inode == 0 || f.Inode == f.Version) {
		_, err = m.asPlanned.ExecContext(ctx, nsOf(m.at), f.Mode, owner, f.MTime.Sec, f.MTime.Nsec, f.Version)
		return err
	}
	if f.Same != 0 {
		return m.same(ctx, f, owner, below, until)
	}
	inode := f.Version
	if f.Inode != 0 && f.Inode != f.Version {
		inode = f.Inode
		var n int
		if err := m.first.QueryRowContext(ctx, inode, m.batch).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("hard link to version %d: %w", inode, ErrNotFound)
		}
	}
	_, err = m.update.ExecContext(ctx, boolInt(below), nsOf(m.at), until, f.Mode, owner, f.Size, f.MTime.Sec, f.MTime.Nsec,
		inode, inode, max(f.Nlink, 1), bytesOrNull(f.Target), f.Version)
	return err
}

// same makes a planned version present with the bytes of another one: it is no member of an object. Manifests tell of
// it by a change "moved", which names the version that had the bytes, and the first object of the batch: all
// that is older than this is as it was when the file got its name.
func (m *fetchMarker) same(ctx context.Context, f *Fetched, owner int64, below bool, until int64) error {
	var data ID
	var sum []byte
	err := m.tx.QueryRowContext(ctx, `SELECT v.data, coalesce(v.sha256, d.sha256) FROM version v JOIN version d ON d.id = v.data
		WHERE v.id = ? AND v.kind = `+sqlFile+` AND v.state = `+sqlPresent+` AND v.size = ? AND v.id <> ?`, f.Same, f.Size, f.Version).Scan(&data, &sum)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(sum) == 0 {
		return fmt.Errorf("bytes of version %d: %w", f.Same, ErrNotFound)
	} else if err != nil {
		return err
	}
	var before string
	if err := m.tx.QueryRowContext(ctx, `SELECT coalesce(min(oid), '') FROM object WHERE batch = ?`, m.batch).Scan(&before); err != nil {
		return err
	}
	if _, err := m.tx.ExecContext(ctx, `DELETE FROM member WHERE version = ?`, f.Version); err != nil {
		return err
	}
	_, err = m.tx.ExecContext(ctx, `UPDATE version SET state = `+sqlPresent+`, current = ?, since = ?, until = ?, vanished = 0, mode = ?, owner = ?, size = ?, mtime = ?,
		mtime_ns = ?, inode = ?, data = ?, nlink = ?, target = NULL, sha256 = ?, batch = NULL WHERE id = ?`, boolInt(below), nsOf(m.at), until, f.Mode, owner,
		f.Size, f.MTime.Sec, f.MTime.Nsec, cmp.Or(f.Inode, f.Version), data, max(f.Nlink, 1), sum, f.Version)
	if err != nil {
		return err
	}
	return journal(ctx, m.tx, m.run, "moved", f.Version, m.at, fmt.Sprintf(`{"from":%d,"before":%q}`, f.Same, before))
}

func (m *fetchMarker) owner(ctx context.Context, o Owner) (int64, error) {
	if id, ok := m.owners[o]; ok {
		return id, nil
	}
	id, err := ownerID(ctx, m.tx, o)
	if err == nil {
		m.owners[o] = id
	}
	return id, err
}

// drop removes a planned version that could not be fetched.
func (m *fetchMarker) drop(ctx context.Context, id ID, state VersionState) error {
	if state != Planned {
		return errors.New("is fetched already")
	}
	var links int
	err := m.tx.QueryRowContext(ctx, `SELECT count(*) FROM version WHERE data = ?1 AND data <> id`, id).Scan(&links)
	if err != nil {
		return err
	}
	if links > 0 {
		return errors.New("other names have its bytes")
	}
	for _, text := range []string{`DELETE FROM member WHERE version = ?`, `DELETE FROM version WHERE id = ?`} {
		if _, err := m.tx.ExecContext(ctx, text, id); err != nil {
			return err
		}
	}
	return nil
}

// SetBatchState moves a batch on and records its size. It is called synced only when each of its
// versions was fetched or given up. ReleaseBatch ends it.
func (db *DB) SetBatchState(ctx context.Context, batch int64, s BatchState, bytes int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		if s == Released {
			return errors.New("only what is safe is released")
		}
		var left int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM version WHERE batch = ? AND state = `+sqlPlanned, batch).Scan(&left); err != nil {
			return err
		}
		if s == Synced && left > 0 {
			return fmt.Errorf("%d of its files were neither fetched nor given up", left)
		}
		return changeOne(ctx, tx, `UPDATE batch SET state = ?1, bytes = ?2 WHERE id = ?3 AND state <= ?1`, s, bytes, batch)
	})
	if err != nil {
		return fmt.Errorf("record batch %d: %w", batch, err)
	}
	return nil
}

// DropObject removes a planned object that lost all its members, with its owed copies.
func (db *DB) DropObject(ctx context.Context, object int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var state ObjectState
		err := tx.QueryRowContext(ctx, `SELECT state FROM object WHERE id = ?`, object).Scan(&state)
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		if state != ObjectPlanned {
			return errors.New("it is packed already")
		}
		var files int
		err = tx.QueryRowContext(ctx, `SELECT count(*) FROM member m JOIN version v ON v.id = m.version WHERE m.object = ? AND v.kind <> `+sqlDirectory, object).Scan(&files)
		if err != nil {
			return err
		}
		if files > 0 { // nothing else would write them
			return fmt.Errorf("%d of its files were fetched or are still to be", files)
		}
		var parts int
		err = tx.QueryRowContext(ctx, `SELECT count(*) FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = ?`, object).Scan(&parts)
		if err != nil {
			return err
		}
		if parts > 0 { // its tries are remembered: they are leftovers on tapes
			if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = `+sqlCopyDropped+` WHERE object = ?`, object); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `UPDATE object SET state = `+sqlObjectDropped+` WHERE id = ?`, object)
			return err
		}
		for _, text := range []string{`DELETE FROM member WHERE object = ?`, `DELETE FROM copy WHERE object = ?`,
			`DELETE FROM part WHERE object = ?`, `DELETE FROM object WHERE id = ?`} {
			if _, err := tx.ExecContext(ctx, text, object); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop object %d: %w", object, err)
	}
	return nil
}
