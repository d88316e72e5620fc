package catalog_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// behind changes a catalog's file past the package, with foreign keys off.
func behind(t *testing.T, path string, statements ...string) {
	t.Helper()
	h := raw(t, path)
	for _, s := range statements {
		if _, err := h.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestRowReaderCheck(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	check(t, l.db.QuickCheck(ctx))
	path := filepath.Join(t.TempDir(), "damaged.db")
	check(t, l.db.Snapshot(ctx, path))
	behind(t, path, `DELETE FROM pool WHERE name = 'offsite'`)
	db := must(catalog.OpenReadOnly(ctx, path))(t)
	defer db.Close()
	err := db.QuickCheck(ctx)
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
	behind(t, l.db.FilePath(), `UPDATE copy_part SET state = 2`, `UPDATE copy SET state = 3 WHERE id = (SELECT copy FROM copy_part)`)
	debts(0, 0) // the second copy is owed, and the spool has its bytes
	behind(t, l.db.FilePath(), `UPDATE batch SET state = 2`)
	debts(0, 1)
	behind(t, l.db.FilePath(), `UPDATE copy SET state = 3`)
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
