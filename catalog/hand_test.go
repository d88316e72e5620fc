package catalog_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"tapefs/catalog"
)

// raw changes a catalog behind the package's back.
func raw(t *testing.T, db *catalog.DB, statements ...string) {
	t.Helper()
	conn, err := sql.Open("sqlite", db.FilePath())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range statements {
		if _, err := conn.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestQuickCheck(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	check(t, l.db.QuickCheck(ctx))
	raw(t, l.db, `DELETE FROM pool WHERE name = 'offsite'`) // foreign keys are off on this connection
	err := l.db.QuickCheck(ctx)
	if !errors.Is(err, catalog.ErrDamaged) || !strings.Contains(err.Error(), "of tape names no pool") {
		t.Errorf("an orphaned tape: %v", err)
	}
}

// TestTapeDebts: what is not safe, and what is owed elsewhere and lies on this tape alone.
func TestTapeDebts(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	debts := func(want ...int) {
		t.Helper()
		unsafe, owed, err := l.db.TapeDebts(ctx, l.tapes[0].ID)
		check(t, err)
		if unsafe != want[0] || owed != want[1] {
			t.Errorf("%d unsafe parts, %d copies owed; want %v", unsafe, owed, want)
		}
	}
	_, o := l.plan(t, "00000000000100000000000000000000", []int64{l.pools[0].ID, l.pools[1].ID}, "a")
	debts(0, 0)
	copies := must(l.db.ObjectCopies(ctx, o.Object.ID))(t)
	must(l.db.AddCopyPart(ctx, catalog.CopyPart{Copy: copies[0].ID, Tape: l.tapes[0].ID, Name: "x"}))(t)
	debts(1, 0)
	raw(t, l.db, `UPDATE copy_part SET state = 2`, `UPDATE copy SET state = 3 WHERE id = (SELECT copy FROM copy_part)`)
	debts(0, 0) // the second copy is owed, and the spool has its bytes
	raw(t, l.db, `UPDATE batch SET state = 2`)
	debts(0, 1)
	raw(t, l.db, `UPDATE copy SET state = 3`)
	debts(0, 0)
}

func TestCountCleaning(t *testing.T) {
	ctx := context.Background()
	db := create(t)
	now := time.Now()
	for want := 1; want <= 2; want++ {
		if n := must(db.CountCleaning(ctx, "CLN001L1", "SERIAL1", "ULT3580-TD8", now))(t); n != want {
			t.Errorf("%d uses, want %d", n, want)
		}
	}
	if n := must(db.CountCleaning(ctx, "CLN002L1", "SERIAL1", "", now))(t); n != 1 {
		t.Errorf("%d uses of another cartridge", n)
	}
	uses := must(db.CleanerUses(ctx))(t)
	if len(uses) != 2 || uses["CLN001L1"] != 2 || uses["CLN002L1"] != 1 {
		t.Errorf("uses %v", uses)
	}
}
