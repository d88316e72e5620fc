package catalog_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

func (l *life) manifest(t *testing.T, tape, seq int, upto int64, parts ...int64) (catalog.Manifest, error) {
	t.Helper()
	return l.db.AddManifest(context.Background(), catalog.Manifest{Tape: l.tapes[tape].ID, Seq: seq, Name: "m", MAC: sum, Previous: make([]byte, 32), Upto: upto}, parts)
}

// synced is a sync of a tape: a manifest of what none names yet, and all of it durable.
func (l *life) synced(t *testing.T, tape int, generation, free int64) {
	t.Helper()
	ctx := context.Background()
	if parts := l.unnamed(t, tape); len(parts) > 0 {
		seq := 1
		if last, err := l.db.LastManifest(ctx, l.tapes[tape].ID); err == nil {
			seq = last.Seq + 1
		}
		must(l.manifest(t, tape, seq, 0, parts...))(t)
	}
	check(t, l.db.MarkDurable(ctx, l.tapes[tape].ID, generation, free, time.Now()))
}

func (l *life) unnamed(t *testing.T, tape int) (ids []int64) {
	t.Helper()
	check(t, l.db.Unmanifested(context.Background(), l.tapes[tape].ID, func(m *catalog.ManifestPart) error { ids = append(ids, m.ID); return nil }))
	return ids
}

func TestManifests(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	var parts []int64
	for _, oid := range []string{"01", "02", "03"} {
		b, o := l.plan(t, oid, []int64{l.pools[0].ID}, "f"+oid)
		l.fetch(t, b, o)
		p := l.begin(t, 0, 0)
		salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
		check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(o, salt, 1000)))
		parts = append(parts, p.ID)
	}
	if got := l.unnamed(t, 0); !slices.Equal(got, parts) {
		t.Errorf("unnamed: %v, want %v", got, parts)
	}
	if _, err := l.db.LastManifest(ctx, l.tapes[0].ID); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a tape without manifests: %v", err)
	}
	m := must(l.manifest(t, 0, 1, 7, parts[0], parts[1]))(t)
	if got := l.unnamed(t, 0); !slices.Equal(got, parts[2:]) {
		t.Errorf("unnamed: %v, want %v", got, parts[2:])
	}
	for what, add := range map[string]func() error{
		"names a part again":   func() error { _, err := l.manifest(t, 0, 2, 7, parts[2], parts[0]); return err },
		"has a number that is": func() error { _, err := l.manifest(t, 0, 1, 7); return err },
		"names no part":        func() error { _, err := l.manifest(t, 0, 2, 7, 999); return err },
	} {
		if add() == nil {
			t.Errorf("a manifest that %s was recorded", what)
		}
	}
	if last := must(l.db.LastManifest(ctx, l.tapes[0].ID))(t); last.ID != m.ID || last.Seq != 1 || last.Upto != 7 || last.State != 1 || len(last.MAC) != 32 {
		t.Errorf("last: %+v", last)
	}

	// The index was never written: what it named is named again, under the same number.
	check(t, l.db.LoseManifests(ctx, l.tapes[0].ID))
	if got := l.unnamed(t, 0); !slices.Equal(got, parts) {
		t.Errorf("unnamed after a loss: %v", got)
	}
	if _, err := l.db.LastManifest(ctx, l.tapes[0].ID); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a lost manifest is the last: %v", err)
	}
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 2, 0, time.Now()))
	if p := must(l.db.Pools(ctx))(t)[0]; p.Journalled != 0 {
		t.Errorf("a lost manifest moved the journal to %d", p.Journalled)
	}
	// Durable parts without a manifest are named too. A zero time is no reason to forget.
	must(l.manifest(t, 0, 1, 7, parts...))(t)
	must(l.manifest(t, 0, 2, 5))(t)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 3, 12345, time.Time{}))
	pools := must(l.db.Pools(ctx))(t)
	if pools[0].Journalled != 7 || pools[1].Journalled != 0 {
		t.Errorf("journalled: %+v", pools)
	}
	if last := must(l.db.LastManifest(ctx, l.tapes[0].ID))(t); last.Seq != 2 || last.State != 2 {
		t.Errorf("last: %+v", last)
	}
	check(t, l.db.LoseManifests(ctx, l.tapes[0].ID)) // durable ones stay
	if got := l.unnamed(t, 0); len(got) != 0 {
		t.Errorf("unnamed: %v", got)
	}
	if tape := must(l.db.TapeByUUID(ctx, "main"))(t); tape.IndexGeneration != 3 || tape.Free != 12345 {
		t.Errorf("tape: %+v", tape)
	}
	stop := errors.New("stop")
	check(t, l.db.PartFailed(ctx, parts[0], catalog.PartLost, 0))
	if err := l.db.Unmanifested(ctx, l.tapes[0].ID, func(*catalog.ManifestPart) error { return stop }); err != nil {
		t.Errorf("a lost part is to be named: %v", err)
	}
}

