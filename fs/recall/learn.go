package recall

import (
	"context"
	"errors"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/motion"
)

// The order in which a tape is read is learned from what earlier locates took, of this tape and of others of its format. Each session
// tells what its own took as it goes on, and leaves them to the catalog at its end.

// unknownPlace is where the head is when nobody knows.
const unknownPlace = -1

// track is what a session knows of its tape's motions. Used by the session's goroutine alone.
type track struct {
	tape    int64
	nominal motion.Layout
	format  string
	head    int64 // byte of the tape behind what was read last, or unknownPlace
	moves   []catalog.Move
}

// begin finds out what is known of a tape that is about to be loaded.
func (s *session) begin(t catalog.Tape) {
	q := s.q
	s.track = track{tape: t.ID, head: unknownPlace}
	s.track.nominal, s.track.format = layoutOf(t)
	s.way.layout = s.track.nominal
	if !s.track.nominal.Known() {
		return
	}
	if err := q.remember(q.hard, t); err != nil {
		q.log.Warn("what locates took before is not known", "barcode", s.barcode, "err", err)
	}
	s.use()
}

// remember gives the learner what the catalog knows of a tape, and of the one that is best known of its generation, the first time
// that either is needed.
func (q *Queue) remember(ctx context.Context, t catalog.Tape) error {
	best, err := q.db.BestMoved(ctx, t.Generation)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, barcode := range []string{best, t.Barcode} {
		q.mu.Lock()
		known := q.remembered[barcode]
		q.remembered[barcode] = true
		q.mu.Unlock()
		if known {
			continue
		}
		of, err := q.db.TapeByBarcode(ctx, barcode)
		if err != nil {
			return err
		}
		moves, err := q.db.MovesOf(ctx, of.ID)
		if err != nil {
			return err
		}
		layout, format := layoutOf(of)
		for _, m := range moves {
			q.learner.Add(barcode, format, layout, motion.Sample{From: m.From, To: m.To, Seconds: m.Took.Seconds()})
		}
		q.learner.Model(barcode, format, layout)
	}
	return nil
}

// use has the head's way follow what is known now.
func (s *session) use() {
	if m := s.q.learner.Model(s.barcode, s.track.format, s.track.nominal); m != nil {
		s.way.layout, s.way.model = m.Layout, m
	}
}

// readAt notes that size bytes were read well at the place that was chosen, in one try that took so long.
func (s *session) readAt(size int64, took time.Duration) {
	from, to := s.track.head, s.way.at.addr
	s.track.head = to + size
	if from == unknownPlace || from <= to && to-from <= nearTape || !s.track.nominal.Known() {
		return
	}
	s.q.learner.Add(s.barcode, s.track.format, s.track.nominal, motion.Sample{From: from, To: to, Seconds: took.Seconds()})
	s.track.moves = append(s.track.moves, catalog.Move{Time: time.Now(), Tape: s.track.tape, Kind: catalog.MoveLocate, From: from, To: to, Took: took})
	s.use()
}

// tellMoves leaves what the session learned to the catalog.
func (s *session) tellMoves() {
	if s.q.o.Moved != nil && s.track.tape != 0 && len(s.track.moves) > 0 {
		s.q.o.Moved(s.track.moves)
	}
}
