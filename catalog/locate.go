package catalog

import (
	"context"
	"database/sql"
	"errors"
)

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
	Places  []Place // durable and written copies, then what damaged ones have left
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
		batches, err := query(ctx, preparing{db}, "batch", scanBatch, `SELECT `+batchColumns+` FROM batch b WHERE b.id = ? AND b.state = `+sqlSynced, loc.Version.Batch)
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
	objects, err := query(ctx, preparing{db}, "objects", func(rows *sql.Rows) (p placed, err error) {
		p.o, err = scanObjectAnd(rows, &p.data)
		return p, err
	}, `SELECT `+objectColumns+`, m.data FROM member m JOIN object o ON o.id = m.object JOIN seal_key k ON k.id = o.key
		WHERE m.version = ? AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`)
		ORDER BY EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id AND `+textAllOnTape+`) DESC, o.oid DESC LIMIT 1`, loc.Version.ID)
	if err != nil || len(objects) == 0 {
		return loc, err
	}
	loc.Object, loc.Data = objects[0].o, objects[0].data
	// What a copy that is not whole any more has left on tape is better than nothing: each extent is checked.
	copies, err := query(ctx, preparing{db}, "copies", scanCopy, `SELECT c.id, c.object, c.pool, c.state, c.verified FROM copy c
		WHERE c.object = ? AND (c.state IN (`+sqlWritten+`, `+sqlDurable+`) OR c.state < `+sqlCopyDropped+` AND EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = c.id AND p.state IN (`+sqlPartDurable+`, `+sqlPartDamaged+`)))
		ORDER BY c.state IN (`+sqlWritten+`, `+sqlDurable+`) DESC, c.state DESC, c.id`, loc.Object.ID)
	if err != nil {
		return loc, err
	}
	loc.Places, err = db.places(ctx, copies)
	return loc, err
}

// places gives copies with their parts that may be read.
func (db *DB) places(ctx context.Context, copies []Copy) ([]Place, error) {
	list := make([]Place, 0, len(copies))
	for _, c := range copies {
		parts, err := query(ctx, preparing{db}, "parts of copy", scanCopyPart, `SELECT `+copyPartColumns+` FROM copy_part p JOIN tape t ON t.id = p.tape
			WHERE p.copy = ? AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`, `+sqlPartDamaged+`) ORDER BY p.number, p.id`, c.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, Place{Copy: c, Parts: parts})
	}
	return list, nil
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
