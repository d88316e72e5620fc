package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// EnsureKey records a key's fingerprint. The secret is never stored.
func (db *DB) EnsureKey(ctx context.Context, fingerprint, cipher string, iterations int) (SealKey, error) {
	err := db.exec(ctx, "record key", `INSERT INTO seal_key (fingerprint, cipher, iterations, added) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		fingerprint, cipher, iterations, time.Now().UnixNano())
	if err != nil {
		return SealKey{}, err
	}
	keys, err := db.Keys(ctx)
	if err != nil {
		return SealKey{}, err
	}
	for _, k := range keys {
		if k.Fingerprint == fingerprint {
			return k, nil
		}
	}
	return SealKey{}, fmt.Errorf("key %s: %w", fingerprint, ErrNotFound)
}

// Keys lists the keys, oldest first.
func (db *DB) Keys(ctx context.Context) ([]SealKey, error) {
	return query(ctx, db.reader, "keys", func(rows *sql.Rows) (k SealKey, err error) {
		var added, seen int64
		err = rows.Scan(&k.ID, &k.Fingerprint, &k.Cipher, &k.Iterations, &added, &seen)
		k.Added, k.CopySeen = timeOf(added), timeOf(seen)
		return k, err
	}, `SELECT id, fingerprint, cipher, iterations, added, copy_seen FROM seal_key ORDER BY id`)
}

// SetKeyCopySeen records that a second copy of a key file was shown.
func (db *DB) SetKeyCopySeen(ctx context.Context, fingerprint string, at time.Time) error {
	return db.execOne(ctx, "record copy of key "+fingerprint, `UPDATE seal_key SET copy_seen = ? WHERE fingerprint = ?`, nsOf(at), fingerprint)
}

// EnsurePool returns a pool, made when it is new.
func (db *DB) EnsurePool(ctx context.Context, name string) (Pool, error) {
	pools, err := db.Pools(ctx)
	if err != nil {
		return Pool{}, err
	}
	for _, p := range pools {
		if p.Name == name {
			return p, nil
		}
	}
	if err := db.exec(ctx, "record pool", `INSERT INTO pool (name) VALUES (?) ON CONFLICT DO NOTHING`, name); err != nil {
		return Pool{}, err
	}
	if pools, err = db.Pools(ctx); err != nil {
		return Pool{}, err
	}
	for _, p := range pools {
		if p.Name == name {
			return p, nil
		}
	}
	return Pool{}, fmt.Errorf("pool %s: %w", name, ErrNotFound)
}

// Pools lists the pools by name.
func (db *DB) Pools(ctx context.Context) ([]Pool, error) {
	return query(ctx, db.reader, "pools", func(rows *sql.Rows) (p Pool, err error) {
		err = rows.Scan(&p.ID, &p.Name, &p.Journalled, &p.Unsnapped)
		return p, err
	}, `SELECT id, name, journalled, unsnapped FROM pool ORDER BY name`)
}

const tapeColumns = `t.id, t.barcode, t.uuid, t.pool, p.name, t.number, t.generation, t.state, t.capacity, t.free, t.used, t.leftover,
	t.generation_index, t.formatted, t.seen, t.loads, t.place, t.note, t.suspected, t.was, t.found_damaged, t.checked,
	t.stage, t.emptied_uuid`

func scanTape(rows *sql.Rows) (t Tape, err error) {
	var pool sql.NullInt64
	var name sql.NullString
	var formatted, seen, suspected, checked int64
	err = rows.Scan(&t.ID, &t.Barcode, &t.UUID, &pool, &name, &t.Number, &t.Generation, &t.State, &t.Capacity, &t.Free, &t.Used, &t.Leftover,
		&t.IndexGeneration, &formatted, &seen, &t.Loads, &t.Place, &t.Note, &suspected, &t.Was, &t.FoundDamaged, &checked,
		&t.Stage, &t.EmptiedUUID)
	t.Suspected, t.Checked = timeOf(suspected), timeOf(checked)
	t.Pool, t.PoolName, t.Formatted, t.Seen = pool.Int64, name.String, timeOf(formatted), timeOf(seen)
	return t, err
}

// Tapes lists the tapes by barcode.
func (db *DB) Tapes(ctx context.Context) ([]Tape, error) {
	return query(ctx, db.reader, "tapes", scanTape, `SELECT `+tapeColumns+` FROM tape t LEFT JOIN pool p ON p.id = t.pool ORDER BY t.barcode`)
}

// TapeByBarcode finds a tape by its label.
func (db *DB) TapeByBarcode(ctx context.Context, barcode string) (Tape, error) {
	return oneTape(ctx, db.reader, "tape "+barcode, `t.barcode = ?`, barcode)
}

// TapeByUUID finds a tape by its LTFS volume.
func (db *DB) TapeByUUID(ctx context.Context, uuid string) (Tape, error) {
	return oneTape(ctx, db.reader, "volume "+uuid, `t.uuid = ? AND t.uuid <> ''`, uuid)
}

func oneTape(ctx context.Context, q querier, what, where string, arg any) (Tape, error) {
	list, err := query(ctx, q, what, scanTape, `SELECT `+tapeColumns+` FROM tape t LEFT JOIN pool p ON p.id = t.pool WHERE `+where, arg)
	if err != nil {
		return Tape{}, err
	}
	if len(list) == 0 {
		return Tape{}, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return list[0], nil
}

// AddTape records a cartridge; a zero Number gets the next one, an empty State is open.
func (db *DB) AddTape(ctx context.Context, t Tape) (Tape, error) {
	if t.State == "" {
		t.State = TapeOpen
	}
	err := db.update(ctx, func(tx *sql.Tx) error {
		if t.Number == 0 {
			if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) + 1 FROM tape`).Scan(&t.Number); err != nil {
				return err
			}
		}
		res, err := tx.ExecContext(ctx, `INSERT INTO tape (barcode, number, state) VALUES (?, ?, ?)`, t.Barcode, t.Number, t.State)
		if err != nil {
			return err
		}
		if t.ID, err = res.LastInsertId(); err != nil {
			return err
		}
		return saveTape(ctx, tx, &t)
	})
	if err != nil {
		return t, fmt.Errorf("record tape %s: %w", t.Barcode, err)
	}
	return oneTape(ctx, db.reader, "tape "+t.Barcode, `t.id = ?`, t.ID)
}

