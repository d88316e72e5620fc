package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// The newest version of a path may be one that nobody can read: it is void, or every copy of its bytes is damaged. A
// View then shows the newest older version that can be read. The rows stay as they are: archive compares with the newest one,
// so that it takes the file again, and a copy that is healed brings the newest state back.

// textWhole holds for an object o that lies whole on tape: a copy of it is durable, or its parts are and durable manifests name them,
// be it in several copies.
const textWhole = `o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `) AND (EXISTS (SELECT 1 FROM copy k WHERE k.object = o.id AND k.state = ` + sqlDurable + `)
	OR EXISTS (SELECT 1 FROM part q WHERE q.object = o.id) AND NOT EXISTS (SELECT 1 FROM part q WHERE q.object = o.id AND NOT EXISTS (
		SELECT 1 FROM copy k JOIN copy_part e ON e.copy = k.id WHERE k.object = o.id AND k.state < ` + sqlCopyDropped + ` AND e.number = q.number AND e.state = ` + sqlPartDurable + `
			AND EXISTS (SELECT 1 FROM manifest n WHERE n.id = e.manifest AND n.state = ` + sqlManifestDurable + `))))`

// textWritten holds for an object o that is being written, or about to be: its bytes are in the spool.
const textWritten = `o.state IN (` + sqlObjectPlanned + `, ` + sqlObjectPacked + `) AND EXISTS (SELECT 1 FROM copy k WHERE k.object = o.id AND k.state < ` + sqlDurable + `)`

// textLost holds for a file v whose bytes are damaged in every copy, and that no batch has. The first line is an index lookup
// that says no of almost every file.
const textLost = `EXISTS (SELECT 1 FROM member m JOIN copy k ON k.object = m.object AND k.state = ` + sqlCopyDamaged + ` WHERE m.version = v.data)
	AND v.size > 0 AND v.batch IS NULL
	AND NOT EXISTS (SELECT 1 FROM version d WHERE d.id = v.data AND d.batch IS NOT NULL)
	AND NOT EXISTS (SELECT 1 FROM member m JOIN object o ON o.id = m.object WHERE m.version = v.data AND (` + textWritten + ` OR ` + textWhole + `))`

const (
	textAnyDamaged = `SELECT ` + versionColumns + ` FROM version v WHERE v.id = 1 AND EXISTS (SELECT 1 FROM copy WHERE state = ` + sqlCopyDamaged + `)`
	textIsLost     = `SELECT ` + versionColumns + ` FROM version v WHERE v.id = ? AND ` + textLost
	// Older versions of a path that can be read, the newest first.
	textReadableBefore = `SELECT ` + versionColumns + ` FROM version v INDEXED BY version_past WHERE v.parent = ? AND v.name = ? AND v.current = 0
		AND v.kind <> ` + sqlDirectory + ` AND v.state = ` + sqlPresent + ` AND v.id <> ? AND v.since <= ? AND NOT (v.kind = ` + sqlFile + ` AND ` + textLost + `) ORDER BY v.since DESC, v.id DESC LIMIT 1`
	// What is only in the spool does not count: it may turn out void.
	textOnTape = `SELECT EXISTS (SELECT 1 FROM version v WHERE v.id = ? AND v.state = ` + sqlPresent + `
		AND EXISTS (SELECT 1 FROM member m JOIN object o ON o.id = m.object WHERE m.version = v.data AND ` + textWhole + `))`
)

// markLost makes a query over versionColumns give lost files the state Void.
func markLost(text string) string {
	return strings.ReplaceAll(text, versionColumns, strings.Replace(versionColumns, "v.state,", "CASE WHEN v.kind = "+sqlFile+" AND v.state = "+sqlPresent+" AND "+textLost+" THEN "+sqlVoid+" ELSE v.state END,", 1))
}

// anyDamaged reports whether the catalog knows of a damaged copy: without one no file is lost.
func (db *DB) anyDamaged(ctx context.Context) (damaged bool, err error) {
	err = db.rowReader.each(ctx, db, func(*Version) error {
		damaged = true
		return nil
	}, textAnyDamaged)
	return damaged, err
}

// standIn returns the newest older version that can be read of a path whose version id cannot; where there is none, that version.
func (w *View) standIn(ctx context.Context, id ID) (Version, error) {
	v, err := w.Get(ctx, id)
	if err != nil {
		return v, err
	}
	newest := v
	err = w.db.rowReader.each(ctx, w.db, func(older *Version) error {
		v = *older
		v.InsteadOf, v.Vanished, v.Removed = newest.ID, newest.Vanished, newest.Removed
		return nil
	}, textReadableBefore, newest.Parent, []byte(newest.Name), newest.ID, nsOf(newest.Since))
	return v, err
}

// OnTape reports whether a version can be read from tape: it is not void, and one of its objects is durable, whole.
func (db *DB) OnTape(ctx context.Context, id ID) (ok bool, err error) {
	stmt, err := db.prepared(ctx, textOnTape)
	if err == nil {
		err = stmt.QueryRowContext(ctx, id).Scan(&ok)
	}
	if err != nil {
		err = fmt.Errorf("look whether version %d can be read: %w", id, err)
	}
	return ok, err
}

// Unreadable says why a version cannot be read: it is "void", or "lost"; "" if it can.
func (db *DB) Unreadable(ctx context.Context, v *Version) (string, error) {
	switch {
	case v.Kind != File:
		return "", nil
	case v.State == Void:
		return "void", nil
	}
	why := ""
	err := db.eachVersion(ctx, func(*Version) error {
		why = "lost"
		return nil
	}, textIsLost, v.ID)
	if err != nil {
		return "", fmt.Errorf("look whether version %d can be read: %w", v.ID, err)
	}
	return why, nil
}

// maxUnread bounds what is remembered of files that cannot be read, for NewsMark.
const maxUnread = 100_000

// unread lists the current files that cannot be read.
func (db *DB) unread(ctx context.Context) (map[ID]Entry, error) {
	all := map[ID]Entry{}
	_, err := query(ctx, db.reader, "files that cannot be read", func(rows *sql.Rows) (struct{}, error) {
		var id ID
		var e Entry
		var name []byte
		err := rows.Scan(&id, &e.Parent, &name)
		e.Name = string(name)
		all[id] = e
		return struct{}{}, err
	}, `SELECT id, parent, name FROM version WHERE state = `+sqlVoid+` AND current = 1 UNION
		SELECT v.id, v.parent, v.name FROM object o JOIN member n ON n.object = o.id
			JOIN version v ON (v.id = n.version OR v.data = n.version AND v.data <> v.id) WHERE o.id IN (SELECT object FROM copy WHERE state = `+sqlCopyDamaged+`)
			AND NOT (`+textWritten+` OR `+textWhole+`) AND v.kind = `+sqlFile+` AND v.current = 1 AND `+textLost+` LIMIT ?`, maxUnread)
	return all, err
}
