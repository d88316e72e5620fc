package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// A tape is suspect when a write to it failed, its volume is not what it should be, or damage was found on it. Nothing is written
// to it then, and its copies do not count as safe. It gets out of that in three ways: all that counts on it was read back since
// (then it is full: it counts, and is written no more), and a check found its volume consistent, too (then it is what it was
// before); or somebody trusts it. What is damaged on it and was written again elsewhere, or is known as lost, counts no more; but
// bytes went bad there, so only somebody's trust lets the tape take more.

// Suspect reports whether a tape is suspect: nothing is written to it, and what lies on it does not count.
func (t *Tape) Suspect() bool { return t.State == TapeSuspect }

// Doubted reports whether a tape is suspect, or was read back since and takes no more: a check of its volume, or somebody's trust, makes
// it what it was.
func (t *Tape) Doubted() bool { return t.Suspect() || t.State == TapeFull && !t.Suspected.IsZero() }

// Counts reports whether what lies on a tape counts, if it has a volume of ours.
func (t *Tape) Counts() bool {
	return t.State == TapeOpen || t.State == TapeFull || t.State == TapeSuperseded
}

// The same in SQL, for a tape t. That a copy can be counted on is asked of its tape by goodTape, everywhere: safe, archive, heal, the
// journal and the release of the spool. A reader takes copies from any tape, for what it reads is held against its sums.
const (
	suspectTape  = `t.state = '` + TapeSuspect + `'`
	doubtedTape  = `(` + suspectTape + ` OR t.state = '` + TapeFull + `' AND t.suspected <> 0)`
	countedTapes = `('` + TapeOpen + `', '` + TapeFull + `', '` + TapeSuperseded + `')`
	stayingTapes = `('` + TapeOpen + `', '` + TapeFull + `')` // those that are not being repacked, or were
	goodTape     = `t.uuid <> '' AND t.state IN ` + countedTapes
)

// textOpenDamage holds for a part p whose bytes are not on its tape, or not right there: its copy is in use, no other file of
// its pool holds the part, and its loss is not known.
const textOpenDamage = `EXISTS (SELECT 1 FROM copy c JOIN object o ON o.id = c.object WHERE c.id = p.copy AND c.state < ` + sqlCopyDropped + ` AND o.state = ` + sqlObjectPacked + ` AND ` + textNews + `
	AND NOT EXISTS (SELECT 1 FROM copy d JOIN copy_part r ON r.copy = d.id WHERE d.object = c.object AND d.pool = c.pool AND d.state < ` + sqlCopyDropped + `
		AND r.number = p.number AND r.state = ` + sqlPartDurable + ` AND r.id <> p.id))`

// textUnreadSince holds for a part p of tape t that counts and was not read back since the tape became suspect, or is damaged.
const textUnreadSince = `((p.state IN (` + sqlPartWriting + `, ` + sqlPartWritten + `) OR p.state = ` + sqlPartDurable + ` AND p.verified <= t.suspected) AND EXISTS (
	SELECT 1 FROM copy c JOIN object o ON o.id = c.object WHERE c.id = p.copy AND c.state < ` + sqlCopyDropped + ` AND o.state IN (` + sqlObjectPacked + `, ` + sqlObjectSuperseded + `))
	OR p.state = ` + sqlPartDamaged + ` AND p.verified <= t.suspected AND ` + textOpenDamage + `)`

// textMissing holds for a part p of a copy that was lost from its tape, and that nothing has replaced.
const textMissing = `p.state = ` + sqlPartLost + ` AND EXISTS (SELECT 1 FROM copy c WHERE c.id = p.copy AND c.state = ` + sqlCopyDamaged + `) AND ` + textOpenDamage

// TapeDoubt is what is known of a suspect tape.
type TapeDoubt struct {
	Parts   int // that count
	Unread  int // of them, or damaged, or manifests: not read back well since it became suspect
	Missing int // parts that are not on it any more and that nothing has replaced
	Bad     int // parts that were found damaged and not read well since, healed elsewhere or not
}

func doubtOf(ctx context.Context, q querier, tape int64) (d TapeDoubt, err error) {
	err = q.QueryRowContext(ctx, `SELECT count(CASE WHEN p.state = `+sqlPartDurable+` THEN 1 END), count(CASE WHEN `+textUnreadSince+` THEN 1 END) + (
		SELECT count(*) FROM manifest m JOIN tape t ON t.id = m.tape WHERE t.id = ?1 AND m.state = `+sqlManifestDurable+` AND m.verified <= t.suspected), count(CASE WHEN `+textMissing+` THEN 1 END),
		count(CASE WHEN p.state = `+sqlPartDamaged+` AND p.verified <= t.suspected THEN 1 END)
		FROM copy_part p JOIN tape t ON t.id = p.tape WHERE p.tape = ?1`, tape).Scan(&d.Parts, &d.Unread, &d.Missing, &d.Bad)
	if err != nil {
		err = fmt.Errorf("look what is known of tape %d: %w", tape, err)
	}
	return d, err
}