func TestChangesByPages(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	d := l.wide(t, 1100)
	var ids []catalog.ID
	check(t, l.db.Children(ctx, d, 0, 0, func(v *catalog.Version) error { ids = append(ids, v.ID); return nil }))
	check(t, l.db.MarkVanished(ctx, l.run.ID, ids, time.Unix(1, 0)))
	var got []catalog.ID
	last := int64(0)
	check(t, l.db.Changes(ctx, 1, func(c *catalog.Change) error {
		if c.Kind != "vanished" || c.ID <= last || c.Run != l.run.ID || !c.At.Equal(time.Unix(1, 0)) {
			t.Errorf("change: %+v", c)
		}
		last = c.ID
		got = append(got, c.Version)
		return nil
	}))
	if !slices.Equal(got, ids) {
		t.Errorf("%d changes, want %d", len(got), len(ids))
	}
}

func TestSnapshotsOnTape(t *testing.T) {
	ctx := context.Background()
	l, _, o := spooled(t)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(o, salt, 1000)))
	if pool := must(l.db.Pools(ctx))(t)[0]; pool.Unsnapped != 1000 {
		t.Errorf("pool: %+v", pool)
	}
	check(t, l.db.AddSnapshot(ctx, l.tapes[0].ID, "snap", 50, sum))
	if pool := must(l.db.Pools(ctx))(t)[0]; pool.Unsnapped != 0 {
		t.Errorf("pool: %+v", pool)
	}
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 2, 0, time.Now()))
	var state int
	check(t, raw(t, l.db.FilePath()).QueryRow(`SELECT state FROM snapshot`).Scan(&state))
	if state != 2 {
		t.Errorf("a snapshot that was synced has state %d", state)
	}
}

// A repacked version lies in two objects: the one with a durable copy is read.
func TestLocatePrefersDurable(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: part(0, 1000, 1)}, packingOf(o, salt, 1000)))
	check(t, l.db.PartProved(ctx, p.ID))
	h := raw(t, l.db.FilePath())
	_, err := h.Exec(`INSERT INTO object (id, oid, run, source, key, part_size, planned_size, state, replaces, created)
		SELECT 50, 'new', run, source, key, part_size, planned_size, 1, id, 0 FROM object WHERE id = ?;
		INSERT INTO member (object, version, header, data) SELECT 50, version, header + 7, data + 7 FROM member WHERE object = ?;
		INSERT INTO copy (id, object, pool, state) VALUES (60, 50, ?, 2)`, o.ID, o.ID, l.pools[0].ID)
	check(t, err)
	id := o.Versions[1].ID
	old := must(l.db.Locate(ctx, id))(t)
	if old.Object.ID != o.ID || len(old.Places) != 1 {
		t.Errorf("location: %+v", old)
	}
	_, err = h.Exec(`UPDATE copy SET state = 3 WHERE id = 60`)
	check(t, err)
	if loc := must(l.db.Locate(ctx, id))(t); loc.Object.ID != 50 || loc.Data != old.Data+7 {
		t.Errorf("of two durable objects the newer is read: %+v", loc)
	}
	if _, err := l.db.Locate(ctx, 999); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("location of nothing: %v", err)
	}
}
