package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Source records a source; its directory's own record may come later.
func (r *Rebuild) Source(ctx context.Context, s Source) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	err := r.sourceRoot(ctx, &s)
	if err == nil {
		err = r.directory(ctx, s.Root)
	}
	if err != nil {
		return fmt.Errorf("record source %s: %w", s.Name, err)
	}
	err = r.exec(ctx, `INSERT INTO source (name, url, root, listed) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE SET
		url = CASE WHEN ?5 THEN ?2 ELSE url END, listed = max(listed, ?4)`, s.Name, s.URL, s.Root, nsOf(s.Listed), r.forward)
	if err != nil {
		return fmt.Errorf("record source %s: %w", s.Name, err)
	}
	return nil
}

// Key records a key.
func (r *Rebuild) Key(ctx context.Context, k SealKey) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	id, err := r.key(ctx, k)
	if err == nil {
		err = r.exec(ctx, `UPDATE seal_key SET copy_seen = max(copy_seen, ?), added = min(added, ?) WHERE id = ?`, nsOf(k.CopySeen), nsOf(k.Added), id)
	}
	if err != nil {
		return fmt.Errorf("record key %s: %w", k.Fingerprint, err)
	}
	return nil
}

func (r *Rebuild) key(ctx context.Context, k SealKey) (int64, error) {
	if k.Cipher == "" {
		k.Cipher, k.Iterations = "aes-256-ctr", 10000 // what is written; FORMAT.md, "Container"
	}
	if k.Added.IsZero() {
		k.Added = time.Now()
	}
	return r.number(ctx, r.keys, k.Fingerprint, `SELECT id FROM seal_key WHERE fingerprint = ?`,
		`INSERT INTO seal_key (fingerprint, cipher, iterations, added, copy_seen) VALUES (?, ?, ?, ?, ?)`,
		k.Fingerprint, k.Cipher, k.Iterations, nsOf(k.Added), nsOf(k.CopySeen))
}

// Pool records a pool and returns its number.
func (r *Rebuild) Pool(ctx context.Context, name string) (int64, error) {
	if err := r.begin(ctx); err != nil {
		return 0, err
	}
	id, err := r.number(ctx, r.pools, name, `SELECT id FROM pool WHERE name = ?`, `INSERT INTO pool (name) VALUES (?)`, name)
	if err != nil {
		return 0, fmt.Errorf("record pool %s: %w", name, err)
	}
	return id, nil
}

// Tape records what a manifest says of a tape. A tape that was read is left as it was found.
func (r *Rebuild) Tape(ctx context.Context, t Tape) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	keepStage(&t)
	if t.Suspect() && t.Suspected.IsZero() { // programs that did not write since when: what was read back later was told, too
		t.Suspected = r.manifest.Written
	}
	id, _, err := r.tape(ctx, t)
	if err == nil && r.forward {
		err = r.exec(ctx, `UPDATE tape SET pool = coalesce(?, pool), number = ?, generation = ?, state = ?, capacity = ?, formatted = ?,
			leftover = max(leftover, ?), loads = max(loads, ?), seen = max(seen, ?), free = CASE WHEN generation_index > 0 THEN free ELSE ? END,
			place = ?, note = ?, stage = CASE WHEN ? = 'formatting' AND uuid <> '' THEN '' ELSE ? END,
			emptied_uuid = CASE uuid WHEN '' THEN ? ELSE '' END, suspected = ?, was = ?, found_damaged = ?, checked = max(checked, ?) WHERE id = ?`, nullIfZero(t.Pool), t.Number, t.Generation, t.State, t.Capacity, nsOf(t.Formatted),
			t.Leftover, t.Loads, nsOf(t.Seen), t.Free, t.Place, t.Note, t.Stage, t.Stage, t.EmptiedUUID,
			nsOf(t.Suspected), t.Was, boolInt(t.FoundDamaged), nsOf(t.Checked), id)
	}
	if err != nil {
		return fmt.Errorf("record tape %s: %w", t.Barcode, err)
	}
	return nil
}

