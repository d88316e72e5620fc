package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// VerifyPart is a durable part on tape and when its bytes were last proved.
type VerifyPart struct {
	CopyPart
	Object, Source int64
	OID            string
	Pool           string
	Durable        time.Time
	Verified       time.Time // zero: never since it was written
	Suspected      time.Time // when its tape became suspect; zero: it is not, or that is over
	OpenDamage     bool      // it counts as damaged, and what it held is neither whole elsewhere in its pool nor known as lost
}

// VerifyFilter chooses parts; its zero value chooses all.
type VerifyFilter struct {
	Barcode string
	Source  int64
	Pool    string
	Written time.Time      // not before
	Objects map[int64]bool // nil: any
	Damaged bool           // also parts that count as damaged: the drive may have been at fault
}

// VerifyParts lists the durable parts (and damaged ones, if asked for) of objects that are in use, the longest unproved first.
func (db *DB) VerifyParts(ctx context.Context, f VerifyFilter) ([]VerifyPart, error) {
	where, args := []string{map[bool]string{false: "p.state = " + sqlPartDurable, true: "p.state IN (" + sqlPartDurable + ", " + sqlPartDamaged + ")"}[f.Damaged], "c.state < " + sqlCopyDropped, "o.state IN (" + sqlObjectPacked + ", " + sqlObjectSuperseded + ")", "t.state <> 'retired'"}, []any{}
	add := func(text string, arg any) { where, args = append(where, text), append(args, arg) }
	if f.Barcode != "" {
		add("t.barcode = ?", f.Barcode)
	}
	if f.Source != 0 {
		add("o.source = ?", f.Source)
	}
	if f.Pool != "" {
		add("l.name = ?", f.Pool)
	}
	if !f.Written.IsZero() {
		add("p.written >= ?", nsOf(f.Written))
	}
	var out []VerifyPart
	_, err := query(ctx, db.reader, "parts to verify", func(rows *sql.Rows) (struct{}, error) {
		var p VerifyPart
		var manifest sql.NullInt64
		var durable, verified, suspected int64
		err := rows.Scan(&p.ID, &p.Copy, &p.Number, &p.Tape, &p.Barcode, &p.Name, &p.Size, &p.StartBlock, &p.State, &manifest,
			&p.Object, &p.Source, &p.OID, &p.Pool, &durable, &verified, &suspected, &p.OpenDamage)
		if err == nil && (f.Objects == nil || f.Objects[p.Object]) {
			p.Manifest, p.Durable, p.Verified = manifest.Int64, timeOf(durable), timeOf(verified)
			p.Suspected = timeOf(suspected)
			out = append(out, p)
		}
		return struct{}{}, err
	}, `SELECT `+copyPartColumns+`, o.id, o.source, o.oid, l.name, p.durable, p.verified, t.suspected, CASE WHEN p.state = `+sqlPartDamaged+` THEN `+textOpenDamage+` ELSE 0 END
		FROM copy_part p JOIN copy c ON c.id = p.copy JOIN object o ON o.id = c.object JOIN tape t ON t.id = p.tape JOIN pool l ON l.id = c.pool
		WHERE `+strings.Join(where, " AND ")+` ORDER BY p.verified, p.durable, p.id`, args...)
	return out, err
}

// ObjectsBelow collects the objects in use that hold the bytes of the files that a path shows, and those of their newest states
// where these cannot be read: they may be whole again.
func (db *DB) ObjectsBelow(ctx context.Context, top Version, into map[int64]bool) error {
	var of func(v *Version) error
	of = func(v *Version) error {
		if v.InsteadOf != 0 {
			newest, err := db.Get(ctx, v.InsteadOf)
			if err == nil {
				err = of(&newest)
			}
			if err != nil {
				return err
			}
		}
		if v.Kind != File {
			return nil
		}
		ids, err := query(ctx, db.side, "objects of a file", func(rows *sql.Rows) (id int64, err error) {
			err = rows.Scan(&id)
			return id, err
		}, `SELECT m.object FROM member m JOIN object o ON o.id = m.object WHERE m.version = ? AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`)`, v.Data)
		for _, id := range ids {
			into[id] = true
		}
		return err
	}
	if top.Kind != Directory {
		return of(&top)
	}
	return db.Now().Walk(ctx, top.ID, func(_ string, v *Version) error { return of(v) })
}

// PackedObject returns an object and its members' versions, forgotten and void ones too.
func (db *DB) PackedObject(ctx context.Context, id int64) (PlannedObject, error) {
	objects, err := query(ctx, db.reader, "object", scanObject, `SELECT `+objectColumns+` FROM object o JOIN seal_key k ON k.id = o.key WHERE o.id = ?`, id)
	if err != nil {
		return PlannedObject{}, err
	}
	if len(objects) == 0 {
		return PlannedObject{}, fmt.Errorf("object %d: %w", id, ErrNotFound)
	}
	versions, err := db.memberVersions(ctx, id)
	return PlannedObject{Object: objects[0], Versions: versions}, err
}

// Damage is what a pool has of copies that are not whole and that nothing replaced.
type Damage struct {
	Pool   string `json:"pool"`
	Copies int    `json:"copies"`
	Bytes  int64  `json:"bytes"`
}

// Damages lists damaged copies by pool, but for what is known as lost.
func (db *DB) Damages(ctx context.Context) ([]Damage, error) {
	return query(ctx, db.reader, "damaged copies", func(rows *sql.Rows) (d Damage, err error) {
		err = rows.Scan(&d.Pool, &d.Copies, &d.Bytes)
		return d, err
	}, `SELECT p.name, count(*), sum(o.sealed_size) FROM copy c JOIN pool p ON p.id = c.pool JOIN object o ON o.id = c.object
		WHERE c.state = `+sqlCopyDamaged+` AND o.state = `+sqlObjectPacked+` AND NOT EXISTS (SELECT 1 FROM copy d WHERE d.object = c.object AND d.pool = c.pool AND d.state < `+sqlCopyDamaged+`) AND `+textNews+`
		GROUP BY p.name ORDER BY p.name`)
}

// SourceByName finds a source, or ErrNotFound.
func (db *DB) SourceByName(ctx context.Context, name string) (Source, error) {
	all, err := db.Sources(ctx)
	if err != nil {
		return Source{}, err
	}
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
	}
	return Source{}, fmt.Errorf("source %s: %w", name, ErrNotFound)
}

// CampaignSince tells when the runs of a kind with the same arguments began that lead up to run and
// were all cut short; run's own start when the one before it ended. A run without an id is one that would begin now.
func (db *DB) CampaignSince(ctx context.Context, run Run) (time.Time, error) {
	args := run.Args
	if args == nil {
		args = []string{}
	}
	text, err := json.Marshal(args)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for earlier runs: %w", err)
	}
	since, id := run.Started, run.ID
	if id == 0 {
		id = math.MaxInt64
	}
	for {
		var started int64
		var state string
		err := db.reader.QueryRowContext(ctx, `SELECT id, started, state FROM run
			WHERE kind = ? AND args = ? AND id < ? ORDER BY id DESC LIMIT 1`, run.Kind, string(text), id).Scan(&id, &started, &state)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return since, nil
		case err != nil:
			return since, fmt.Errorf("look for earlier runs: %w", err)
		case state != "interrupted" && state != "failed" && state != "running":
			return since, nil
		}
		since = timeOf(started)
	}
}
