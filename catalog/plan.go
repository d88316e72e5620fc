package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// NewVersion is a file or symlink to be fetched, or a directory whose entry is to be written.
type NewVersion struct {
	Existing ID // a directory that has an id already, or is a NewDir of the batch; the fields below are then ignored
	Parent   ID // below 0, -1-i: the i-th NewDir of the batch
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

// PlanBatch is AddBatch, and returns the objects as they were recorded.
func (db *DB) PlanBatch(ctx context.Context, b Batch, objects []NewObject) (Batch, []PlannedObject, error) {
	b, _, err := db.AddBatch(ctx, b, nil, objects)
	if err != nil {
		return b, nil, err
	}
	planned, err := db.BatchObjects(ctx, b.ID)
	return b, planned, err
}

// AddBatch records a batch in state Fetching with its objects, members, planned versions and owed
// copies, all or nothing. The directories in dirs are made or brought up to date as EnsureDirs does; a new one gets
// its id just before the first member that lies in it, so that a tree that is read in order of ids is read in the
// order of its members. The ids of dirs are returned in their order.
func (db *DB) AddBatch(ctx context.Context, b Batch, dirs []NewDir, objects []NewObject) (Batch, []ID, error) {
	p := &batchPlanner{run: b.Run, dirs: dirs, ids: make([]ID, len(dirs))}
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
		if p.in, err = newVersionInserter(ctx, tx); err != nil {
			return err
		}
		defer p.in.close()
		for i := range objects {
			if err := p.object(ctx, tx, b, &objects[i]); err != nil {
				return err
			}
		}
		return p.rest(ctx)
	})
	if err != nil {
		return b, nil, fmt.Errorf("plan batch: %w", err)
	}
	return b, p.ids, nil
}

// batchPlanner gives ids to what a batch is to hold, within one transaction.
type batchPlanner struct {
	run     int64
	in      *versionInserter
	dirs    []NewDir
	ids     []ID // of dirs; 0 while they have none
	checked dirChecker
}

// dir returns a directory's id. One of the batch's own is made now if it has none yet, its parents before it.
func (p *batchPlanner) dir(ctx context.Context, id ID) (ID, error) {
	if id >= 0 {
		return id, nil
	}
	i := int(-1 - id)
	if i >= len(p.dirs) {
		return 0, fmt.Errorf("directory %d of a batch with %d: %w", i, len(p.dirs), ErrNotFound)
	}
	if p.ids[i] != 0 {
		return p.ids[i], nil
	}
	d := p.dirs[i]
	if d.Parent < 0 && int(-1-d.Parent) >= i {
		return 0, fmt.Errorf("record directory %q: its parent comes after it", d.Name)
	}
	parent, err := p.dir(ctx, d.Parent)
	if err != nil {
		return 0, err
	}
	if p.ids[i], err = ensureDir(ctx, p.in, p.run, parent, d.Name, d.Meta); err != nil {
		return 0, fmt.Errorf("record directory %q: %w", d.Name, err)
	}
	return p.ids[i], nil
}

