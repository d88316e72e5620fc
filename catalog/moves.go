package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// MoveKind says what a tape did.
type MoveKind int

// What tapes do that takes time.
const (
	MoveLocate MoveKind = iota // from one place on the tape to another
	MoveChange                 // the tape was loaded, mounted and proved
)

// Move is one motion of a tape.
type Move struct {
	Time     time.Time
	Tape     int64
	Kind     MoveKind
	From, To int64 // of a locate: bytes of the tape
	Took     time.Duration
}

// Moves is the history of what tapes' motions took. It is bounded: keptMoves of a tape and a kind, and allMoves of all.
type Moves struct{ db *DB }

// Moves gives the role that keeps what tapes' motions took.
func (db *DB) Moves() Moves { return Moves{db} }

const (
	keptMoves = 200
	allMoves  = 20_000
)

const moveColumns = `time, tape, kind, source, target, took`

func scanMove(rows *sql.Rows) (m Move, err error) {
	var at, took int64
	err = rows.Scan(&at, &m.Tape, &m.Kind, &m.From, &m.To, &took)
	m.Time, m.Took = timeOf(at), time.Duration(took)
	return m, err
}

// Record adds motions, in the order in which they were made.
func (m Moves) Record(ctx context.Context, moves []Move) error {
	err := m.db.update(ctx, func(tx *sql.Tx) error {
		for _, v := range moves {
			if _, err := tx.ExecContext(ctx, `INSERT INTO tape_move (`+moveColumns+`) VALUES (?, ?, ?, ?, ?, ?)`,
				nsOf(v.Time), v.Tape, v.Kind, v.From, v.To, int64(v.Took)); err != nil {
				return err
			}
		}
		for _, v := range moves {
			if _, err := tx.ExecContext(ctx, `DELETE FROM tape_move WHERE tape = ?1 AND kind = ?2
				AND id <= (SELECT id FROM tape_move WHERE tape = ?1 AND kind = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)`, v.Tape, v.Kind, keptMoves); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM tape_move WHERE id <= (SELECT id FROM tape_move ORDER BY id DESC LIMIT 1 OFFSET ?)`, allMoves)
		return err
	})
	if err != nil {
		return fmt.Errorf("record what motions of tapes took: %w", err)
	}
	return nil
}

// Of lists the motions of one kind of a tape that are kept, the oldest first.
func (m Moves) Of(ctx context.Context, tape int64, kind MoveKind) ([]Move, error) {
	return query(ctx, m.db.reader, "motions of a tape", scanMove, `SELECT `+moveColumns+` FROM tape_move WHERE tape = ? AND kind = ? ORDER BY id`, tape, kind)
}

// Latest lists the newest motions of one kind, of all tapes, the newest first.
func (m Moves) Latest(ctx context.Context, kind MoveKind, limit int) ([]Move, error) {
	return query(ctx, m.db.reader, "motions of tapes", scanMove, `SELECT `+moveColumns+` FROM tape_move WHERE kind = ? ORDER BY id DESC LIMIT ?`, kind, limit)
}

// BestKnown is the barcode of the tape of a generation of which most locates are kept; ErrNotFound: there are none.
func (m Moves) BestKnown(ctx context.Context, generation int) (string, error) {
	list, err := query(ctx, m.db.reader, "tape with the most locates", func(rows *sql.Rows) (barcode string, err error) {
		return barcode, rows.Scan(&barcode)
	}, `SELECT t.barcode FROM tape_move m JOIN tape t ON t.id = m.tape WHERE m.kind = ? AND t.generation = ?
		GROUP BY t.id ORDER BY count(*) DESC, t.id LIMIT 1`, MoveLocate, generation)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fmt.Errorf("locates of LTO-%d: %w", generation, ErrNotFound)
	}
	return list[0], nil
}