// textSetVolume gives a tape the volume that was found on it.
const textSetVolume = `UPDATE tape SET uuid = ?1, emptied_uuid = '', stage = CASE stage WHEN 'formatting' THEN '' ELSE stage END WHERE id = ?2`

// tape finds or makes the row of a volume, or of a barcode without one. It fills t.Pool.
func (r *Rebuild) tape(ctx context.Context, t Tape) (id int64, made bool, err error) {
	if t.PoolName != "" {
		if t.Pool, err = r.Pool(ctx, t.PoolName); err != nil {
			return 0, false, err
		}
	}
	if t.UUID != "" {
		found, err := r.get(ctx, []any{&id}, `SELECT id FROM tape WHERE uuid = ?`, t.UUID)
		if err != nil || found {
			return id, false, err
		}
	}
	var uuid string
	found, err := r.get(ctx, []any{&id, &uuid}, `SELECT id, uuid FROM tape WHERE barcode = ?`, t.Barcode)
	if err != nil {
		return 0, false, err
	}
	if found {
		// Formatted anew, or not known to be formatted until now.
		if t.UUID != "" && (uuid == "" || r.forward) {
			err = r.exec(ctx, textSetVolume, t.UUID, id)
		}
		return id, false, err
	}
	if t.State == "" {
		t.State = TapeOpen
	}
	_, err = r.get(ctx, []any{&id}, `INSERT INTO tape (barcode, uuid, pool, number, generation, state, capacity, free, formatted, seen, loads, place, note, stage, emptied_uuid,
		suspected, was, found_damaged, checked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`, t.Barcode, t.UUID, nullIfZero(t.Pool), t.Number, t.Generation, t.State,
		t.Capacity, t.Free, nsOf(t.Formatted), nsOf(t.Seen), t.Loads, t.Place, t.Note, t.Stage, t.EmptiedUUID,
		nsOf(t.Suspected), t.Was, boolInt(t.FoundDamaged), nsOf(t.Checked))
	return id, true, err
}

// SeenTape records a tape that was mounted and whose label and UUID were proved, under the barcode
// that it bears now.
func (r *Rebuild) SeenTape(ctx context.Context, t Tape) (Tape, error) {
	if err := r.Flush(); err != nil {
		return t, err
	}
	if err := r.begin(ctx); err != nil {
		return t, err
	}
	id, _, err := r.tape(ctx, t)
	if err != nil {
		return t, fmt.Errorf("record tape %s: %w", t.Barcode, err)
	}
	var barcode, uuid string
	if _, err := r.get(ctx, []any{&barcode, &uuid}, `SELECT barcode, uuid FROM tape WHERE id = ?`, id); err != nil {
		return t, fmt.Errorf("record tape %s: %w", t.Barcode, err)
	}
	if uuid != t.UUID {
		// The barcode's row is another volume's: the cartridge was formatted anew, the volume in hand is what it holds.
		if err := r.exec(ctx, textSetVolume, t.UUID, id); err != nil {
			return t, fmt.Errorf("record tape %s: %w", t.Barcode, err)
		}
	}
	if barcode != t.Barcode {
		if err := r.relabel(ctx, id, t.Barcode); err != nil {
			return t, fmt.Errorf("record tape %s: %w", t.Barcode, err)
		}
	}
	if err := r.Flush(); err != nil {
		return t, err
	}
	return oneTape(ctx, r.db.reader, "tape "+t.Barcode, `t.id = ?`, id)
}

// relabel gives a tape another barcode. A row of another volume that has it gets a name of its own.
func (r *Rebuild) relabel(ctx context.Context, id int64, barcode string) error {
	err := r.exec(ctx, `UPDATE tape SET barcode = barcode || '#' || id WHERE barcode = ? AND id <> ?`, barcode, id)
	if err == nil {
		err = r.exec(ctx, `UPDATE tape SET barcode = ? WHERE id = ?`, barcode, id)
	}
	return err
}