// rest makes all directories that have no id yet.
func (p *batchPlanner) rest(ctx context.Context) error {
	for i := range p.dirs {
		if _, err := p.dir(ctx, ID(-1-i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *batchPlanner) object(ctx context.Context, tx *sql.Tx, b Batch, o *NewObject) error {
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
	// New ids follow each other: their members are added many at once.
	var first, next ID
	addNew := func() error {
		if first == next {
			return nil
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO member (object, version) SELECT ?, id FROM version WHERE id >= ? AND id < ?`, object, first, next)
		return err
	}
	for i := range o.Members {
		m := &o.Members[i]
		existing, err := p.dir(ctx, m.Existing)
		if err != nil {
			return err
		}
		parent := ID(0)
		if existing == 0 {
			if parent, err = p.dir(ctx, m.Parent); err != nil {
				return err
			}
		}
		if err := p.checked.check(ctx, tx, existing, parent); err != nil {
			return fmt.Errorf("%q: %w", m.Name, err)
		}
		if existing != 0 {
			if _, err := tx.ExecContext(ctx, `INSERT INTO member (object, version) VALUES (?, ?)`, object, existing); err != nil {
				return fmt.Errorf("directory %d: %w", existing, err)
			}
			continue
		}
		if m.Kind != File && m.Kind != Symlink {
			return fmt.Errorf("%q: only files and symlinks are planned", m.Name)
		}
		id, err := p.in.add(ctx, &Version{Parent: parent, Name: m.Name, Kind: m.Kind, Mode: m.Mode, Owner: m.Owner, Size: m.Size,
			MTime: m.MTime, State: Planned, Batch: b.ID})
		if err != nil {
			return fmt.Errorf("%q: %w", m.Name, err)
		}
		if id != next {
			if err := addNew(); err != nil {
				return err
			}
			first = id
		}
		next = id + 1
	}
	if err := addNew(); err != nil {
		return err
	}
	for _, pool := range o.Pools {
		if _, err := tx.ExecContext(ctx, `INSERT INTO copy (object, pool, state) VALUES (?, ?, ?)`, object, pool, Owed); err != nil {
			return err
		}
	}
	return nil
}

// dirChecker knows directories it was asked for before: most members lie in the same.
type dirChecker struct{ known map[ID]bool }

// check wants a directory: the first id that is not 0.
func (c *dirChecker) check(ctx context.Context, tx *sql.Tx, ids ...ID) error {
	var id ID
	for _, id = range ids {
		if id != 0 {
			break
		}
	}
	if c.known[id] {
		return nil
	}
	var kind Kind
	err := tx.QueryRowContext(ctx, `SELECT kind FROM version WHERE id = ?`, id).Scan(&kind)
	if errors.Is(err, sql.ErrNoRows) || err == nil && kind != Directory {
		return fmt.Errorf("version %d is no directory: %w", id, ErrNotFound)
	} else if err != nil {
		return err
	}
	if c.known == nil {
		c.known = map[ID]bool{}
	}
	c.known[id] = true
	return nil
}

func scanBatch(rows *sql.Rows) (b Batch, err error) {
	err = rows.Scan(&b.ID, &b.Run, &b.Source, &b.Dir, &b.Local, &b.State, &b.Bytes)
	return b, err
}

const batchColumns = `b.id, b.run, b.source, b.dir, b.local, b.state, b.bytes`

// OpenBatches lists batches that are not released, oldest first.
func (db *DB) OpenBatches(ctx context.Context) ([]Batch, error) {
	return query(ctx, db.reader, "open batches", scanBatch, `SELECT `+batchColumns+` FROM batch b WHERE b.state < `+sqlReleased+` ORDER BY b.id`)
}

const objectColumns = `o.id, o.oid, o.run, o.source, o.batch, o.key, k.fingerprint, k.cipher, k.iterations, o.salt, o.part_size, o.planned_size, o.plain_size,
	o.sealed_size, o.state, o.created`

func scanObject(rows *sql.Rows) (Object, error) { return scanObjectAnd(rows) }

func scanObjectAnd(rows *sql.Rows, more ...any) (o Object, err error) {
	var batch sql.NullInt64
	var created int64
	err = rows.Scan(append([]any{&o.ID, &o.OID, &o.Run, &o.Source, &batch, &o.Key, &o.Fingerprint, &o.Cipher, &o.Iterations, &o.Salt, &o.PartSize, &o.PlannedSize,
		&o.PlainSize, &o.SealedSize, &o.State, &created}, more...)...)
	o.Batch, o.Created = batch.Int64, timeOf(created)
	return o, err
}

// BatchObjects lists a batch's objects in order of id, with versions (void and planned ones too).
// Dropped objects are left out.
func (db *DB) BatchObjects(ctx context.Context, batch int64) ([]PlannedObject, error) {
	objects, err := query(ctx, db.reader, "objects", scanObject, textBatchObjects, batch)
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

const (
	textBatchObjects = `SELECT ` + objectColumns + ` FROM object o INDEXED BY object_batch CROSS JOIN seal_key k ON k.id = o.key
		WHERE o.batch = ? AND o.state <> ` + sqlObjectDropped + ` ORDER BY o.id`
	textMembers = `SELECT ` + versionColumns + ` FROM member m CROSS JOIN version v ON v.id = m.version WHERE m.object = ? ORDER BY m.version`
)

func (db *DB) memberVersions(ctx context.Context, object int64) ([]Version, error) {
	var list []Version
	err := db.eachVersion(ctx, func(v *Version) error {
		list = append(list, *v)
		return nil
	}, textMembers, object)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return list, nil
}
