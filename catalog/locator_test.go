package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapefs/tapefs/catalog"
)

// taped is a life with two objects of n files each, safe in both pools and no longer in the spool, and the ids of the files.
func taped(t *testing.T, n int) (*life, []catalog.ID) {
	t.Helper()
	ctx := context.Background()
	l := newLife(t)
	var ids []catalog.ID
	for object := range 2 {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("%d-%03d", object, i))
		}
		b, o := l.plan(t, fmt.Sprintf("%02d", object), []int64{l.pools[0].ID, l.pools[1].ID}, names...)
		l.fetch(t, b, o)
		for _, v := range o.Versions[1:] {
			ids = append(ids, v.ID)
		}
		salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
		for pool := range 2 {
			_, err := l.write(t, must(l.db.OwedCopies(ctx, l.pools[pool].ID))(t)[0], l.tapes[pool], salt)
			check(t, err)
			check(t, l.db.Unmanifested(ctx, l.tapes[pool].ID, func(p *catalog.ManifestPart) error {
				_, err := l.db.AddManifest(ctx, catalog.Manifest{Tape: p.Tape, Seq: 1 + object, Name: "m", MAC: sum, Previous: make([]byte, 32), Upto: 1}, []int64{p.ID})
				return err
			}))
			l.synced(t, pool, int64(5+object), 1000)
		}
		check(t, l.db.ReleaseBatch(ctx, b.ID))
	}
	return l, ids
}

// sameAs holds the locator's answers against the catalog's, in an order of asking.
func sameAs(t *testing.T, l *life, locator *catalog.Locator, when string, ids []catalog.ID) {
	t.Helper()
	for _, id := range ids {
		got, gerr := locator.Locate(context.Background(), id)
		want, werr := l.db.Locate(context.Background(), id)
		if (gerr == nil) != (werr == nil) || werr != nil && gerr.Error() != werr.Error() {
			t.Errorf("%s: version %d: %v, want %v", when, id, gerr, werr)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: version %d: -want +got\n%s", when, id, diff)
		}
	}
}

// The locator says what the catalog says, in whatever order it is asked, and notices whatever is changed in between.
func TestLocatorAgreesWithTheCatalog(t *testing.T) {
	ctx := context.Background()
	l, ids := taped(t, 60)
	locator := l.db.Locator()
	sameAs(t, l, locator, "in order", ids)
	if n := locator.Remembered(); n < 50 {
		t.Errorf("%d members were read ahead of who went through all in order", n)
	}
	sameAs(t, l, locator, "again", ids)
	backwards := slices.Clone(ids)
	slices.Reverse(backwards)
	sameAs(t, l, l.db.Locator(), "backwards", backwards)
	sameAs(t, l, locator, "what there is not", []catalog.ID{ids[len(ids)-1] + 1000, l.source.Root, catalog.Root})

	parts := must(l.db.Locate(ctx, ids[0]))(t).Places
	for what, change := range map[string]func() error{
		"a part was found damaged": func() error {
			return l.db.FoundDamaged(ctx, parts[0].Parts[0], false, 0, errors.New("flipped"))
		},
		"a newer state waits in the spool": func() error {
			b, o := l.plan(t, "77", []int64{l.pools[0].ID}, "0-003", "new")
			l.fetch(t, b, o)
			ids = append(ids, o.Versions[1].ID, o.Versions[2].ID)
			return nil
		},
		"versions were forgotten": func() error {
			_, err := l.db.Forget(ctx, l.run.ID, ids[5:7], time.Now())
			return err
		},
	} {
		sameAs(t, l, locator, "before "+what, ids)
		check(t, change())
		sameAs(t, l, locator, "after "+what, ids)
	}
	for _, id := range []catalog.ID{ids[30], ids[3], ids[90], ids[31], ids[32]} {
		sameAs(t, l, locator, "here and there", []catalog.ID{id})
	}
}

// Who opens files here and there has nothing read ahead, and what is remembered stays bounded.
func TestLocatorReadsAheadOnlyInOrder(t *testing.T) {
	l, ids := taped(t, 60)
	locator := l.db.Locator()
	for i := len(ids) - 1; i >= 0; i -= 3 {
		sameAs(t, l, locator, "backwards", ids[i:i+1])
	}
	if n := locator.Remembered(); n != 0 {
		t.Errorf("%d members were read ahead", n)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { sameAs(t, l, locator, "side by side", ids) })
	}
	all.Wait()
}

// A closed catalog answers with an error.
func TestLocatorOfAClosedCatalog(t *testing.T) {
	l, ids := taped(t, 3)
	locator := l.db.Locator()
	sameAs(t, l, locator, "open", ids)
	check(t, l.db.Close())
	if _, err := locator.Locate(context.Background(), ids[0]); err == nil {
		t.Error("it answered")
	}
}