// Doubt counts what speaks against a suspect tape.
func (db *DB) Doubt(ctx context.Context, tape int64) (TapeDoubt, error) {
	return doubtOf(ctx, db.reader, tape)
}

// EndSuspicions takes tapes out of suspicion for which all is proved that has to be, and returns them as they are then.
func (db *DB) EndSuspicions(ctx context.Context) ([]Tape, error) {
	var ended []Tape
	err := db.update(ctx, func(tx *sql.Tx) error {
		ended = nil
		tapes, err := query(ctx, tx, "suspect tapes", scanTape, `SELECT `+tapeColumns+` FROM tape t LEFT JOIN pool p ON p.id = t.pool
			WHERE t.uuid <> '' AND `+doubtedTape+` ORDER BY t.barcode`)
		if err != nil {
			return err
		}
		for _, t := range tapes {
			d, err := doubtOf(ctx, tx, t.ID)
			if err != nil {
				return err
			}
			checked := t.Checked.After(t.Suspected)
			if d.Unread+d.Missing > 0 || d.Parts+d.Bad == 0 && !checked {
				continue
			}
			was := t
			switch {
			case checked && (d.Bad == 0 || t.Was == TapeFull || t.Was == TapeSuperseded):
				endSuspicion(&t)
			case d.Bad > 0:
				t.State, t.Note = TapeFull, "damage was found on it, and nothing is lost by that any more; it takes no more, unless somebody trusts it: tapefs tape trust "+t.Barcode
			default:
				t.State, t.Note = TapeFull, "its files were read back; tapefs tape check "+t.Barcode+" lets it take more"
			}
			if t.State == was.State && t.Note == was.Note {
				continue
			}
			if err := saveTape(ctx, tx, &t); err != nil {
				return err
			}
			if err := journalSuspicion(ctx, tx, &was, &t); err != nil {
				return err
			}
			ended = append(ended, t)
		}
		if len(ended) == 0 {
			return nil
		}
		return resumeJournals(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("see which tapes are suspect no more: %w", err)
	}
	return ended, nil
}

// TrustTape takes a tape out of suspicion because somebody says so. was is the state it had.
func (db *DB) TrustTape(ctx context.Context, tape int64) (t Tape, was string, err error) {
	t, err = db.UpdateTape(ctx, tape, func(t *Tape) error {
		if was = t.State; t.Doubted() {
			endSuspicion(t)
		}
		return nil
	})
	if err == nil {
		err = db.update(ctx, func(tx *sql.Tx) error { return resumeJournals(ctx, tx) })
	}
	return t, was, err
}

func endSuspicion(t *Tape) {
	t.State, t.Note = TapeOpen, ""
	if t.Was == TapeFull || t.Was == TapeSuperseded {
		t.State = t.Was
	}
	t.Suspected, t.Was, t.FoundDamaged = time.Time{}, "", false
}

// suspicion keeps what a change of a tape's state says of suspicion.
func suspicion(before string, t *Tape) {
	switch {
	case t.State == TapeSuspect && before != TapeSuspect:
		t.Was = before
		if !t.Suspected.IsZero() && before == TapeFull { // it was full only because of the last time
			t.Was = TapeOpen
		}
		if t.Suspected = t.doubtedFrom; t.Suspected.IsZero() {
			t.Suspected = time.Now()
		}
		t.Suspected = t.Suspected.UTC()
	case t.State == TapeOpen, before == TapeSuspect && t.State != TapeSuspect && t.State != TapeFull:
		t.Suspected, t.Was, t.FoundDamaged = time.Time{}, "", false
	}
}

// SuspectTapes lists the suspect tapes with copies on them that would count if they were not: durable, and of objects in use.
func (db *DB) SuspectTapes(ctx context.Context) ([]Tape, error) {
	return query(ctx, db.reader, "suspect tapes", scanTape, `SELECT `+tapeColumns+` FROM tape t LEFT JOIN pool p ON p.id = t.pool WHERE `+suspectTape+`
		AND EXISTS (SELECT 1 FROM copy_part e JOIN copy c ON c.id = e.copy JOIN object o ON o.id = c.object
			WHERE e.tape = t.id AND e.state = `+sqlPartDurable+` AND c.state = `+sqlDurable+` AND o.state IN (`+sqlObjectPacked+`, `+sqlObjectSuperseded+`)) ORDER BY t.barcode`)
}

// TapeChecked records that a check found a tape's volume consistent.
func (db *DB) TapeChecked(ctx context.Context, tape int64, at time.Time) error {
	_, err := db.UpdateTape(ctx, tape, func(t *Tape) error {
		t.Checked, t.Seen = at, at
		return nil
	})
	return err
}
