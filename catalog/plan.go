package catalog

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Meta is what a listing or a fetched file says of a path.
type Meta struct {
	Mode  uint32
	Owner Owner
	MTime Time
}

// versionInserter adds rows to version within one transaction.
type versionInserter struct {
	tx     *sql.Tx
	insert *sql.Stmt
	last   ID // the last id given
	owners map[Owner]int64
}

func newVersionInserter(ctx context.Context, tx *sql.Tx) (*versionInserter, error) {
	in := &versionInserter{tx: tx, owners: map[Owner]int64{}}
	// The transaction holds the write lock, so nobody else draws ids meanwhile. AUTOINCREMENT
	// remembers the greatest id ever given, also when it is given here.
	err := tx.QueryRowContext(ctx, `SELECT max((SELECT seq FROM sqlite_sequence WHERE name = 'version'), (SELECT max(id) FROM version))`).Scan(&in.last)
	if err != nil {
		return nil, fmt.Errorf("next id: %w", err)
	}
	in.insert, err = tx.PrepareContext(ctx, `INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data,
		target, state, current, since, batch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?1, 1, ?1, ?10, ?11, ?12, ?13, ?14)`)
	return in, err
}

func (in *versionInserter) close() { in.insert.Close() }

// owner is the number of an owner.
func (in *versionInserter) owner(ctx context.Context, o Owner) (int64, error) {
	if id, ok := in.owners[o]; ok {
		return id, nil
	}
	id, err := ownerID(ctx, in.tx, o)
	if err == nil {
		in.owners[o] = id
	}
	return id, err
}

// add inserts a version whose inode and data are its own, and returns its id.
func (in *versionInserter) add(ctx context.Context, v *Version) (ID, error) {
	owner, err := in.owner(ctx, v.Owner)
	if err != nil {
		return 0, err
	}
	in.last++
	_, err = in.insert.ExecContext(ctx, in.last, v.Parent, []byte(v.Name), v.Kind, v.Mode, owner, v.Size, v.MTime.Sec, v.MTime.Nsec,
		bytesOrNull(v.Target), v.State, boolInt(v.Current), nsOf(v.Since), nullIfZero(v.Batch))
	return in.last, err
}

// insertVersion adds one row and returns its id.
func insertVersion(ctx context.Context, tx *sql.Tx, v *Version) (ID, error) {
	in, err := newVersionInserter(ctx, tx)
	if err != nil {
		return 0, err
	}
	defer in.close()
	return in.add(ctx, v)
}

