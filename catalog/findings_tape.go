package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kinds of changes that tell of suspicion against a tape, as those of findings.go tell of a file on it. A rebuild would believe the
// tape records of whatever manifest it has, and what lies on a tape that failed since would count as safe again.
const (
	FoundTapeSuspect = "tape-suspect" // it became suspect, or damage was found on it while it was
	FoundTapeTrusted = "tape-trusted" // it is so no more: proved, trusted, or given up
)

const textIsTapeFinding = `kind IN ('` + FoundTapeSuspect + `', '` + FoundTapeTrusted + `')`

// tapeFinding is the detail of such a change: what is so of the tape after it.
type tapeFinding struct {
	Volume    string    `json:"volume"`
	Barcode   string    `json:"barcode"`
	State     string    `json:"state"`
	Suspected time.Time `json:"suspected,omitzero"`
	Was       string    `json:"was,omitempty"`
	Damage    bool      `json:"damage,omitempty"`
	Note      string    `json:"note,omitempty"`
}

// journalSuspicion tells the next manifests of what a change of a tape says of suspicion, if it says anything. A tape without a volume
// of ours has none, and in a catalog without a run no manifest was ever written: the first one has it with the tape.
func journalSuspicion(ctx context.Context, tx *sql.Tx, before, t *Tape) error {
	same := before.Suspect() == t.Suspect() && before.Suspected.Equal(t.Suspected) && before.FoundDamaged == t.FoundDamaged
	if same || t.UUID == "" || t.UUID != before.UUID || t.State == TapeForeign {
		return nil
	}
	kind := FoundTapeTrusted
	if t.Suspect() {
		kind = FoundTapeSuspect
	}
	detail, err := json.Marshal(tapeFinding{t.UUID, t.Barcode, t.State, t.Suspected, t.Was, t.FoundDamaged, t.Note})
	if err != nil {
		return err
	}
	at, err := findingTime(ctx, tx, time.Now())
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO change (at, run, kind, version, detail) SELECT ?, max(id), ?, `+sqlRoot+`, ? FROM run HAVING max(id) IS NOT NULL`, at, kind, string(detail))
	if err != nil {
		return fmt.Errorf("journal suspicion against tape %s: %w", t.Barcode, err)
	}
	return nil
}

// applySuspicions lets each tape be as suspect as the latest finding of its volume says.
func (r *Rebuild) applySuspicions(ctx context.Context) error {
	type found struct {
		tapeFinding
		at time.Time
	}
	all, err := query(ctx, r.db.reader, "suspicion against tapes", func(rows *sql.Rows) (f found, err error) {
		var detail string
		var at int64
		if err := rows.Scan(&at, &detail); err != nil {
			return f, err
		}
		f.at = timeOf(at)
		if json.Unmarshal([]byte(detail), &f.tapeFinding) != nil {
			f.tapeFinding = tapeFinding{} // whoever wrote that
		}
		return f, nil
	}, `SELECT at, detail FROM (SELECT at, detail, row_number() OVER (PARTITION BY CAST(json_extract(detail, '$.volume') AS TEXT) ORDER BY at DESC, id DESC) AS newest
		FROM change WHERE `+textIsTapeFinding+` AND json_valid(detail)) WHERE newest = 1`)
	if err != nil || len(all) == 0 {
		return err
	}
	return r.db.update(ctx, func(tx *sql.Tx) error {
		for _, f := range all {
			if f.Volume == "" {
				continue
			}
			t, err := oneTape(ctx, tx, "volume "+f.Volume, `t.uuid = ?`, f.Volume)
			if errors.Is(err, ErrNotFound) {
				continue
			} else if err != nil {
				return err
			}
			if f.tell(&t, f.at) {
				if err := saveTape(ctx, tx, &t); err != nil {
					return fmt.Errorf("record suspicion against tape %s: %w", t.Barcode, err)
				}
			}
		}
		return nil
	})
}

// tell changes a tape to what the finding says of it, and reports whether it did. The tape's row may tell of suspicion that is newer: of
// an older program, which journals none. What it does not know to be over stays.
func (f *tapeFinding) tell(t *Tape, at time.Time) bool {
	switch f.State {
	case TapeSuspect:
		if t.Suspect() && !f.Suspected.After(t.Suspected) {
			t.FoundDamaged = t.FoundDamaged || f.Damage
			return f.Damage
		}
		if !t.Suspect() && !t.Counts() || t.Stage == StageRepacked {
			return false
		}
		was := f.Was
		if !t.Doubted() && t.State != TapeOpen { // it was filled, or repacking it began
			was = t.State
		}
		t.Suspected, t.Was, t.FoundDamaged = f.Suspected, was, f.Damage
		if t.Suspected.IsZero() {
			t.Suspected = at
		}
	case TapeOpen, TapeFull, TapeSuperseded, TapeRetired:
		if !t.Doubted() || t.Suspected.After(at) {
			return false
		}
		t.Suspected, t.Was, t.FoundDamaged = f.Suspected, f.Was, f.Damage
	default:
		return false
	}
	t.State, t.Note = f.State, f.Note
	return true
}
