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

// PlanBatch is AddBatch, and returns the objects as they were recorded.
func (db *DB) PlanBatch(ctx context.Context, b Batch, objects []NewObject) (Batch, []PlannedObject, error) {
	b, err := db.AddBatch(ctx, b, objects)
	if err != nil {
		return b, nil, err
	}
	planned, err := db.BatchObjects(ctx, b.ID)
	return b, planned, err
}

// AddBatch records a batch in state Fetching with its objects, members, planned versions and owed
// copies, all or nothing.
func (db *DB) AddBatch(ctx context.Context, b Batch, objects []NewObject) (Batch, error) {
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
		return b, fmt.Errorf("plan batch: %w", err)
	}
	return b, nil
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
	in, err := newVersionInserter(ctx, tx)
	if err != nil {
		return err
	}
	defer in.close()
	// New ids follow each other: their members are added many at once.
	var first, next ID
	addNew := func() error {
		if first == next {
			return nil
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO member (object, version) SELECT ?, id FROM version WHERE id >= ? AND id < ?`, object, first, next)
		return err
	}
	var dirs dirChecker
	for i := range o.Members {
		m := &o.Members[i]
		if err := dirs.check(ctx, tx, m.Existing, m.Parent); err != nil {
			return fmt.Errorf("%q: %w", m.Name, err)
		}
		if m.Existing != 0 {
			if _, err := tx.ExecContext(ctx, `INSERT INTO member (object, version) VALUES (?, ?)`, object, m.Existing); err != nil {
				return fmt.Errorf("directory %d: %w", m.Existing, err)
			}
			continue
		}
		if m.Kind != File && m.Kind != Symlink {
			return fmt.Errorf("%q: only files and symlinks are planned", m.Name)
		}
		id, err := in.add(ctx, &Version{Parent: m.Parent, Name: m.Name, Kind: m.Kind, Mode: m.Mode, Owner: m.Owner, Size: m.Size,
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
	return query(ctx, db.reader, "open batches", scanBatch, `SELECT `+batchColumns+` FROM batch b WHERE b.state < 2 ORDER BY b.id`)
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
		WHERE o.batch = ? AND o.state <> 3 ORDER BY o.id`
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