func bytesOrNull(s string) any {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func nullIfEmpty(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

func nullIfZero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// journal records a change without bytes for the next manifests.
func journal(ctx context.Context, tx *sql.Tx, run int64, kind string, v ID, at time.Time, detail string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO change (at, run, kind, version, detail) VALUES (?, ?, ?, ?, ?)`, nsOf(at), run, kind, v, detail)
	return err
}

// EnsureDir returns the id of a directory, made or brought up to date. A file or symlink that
// stood there until now is ended.
func (db *DB) EnsureDir(ctx context.Context, run int64, parent ID, name string, m Meta) (ID, error) {
	old, err := db.Lookup(ctx, parent, name)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return 0, err
	case err == nil && old.Kind == Directory && old.Mode == m.Mode && old.Owner == m.Owner && old.MTime == m.MTime:
		return old.ID, nil
	}
	found := err == nil
	var id ID
	err = db.update(ctx, func(tx *sql.Tx) error {
		now := time.Now()
		owner, err := ownerID(ctx, tx, m.Owner)
		if err != nil {
			return err
		}
		if found && old.Kind == Directory {
			id = old.ID
			if _, err := tx.ExecContext(ctx, `UPDATE version SET mode = ?, owner = ?, mtime = ?, mtime_ns = ? WHERE id = ?`,
				m.Mode, owner, m.MTime.Sec, m.MTime.Nsec, id); err != nil {
				return err
			}
			return journal(ctx, tx, run, "metadata", id, now, "")
		}
		if found {
			if err := endVersion(ctx, tx, run, old.ID, now); err != nil {
				return err
			}
		}
		id, err = insertVersion(ctx, tx, &Version{Parent: parent, Name: name, Kind: Directory, Mode: m.Mode, Owner: m.Owner, MTime: m.MTime,
			State: Present, Current: true, Since: now})
		if err != nil {
			return err
		}
		return journal(ctx, tx, run, "directory", id, now, "")
	})
	if err != nil {
		return 0, fmt.Errorf("record directory %q: %w", name, err)
	}
	return id, nil
}

// endVersion ends a current version, a directory's with all below it.
func endVersion(ctx context.Context, tx *sql.Tx, run int64, id ID, at time.Time) error {
	_, err := tx.ExecContext(ctx, `WITH RECURSIVE below (id) AS (
			SELECT ?1 UNION ALL SELECT v.id FROM version v JOIN below ON v.parent = below.id WHERE v.current = 1)
		UPDATE version SET current = 0, until = ?2 WHERE id IN (SELECT id FROM below) AND current = 1`, id, nsOf(at))
	if err != nil {
		return err
	}
	return journal(ctx, tx, run, "replaced", id, at, "")
}

// changePage is how many versions one transaction marks.
const changePage = 2000

// MarkVanished marks versions (directories too) that a complete listing no longer had. The marks
// are journalled. Marked versions stay current and readable.
func (db *DB) MarkVanished(ctx context.Context, run int64, ids []ID, at time.Time) error {
	return db.mark(ctx, run, ids, "vanished", nsOf(at), at)
}

// Revive takes the mark away, journalled too.
func (db *DB) Revive(ctx context.Context, run int64, ids []ID) error {
	return db.mark(ctx, run, ids, "revived", 0, time.Now())
}

func (db *DB) mark(ctx context.Context, run int64, ids []ID, kind string, vanished int64, at time.Time) error {
	for len(ids) > 0 {
		page := ids[:min(len(ids), changePage)]
		ids = ids[len(page):]
		err := db.update(ctx, func(tx *sql.Tx) error {
			for _, id := range page {
				res, err := tx.ExecContext(ctx, `UPDATE version SET vanished = ?1 WHERE id = ?2 AND (vanished = 0) <> (?1 = 0)`, vanished, id)
				if err != nil {
					return err
				}
				if n, err := res.RowsAffected(); err != nil {
					return err
				} else if n == 0 {
					continue
				}
				if err := journal(ctx, tx, run, kind, id, at, ""); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("mark %s: %w", kind, err)
		}
	}
	return nil
}

// NewVersion is a file or symlink to be fetched, or a directory whose entry is to be written.
type NewVersion struct {
	Existing ID // a directory that has an id already; the fields below are then ignored
	Parent   ID
	Name     string
	Kind     Kind
	Size     int64
	Meta
}

// NewObject is planned with its members in order; ids are given in that order.
type NewObject struct {
	OID         string
	Key         int64
	PartSize    int64
	PlannedSize int64
	Members     []NewVersion
	Pools       []int64 // a copy is owed in each
}

// PlannedObject is an Object with its members' versions, in order.
type PlannedObject struct {
	Object
	Versions []Version
}

// PlanBatch records a batch in state Fetching with its objects, members, planned versions and owed
// copies, all or nothing.
func (db *DB) PlanBatch(ctx context.Context, b Batch, objects []NewObject) (Batch, []PlannedObject, error) {
	err := db.update(ctx, func(tx *sql.Tx) error {
		b.State = Fetching
		res, err := tx.ExecContext(ctx, `INSERT INTO batch (run, source, dir, local, state, bytes) VALUES (?, ?, ?, ?, ?, ?)`,
			b.Run, b.Source, b.Dir, boolInt(b.Local), b.State, b.Bytes)
		if err != nil {
			return err
		}
		if b.ID, err = res.LastInsertId(); err != nil {
			return err
		}
		for i := range objects {
			if err := planObject(ctx, tx, b, &objects[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return b, nil, fmt.Errorf("plan batch: %w", err)
	}
	planned, err := db.BatchObjects(ctx, b.ID)
	return b, planned, err
}

func planObject(ctx context.Context, tx *sql.Tx, b Batch, o *NewObject) error {
	if o.PartSize <= 0 || o.PartSize%ExtentSize != 0 {
		return fmt.Errorf("object %s: part size %d is not a multiple of %d", o.OID, o.PartSize, ExtentSize)
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO object (oid, run, source, batch, key, part_size, planned_size, state, created)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, o.OID, b.Run, b.Source, b.ID, o.Key, o.PartSize, o.PlannedSize, ObjectPlanned, time.Now().UnixNano())
	if err != nil {
		return err
	}
	object, err := res.LastInsertId()
	if err != nil {
		return err
	}
	member, err := tx.PrepareContext(ctx, `INSERT INTO member (object, version) VALUES (?, ?)`)
	if err != nil {
		return err
	}
	defer member.Close()
	in, err := newVersionInserter(ctx, tx)
	if err != nil {
		return err
	}
	defer in.close()
	for i := range o.Members {
		m := &o.Members[i]
		id := m.Existing
		if id == 0 {
			id, err = in.add(ctx, &Version{Parent: m.Parent, Name: m.Name, Kind: m.Kind, Mode: m.Mode, Owner: m.Owner, Size: m.Size,
				MTime: m.MTime, State: Planned, Batch: b.ID})
			if err != nil {
				return fmt.Errorf("%q: %w", m.Name, err)
			}
		}
		if _, err := member.ExecContext(ctx, object, id); err != nil {
			return fmt.Errorf("%q: %w", m.Name, err)
		}
	}
	for _, pool := range o.Pools {
		if _, err := tx.ExecContext(ctx, `INSERT INTO copy (object, pool, state) VALUES (?, ?, ?)`, object, pool, Owed); err != nil {
			return err
		}
	}
	return nil
}

func scanBatch(rows *sql.Rows) (b Batch, err error) {
	err = rows.Scan(&b.ID, &b.Run, &b.Source, &b.Dir, &b.Local, &b.State, &b.Bytes)
	return b, err
}

const batchColumns = `b.id, b.run, b.source, b.dir, b.local, b.state, b.bytes`

// OpenBatches lists batches that are not released, oldest first.
func (db *DB) OpenBatches(ctx context.Context) ([]Batch, error) {
	return query(ctx, db.reader, "open batches", scanBatch, `SELECT `+batchColumns+` FROM batch b WHERE b.state < 2 ORDER BY b.id`)
}

const objectColumns = `o.id, o.oid, o.run, o.source, o.batch, o.key, k.fingerprint, o.salt, o.part_size, o.planned_size, o.plain_size,
	o.sealed_size, o.state, o.created`

func scanObject(rows *sql.Rows) (Object, error) { return scanObjectAnd(rows) }

func scanObjectAnd(rows *sql.Rows, more ...any) (o Object, err error) {
	var batch sql.NullInt64
	var created int64
	err = rows.Scan(append([]any{&o.ID, &o.OID, &o.Run, &o.Source, &batch, &o.Key, &o.Fingerprint, &o.Salt, &o.PartSize, &o.PlannedSize,
		&o.PlainSize, &o.SealedSize, &o.State, &created}, more...)...)
	o.Batch, o.Created = batch.Int64, timeOf(created)
	return o, err
}

// BatchObjects lists a batch's objects in order of id, with versions (void and planned ones too).
// Dropped objects are left out.
func (db *DB) BatchObjects(ctx context.Context, batch int64) ([]PlannedObject, error) {
	objects, err := query(ctx, db.reader, "objects", scanObject, `SELECT `+objectColumns+` FROM object o JOIN seal_key k ON k.id = o.key
		WHERE o.batch = ? AND o.state <> 3 ORDER BY o.id`, batch)
	if err != nil {
		return nil, err
	}
	planned := make([]PlannedObject, len(objects))
	for i, o := range objects {
		planned[i].Object = o
		if planned[i].Versions, err = db.memberVersions(ctx, o.ID); err != nil {
			return nil, err
		}
	}
	return planned, nil
}

func (db *DB) memberVersions(ctx context.Context, object int64) ([]Version, error) {
	var list []Version
	err := db.eachVersion(ctx, db.reader, func(v *Version) error {
		list = append(list, *v)
		return nil
	}, `SELECT `+versionColumns+` FROM member m JOIN version v ON v.id = m.version WHERE m.object = ? ORDER BY m.version`, object)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return list, nil
}

// Fetched is what the fetched file itself said.
type Fetched struct {
	Version ID
	Gone    bool // could not be fetched: the planned version is dropped
	Size    int64
	Target  string
	Inode   ID // of the first of its hard-linked names in this batch; 0: itself
	Nlink   uint32
	Meta
}

// MarkFetched makes planned versions present and current and ends those they replace. The spool
// must have been synced. Call it in pieces; then SetBatchState(Synced).
func (db *DB) MarkFetched(ctx context.Context, run int64, batch int64, files []Fetched, at time.Time) error {
	for len(files) > 0 {
		page := files[:min(len(files), changePage)]
		files = files[len(page):]
		err := db.update(ctx, func(tx *sql.Tx) error {
			m, err := newFetchMarker(ctx, tx)
			if err != nil {
				return err
			}
			defer m.close()
			for i := range page {
				if err := m.mark(ctx, run, &page[i], at); err != nil {
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

// fetchMarker makes planned versions present within one transaction.
type fetchMarker struct {
	tx                   *sql.Tx
	planned, old, update *sql.Stmt
	owners               map[Owner]int64
}

func newFetchMarker(ctx context.Context, tx *sql.Tx) (*fetchMarker, error) {
	m := &fetchMarker{tx: tx, owners: map[Owner]int64{}}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&m.planned, `SELECT parent, name, state FROM version WHERE id = ?`},
		{&m.old, `SELECT id FROM version WHERE parent = ? AND name = ? AND current = 1`},
		{&m.update, `UPDATE version SET state = 1, current = 1, since = ?, vanished = 0, mode = ?, owner = ?, size = ?, mtime = ?,
			mtime_ns = ?, inode = ?, data = ?, nlink = ?, target = ? WHERE id = ?`},
	} {
		stmt, err := tx.PrepareContext(ctx, p.text)
		if err != nil {
			return nil, err
		}
		*p.stmt = stmt
	}
	return m, nil
}

func (m *fetchMarker) close() {
	m.planned.Close()
	m.old.Close()
	m.update.Close()
}

func (m *fetchMarker) mark(ctx context.Context, run int64, f *Fetched, at time.Time) error {
	var parent ID
	var name []byte
	var state VersionState
	err := m.planned.QueryRowContext(ctx, f.Version).Scan(&parent, &name, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	} else if err != nil {
		return err
	}
	if f.Gone {
		return m.drop(ctx, f.Version, state)
	}
	var old ID
	err = m.old.QueryRowContext(ctx, parent, name).Scan(&old)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil && old != f.Version {
		if err := endVersion(ctx, m.tx, run, old, at); err != nil {
			return err
		}
	}
	owner, ok := m.owners[f.Owner]
	if !ok {
		if owner, err = ownerID(ctx, m.tx, f.Owner); err != nil {
			return err
		}
		m.owners[f.Owner] = owner
	}
	inode := f.Inode
	if inode == 0 {
		inode = f.Version
	}
	_, err = m.update.ExecContext(ctx, nsOf(at), f.Mode, owner, f.Size, f.MTime.Sec, f.MTime.Nsec,
		inode, inode, max(f.Nlink, 1), bytesOrNull(f.Target), f.Version)
	return err
}

// drop removes a planned version that could not be fetched.
func (m *fetchMarker) drop(ctx context.Context, id ID, state VersionState) error {
	if state != Planned {
		return errors.New("is fetched already")
	}
	for _, text := range []string{`DELETE FROM member WHERE version = ?`, `DELETE FROM version WHERE id = ?`} {
		if _, err := m.tx.ExecContext(ctx, text, id); err != nil {
			return err
		}
	}
	return nil
}

// SetBatchState moves a batch on and records its size.
func (db *DB) SetBatchState(ctx context.Context, batch int64, s BatchState, bytes int64) error {
	return db.exec(ctx, "record batch", `UPDATE batch SET state = ?, bytes = ? WHERE id = ?`, s, bytes, batch)
}

// DropObject removes a planned object that lost all its members, with its owed copies.
func (db *DB) DropObject(ctx context.Context, object int64) error {
	err := db.update(ctx, func(tx *sql.Tx) error {
		var state ObjectState
		if err := tx.QueryRowContext(ctx, `SELECT state FROM object WHERE id = ?`, object).Scan(&state); err != nil {
			return err
		}
		if state != ObjectPlanned {
			return errors.New("it is packed already")
		}
		var parts int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = ?`, object).Scan(&parts)
		if err != nil {
			return err
		}
		if parts > 0 { // its tries are remembered: they are leftovers on tapes
			if _, err := tx.ExecContext(ctx, `UPDATE copy SET state = 5 WHERE object = ?`, object); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `UPDATE object SET state = 3 WHERE id = ?`, object)
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

// DrawSalt returns 8 random bytes that this key never used, recorded before they are returned.
func (db *DB) DrawSalt(ctx context.Context, key int64, purpose string) ([]byte, error) {
	for range 10 {
		salt := make([]byte, 8)
		if _, err := rand.Read(salt); err != nil {
			return nil, fmt.Errorf("draw salt: %w", err)
		}
		fresh := false
		err := db.update(ctx, func(tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, `INSERT INTO salt (key, salt, purpose, drawn) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				key, salt, purpose, time.Now().UnixNano())
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			fresh = n == 1
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("draw salt: %w", err)
		}
		if fresh {
			return salt, nil
		}
	}
	return nil, errors.New("draw salt: the random numbers repeat")
}

func newUUID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("draw UUID: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
