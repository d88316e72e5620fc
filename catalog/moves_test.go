package catalog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/catalog"
)

func TestMoves(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	moves := l.db.Moves()
	tape, other := l.tapes[0], l.tapes[1]
	at := time.Unix(1_700_000_000, 5).UTC()
	if _, err := moves.BestKnown(ctx, tape.Generation); !errors.Is(err, catalog.ErrNotFound) {
		t.Fatalf("the best known of none: %v", err)
	}
	first := catalog.Move{Time: at, Tape: tape.ID, From: 5, To: 1 << 40, Took: 42 * time.Second}
	change := catalog.Move{Time: at, Tape: other.ID, Kind: catalog.MoveChange, Took: time.Minute}
	check(t, moves.Record(ctx, []catalog.Move{change, first}))
	if d := cmp.Diff([]catalog.Move{first}, must(moves.Of(ctx, tape.ID, catalog.MoveLocate))(t)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]catalog.Move{change}, must(moves.Latest(ctx, catalog.MoveChange, 9))(t)); d != "" {
		t.Error(d)
	}
	if got := must(moves.BestKnown(ctx, tape.Generation))(t); got != tape.Barcode {
		t.Errorf("best known is %q, not %q, of which one locate is kept", got, tape.Barcode)
	}

	// Only the newest 200 are kept, and what one tape does takes nothing from another.
	var many []catalog.Move
	for n := range 250 {
		many = append(many, catalog.Move{Time: at, Tape: other.ID, From: int64(n), To: 7, Took: time.Second})
	}
	check(t, moves.Record(ctx, many))
	if d := cmp.Diff(many[50:], must(moves.Of(ctx, other.ID, catalog.MoveLocate))(t)); d != "" {
		t.Error(d)
	}
	if n := len(must(moves.Of(ctx, tape.ID, catalog.MoveLocate))(t)) + len(must(moves.Of(ctx, other.ID, catalog.MoveChange))(t)); n != 2 {
		t.Errorf("%d of 2 others are left", n)
	}
	if got := must(moves.BestKnown(ctx, tape.Generation))(t); got != other.Barcode {
		t.Errorf("best known is %q, not %q", got, other.Barcode)
	}
}