// ReadTape records that all of a tape was taken over: a later rebuild passes it over.
func (r *Rebuild) ReadTape(ctx context.Context, tape, indexGeneration, capacity, free, leftover int64, seen time.Time) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	err := r.exec(ctx, `UPDATE tape SET generation_index = max(1, ?), capacity = ?, free = ?, leftover = ?, seen = ? WHERE id = ?`,
		indexGeneration, capacity, free, leftover, nsOf(seen), tape)
	if err != nil {
		return fmt.Errorf("record tape %d: %w", tape, err)
	}
	return r.Flush()
}

// DropMachine takes out of a copy of a catalog what describes the machine and the moment it was made
// on: spool, drives, waiting readers, parts and manifests that were not durable. It is called once,
// before any record is added. Rows go by pages.
func (db *DB) DropMachine(ctx context.Context) error {
	for _, text := range []string{
		`UPDATE version SET batch = NULL WHERE id IN (SELECT id FROM version WHERE batch IS NOT NULL LIMIT 20000)`,
		`UPDATE object SET batch = NULL WHERE id IN (SELECT id FROM object WHERE batch IS NOT NULL LIMIT 20000)`,
		`DELETE FROM batch WHERE id IN (SELECT id FROM batch LIMIT 20000)`,
		`DELETE FROM copy_part WHERE id IN (SELECT id FROM copy_part WHERE state < ` + sqlPartDurable + ` LIMIT 20000)`,
		`UPDATE copy_part SET manifest = NULL WHERE id IN (SELECT p.id FROM manifest m JOIN copy_part p ON p.manifest = m.id WHERE m.state <> ` + sqlManifestDurable + ` LIMIT 20000)`,
		`DELETE FROM manifest WHERE id IN (SELECT id FROM manifest WHERE state <> ` + sqlManifestDurable + ` LIMIT 20000)`,
		`DELETE FROM snapshot WHERE id IN (SELECT id FROM snapshot WHERE state <> ` + sqlManifestDurable + ` LIMIT 20000)`,
		`DELETE FROM wanted WHERE (tape, reason) IN (SELECT tape, reason FROM wanted LIMIT 20000)`,
		`DELETE FROM drive WHERE serial IN (SELECT serial FROM drive LIMIT 20000)`,
		`UPDATE tape SET generation_index = 0 WHERE id IN (SELECT id FROM tape WHERE generation_index <> 0 LIMIT 20000)`,
		`UPDATE run SET state = 'interrupted' WHERE id IN (SELECT id FROM run WHERE state = 'running' LIMIT 20000)`,
		`DELETE FROM member WHERE (object, version) IN (SELECT m.object, m.version FROM object o JOIN member m ON m.object = o.id WHERE o.state = ` + sqlObjectPlanned + ` LIMIT 20000)`,
		`DELETE FROM part WHERE (object, number) IN (SELECT q.object, q.number FROM object o JOIN part q ON q.object = o.id WHERE o.state = ` + sqlObjectPlanned + `
			AND NOT EXISTS (SELECT 1 FROM copy c JOIN copy_part p ON p.copy = c.id WHERE c.object = o.id) LIMIT 20000)`,
		`DELETE FROM copy WHERE id IN (SELECT c.id FROM object o JOIN copy c ON c.object = o.id WHERE o.state = ` + sqlObjectPlanned + `
			AND NOT EXISTS (SELECT 1 FROM copy_part p WHERE p.copy = c.id) LIMIT 20000)`,
		`DELETE FROM object WHERE id IN (SELECT o.id FROM object o WHERE o.state = ` + sqlObjectPlanned + ` AND NOT EXISTS (SELECT 1 FROM copy c WHERE c.object = o.id)
			AND NOT EXISTS (SELECT 1 FROM object x WHERE x.replaces = o.id) AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = o.id) LIMIT 20000)`,
	} {
		if err := db.pages(ctx, text); err != nil {
			return fmt.Errorf("take out what describes the machine: %w", err)
		}
	}
	return nil
}

// pages repeats a statement that changes some rows, each time in a transaction, until it changes none.
func (db *DB) pages(ctx context.Context, text string, args ...any) error {
	for {
		err := db.execOne(ctx, "change a page of rows", text, args...)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