// keepStage drops the stages that a tape's state and volume contradict. A superseded tape that is not repacked is being repacked.
func keepStage(t *Tape) {
	switch {
	case t.State == TapeSuperseded && t.Stage != StageRepacked:
		t.Stage = StageRepacking
	case t.State != TapeSuperseded && t.Stage != StageFormatting, t.UUID != "" && t.Stage == StageFormatting:
		t.Stage = ""
	}
	if t.UUID != "" {
		t.EmptiedUUID = ""
	}
}

func saveTape(ctx context.Context, tx *sql.Tx, t *Tape) error {
	keepStage(t)
	_, err := tx.ExecContext(ctx, `UPDATE tape SET barcode = ?, uuid = ?, pool = ?, number = ?, generation = ?, state = ?, capacity = ?, free = ?, used = ?,
		leftover = ?, generation_index = ?, formatted = ?, seen = ?, loads = ?, place = ?, note = ?,
		suspected = ?, was = ?, found_damaged = ?, checked = ?, stage = ?, emptied_uuid = ? WHERE id = ?`,
		t.Barcode, t.UUID, nullIfZero(t.Pool), t.Number, t.Generation, t.State, t.Capacity, t.Free, t.Used, t.Leftover, t.IndexGeneration,
		nsOf(t.Formatted), nsOf(t.Seen), t.Loads, t.Place, t.Note, nsOf(t.Suspected), t.Was, boolInt(t.FoundDamaged), nsOf(t.Checked),
		t.Stage, t.EmptiedUUID, t.ID)
	return err
}

// UpdateTape changes one tape in a transaction. fn must not call the DB.
func (db *DB) UpdateTape(ctx context.Context, id int64, fn func(*Tape) error) (Tape, error) {
	var t Tape
	err := db.update(ctx, func(tx *sql.Tx) error {
		var err error
		if t, err = oneTape(ctx, tx, fmt.Sprintf("tape %d", id), `t.id = ?`, id); err != nil {
			return err
		}
		before := t
		if err := fn(&t); err != nil {
			return err
		}
		suspicion(before.State, &t)
		if err := saveTape(ctx, tx, &t); err != nil {
			return err
		}
		return journalSuspicion(ctx, tx, &before, &t)
	})
	if err != nil {
		return t, fmt.Errorf("change tape: %w", err)
	}
	return oneTape(ctx, db.reader, "tape "+t.Barcode, `t.id = ?`, id)
}

// TapeObjects counts the objects on a tape and the bytes of their parts there.
func (db *DB) TapeObjects(ctx context.Context, tape int64) (objects int, bytes int64, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT count(DISTINCT c.object), coalesce(sum(p.size), 0) FROM copy_part p JOIN copy c ON c.id = p.copy
		WHERE p.tape = ? AND p.state IN (`+sqlPartWritten+`, `+sqlPartDurable+`) AND c.state < `+sqlCopyDamaged, tape).Scan(&objects, &bytes)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, 0, fmt.Errorf("count objects of tape %d: %w", tape, err)
	}
	return objects, bytes, nil
}
