package catalog_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

func create(t testing.TB) *catalog.DB {
	t.Helper()
	db, err := catalog.Create(context.Background(), filepath.Join(t.TempDir(), "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		sound(t, db.FilePath())
	})
	return db
}

// raw opens a catalog's file with SQLite alone.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	h, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// sound checks a closed catalog: its pages, its foreign keys, and the totals that triggers keep.
func sound(t testing.TB, path string) {
	t.Helper()
	h := raw(t, path)
	var text string
	if err := h.QueryRow(`PRAGMA integrity_check`).Scan(&text); err != nil || text != "ok" {
		t.Errorf("integrity of the catalog: %s, %v", text, err)
	}
	var broken, off int
	if err := h.QueryRow(`SELECT count(*) FROM pragma_foreign_key_check`).Scan(&broken); err != nil || broken > 0 {
		t.Errorf("%d rows refer to nothing, %v", broken, err)
	}
	err := h.QueryRow(`SELECT count(*) FROM total WHERE files <> (SELECT count(*) FROM version WHERE current = 1 AND kind = 1)
		OR bytes <> (SELECT coalesce(sum(size), 0) FROM version WHERE current = 1 AND kind = 1)`).Scan(&off)
	if err != nil || off > 0 {
		t.Errorf("the totals are not what a count gives: %v", err)
	}
	var orphans int
	err = h.QueryRow(`SELECT count(*) FROM version v JOIN version d ON d.id = v.parent WHERE v.current = 1 AND (d.current = 0 OR d.kind <> 2)`).Scan(&orphans)
	if err != nil || orphans > 0 {
		t.Errorf("%d versions show below what is no directory now, %v", orphans, err)
	}
	h.Close()
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// life is a catalog with a source, a key, two pools and two tapes.
type life struct {
	db     *catalog.DB
	run    catalog.Run
	source catalog.Source
	key    catalog.SealKey
	pools  []catalog.Pool
	tapes  []catalog.Tape
}

func newLife(t testing.TB) *life {
	ctx := context.Background()
	l := &life{db: create(t)}
	l.run = must(l.db.StartRun(ctx, "archive", []string{"src"}))(t)
	l.source = must(l.db.EnsureSource(ctx, "src", "/src"))(t)
	l.key = must(l.db.EnsureKey(ctx, "0123456789abcdef", "aes-256-ctr", 10000))(t)
	for i, name := range []string{"main", "offsite"} {
		l.pools = append(l.pools, must(l.db.EnsurePool(ctx, name))(t))
		l.tapes = append(l.tapes, must(l.db.AddTape(ctx, catalog.Tape{Barcode: []string{"A00001L8", "B00001L8"}[i], UUID: name, Pool: l.pools[i].ID}))(t))
	}
	return l
}

// plan plans one object of the named files in the source's root.
func (l *life) plan(t *testing.T, oid string, pools []int64, names ...string) (catalog.Batch, catalog.PlannedObject) {
	t.Helper()
	ctx := context.Background()
	o := catalog.NewObject{OID: oid, Key: l.key.ID, PartSize: 2 * catalog.ExtentSize, PlannedSize: 100, Pools: pools,
		Members: []catalog.NewVersion{{Existing: l.source.Root}}}
	for _, name := range names {
		o.Members = append(o.Members, catalog.NewVersion{Parent: l.source.Root, Name: name, Kind: catalog.File, Size: 5,
			Meta: catalog.Meta{Mode: 0o644, Owner: catalog.Owner{UID: 1, GID: 2, User: "u\xff", Group: "g"}, MTime: catalog.Time{Sec: 10}}})
	}
	b, planned, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: "b-" + oid}, []catalog.NewObject{o})
	check(t, err)
	return b, planned[0]
}

func (l *life) fetch(t *testing.T, b catalog.Batch, o catalog.PlannedObject) {
	t.Helper()
	var files []catalog.Fetched
	for _, v := range o.Versions[1:] {
		files = append(files, catalog.Fetched{Version: v.ID, Size: v.Size, Meta: catalog.Meta{Mode: v.Mode, Owner: v.Owner, MTime: catalog.Time{Sec: 10, Nsec: 7}}})
	}
	check(t, l.db.MarkFetched(context.Background(), l.run.ID, b.ID, files, time.Now()))
	check(t, l.db.SetBatchState(context.Background(), b.ID, catalog.Synced, 5))
}

var sum = bytes.Repeat([]byte{7}, 32)

// write writes the single part of a copy of an object.
func (l *life) write(t *testing.T, c catalog.OwedCopy, tape catalog.Tape, salt []byte) (catalog.CopyPart, error) {
	t.Helper()
	ctx := context.Background()
	p := must(l.db.AddCopyPart(ctx, catalog.CopyPart{Copy: c.ID, Number: 0, Tape: tape.ID, Name: "tapefs/k/" + c.Object.OID}))(t)
	var packing *catalog.Packing
	if c.Object.State == catalog.ObjectPlanned {
		packing = &catalog.Packing{Object: c.Object.ID, Salt: salt, PlainSize: 3000, SealedSize: 3016}
		for i, v := range must(l.db.BatchObjects(ctx, c.Object.Batch))(t)[0].Versions {
			m := catalog.PackedMember{Member: catalog.Member{Version: v.ID, Header: int64(i) * 1024, Data: -1}}
			if v.Kind == catalog.File {
				m.Data, m.SHA256 = m.Header+512, sum
			}
			packing.Members = append(packing.Members, m)
		}
	}
	return p, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, StartBlock: 9, Part: catalog.Part{Size: 3016, SHA256: sum, Sums: sum}}, packing)
}

func TestLifeOfAnObject(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	pools := []int64{l.pools[0].ID, l.pools[1].ID}
	b, o := l.plan(t, "01", pools, "a\nb", "c\xff")
	if _, err := l.db.Lookup(ctx, l.source.Root, "a\nb"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("a planned version shows: %v", err)
	}
	if owed := must(l.db.OwedCopies(ctx, pools[0]))(t); len(owed) != 0 {
		t.Errorf("a copy is owed before its batch is synced: %v", owed)
	}
	l.fetch(t, b, o)
	v := must(l.db.Resolve(ctx, "/src/c\xff"))(t)
	if v.Owner.User != "u\xff" || v.MTime.Nsec != 7 || v.ID != o.Versions[2].ID || v.Since.IsZero() {
		t.Errorf("fetched version: %+v", v)
	}
	if files, n, err := l.db.Totals(ctx); err != nil || files != 2 || n != 10 {
		t.Errorf("totals: %d files, %d bytes, %v", files, n, err)
	}
	loc := must(l.db.Locate(ctx, v.ID))(t)
	if loc.Batch == nil || loc.Batch.ID != b.ID || loc.Path != "c\xff" || loc.Object.ID != 0 {
		t.Errorf("location in the spool: %+v", loc)
	}

	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	owed := must(l.db.OwedCopies(ctx, pools[0]))(t)
	if len(owed) != 1 {
		t.Fatalf("owed: %v", owed)
	}
	_, err := l.write(t, owed[0], l.tapes[0], salt)
	check(t, err)
	if got := must(l.db.UnsafeParts(ctx))(t); len(got) != 1 || got[0].State != catalog.PartWritten {
		t.Errorf("unsafe parts: %+v", got)
	}
	n := 0
	check(t, l.db.Unmanifested(ctx, l.tapes[0].ID, func(p *catalog.ManifestPart) error {
		n++
		if len(p.Object.Versions) != 3 || len(p.Member) != 3 || p.Member[2].Data < 0 || len(p.Parts) != 1 || string(p.Object.Salt) != string(salt) {
			t.Errorf("manifest part: %+v", p)
		}
		_, err := l.db.AddManifest(ctx, catalog.Manifest{Tape: p.Tape, Seq: 1, Name: "m", MAC: sum, Previous: make([]byte, 32), Upto: 1}, []int64{p.ID})
		return err
	}))
	if n != 1 {
		t.Errorf("%d parts without a manifest", n)
	}
	l.synced(t, 0, 5, 1000)
	if got := must(l.db.ReleasableBatches(ctx))(t); len(got) != 0 {
		t.Errorf("a batch is released before its second copy: %v", got)
	}
	if p := must(l.db.Pools(ctx))(t); p[0].Journalled != 1 || p[0].Unsnapped != 3016 {
		t.Errorf("pool: %+v", p[0])
	}

	// The second copy repeats the first: other sums are refused and change nothing.
	owed = must(l.db.OwedCopies(ctx, pools[1]))(t)
	p := must(l.db.AddCopyPart(ctx, catalog.CopyPart{Copy: owed[0].ID, Tape: l.tapes[1].ID, Name: "x"}))(t)
	err = l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: catalog.Part{Size: 3016, SHA256: sum, Sums: make([]byte, 32)}}, nil)
	if err == nil {
		t.Error("other sums were accepted")
	}
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartAbandoned, 100))
	owed = must(l.db.OwedCopies(ctx, pools[1]))(t)
	if len(owed) != 1 || owed[0].State != catalog.Owed {
		t.Fatalf("after an abandoned part: %+v", owed)
	}
	_, err = l.write(t, owed[0], l.tapes[1], nil)
	check(t, err)
	l.synced(t, 1, 6, 1000)
	got := must(l.db.ReleasableBatches(ctx))(t)
	if len(got) != 1 {
		t.Fatalf("releasable: %v", got)
	}
	check(t, l.db.ReleaseBatch(ctx, got[0].ID))
	loc = must(l.db.Locate(ctx, v.ID))(t)
	if loc.Batch != nil || len(loc.Places) != 2 || loc.Places[0].State != catalog.Durable || len(loc.Places[1].Parts) != 1 || loc.Data < 0 {
		t.Errorf("location on tape: %+v", loc)
	}
	if tape := must(l.db.TapeByBarcode(ctx, "B00001L8"))(t); tape.Leftover != 100 || tape.Used != 3016 || tape.Number != 2 {
		t.Errorf("tape: %+v", tape)
	}
	if debts := must(l.db.Debts(ctx))(t); len(debts) != 0 {
		t.Errorf("debts: %v", debts)
	}
}

func TestLostPartIsPackedAnew(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a")
	l.fetch(t, b, o)
	owed := must(l.db.OwedCopies(ctx, l.pools[0].ID))(t)
	p := must(l.db.AddCopyPart(ctx, catalog.CopyPart{Copy: owed[0].ID, Tape: l.tapes[0].ID, Name: "x"}))(t)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, Part: catalog.Part{Size: 1, SHA256: sum, Sums: sum}}, nil))
	check(t, l.db.PartFailed(ctx, p.ID, catalog.PartLost, 1))
	if parts := must(l.db.Parts(ctx, o.ID))(t); len(parts) != 0 {
		t.Errorf("an object that is packed anew kept sums: %v", parts)
	}
	owed = must(l.db.OwedCopies(ctx, l.pools[0].ID))(t)
	if len(owed) != 1 || owed[0].State != catalog.Owed {
		t.Errorf("owed: %+v", owed)
	}
}

func TestNewVersionReplaces(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	b, o := l.plan(t, "01", nil, "a", "gone")
	check(t, l.db.MarkFetched(ctx, l.run.ID, b.ID, []catalog.Fetched{{Version: o.Versions[2].ID, Gone: true}}, time.Now()))
	o.Versions = o.Versions[:2]
	l.fetch(t, b, o)
	first := must(l.db.Resolve(ctx, "/src/a"))(t)
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{first.ID, first.ID}, time.Now()))
	if v := must(l.db.Get(ctx, first.ID))(t); v.Vanished.IsZero() || !v.Current {
		t.Errorf("vanished: %+v", v)
	}
	b, o = l.plan(t, "02", nil, "a")
	l.fetch(t, b, o)
	second := must(l.db.Resolve(ctx, "/src/a"))(t)
	if second.ID <= first.ID {
		t.Errorf("ids %d, %d", first.ID, second.ID)
	}
	list := must(l.db.Versions(ctx, l.source.Root, "a"))(t)
	if len(list) != 2 || list[0].ID != first.ID || list[0].Until.IsZero() || list[0].Current {
		t.Errorf("versions: %+v", list)
	}
	var kinds []string
	check(t, l.db.Changes(ctx, 0, func(c *catalog.Change) error { kinds = append(kinds, c.Kind); return nil }))
	if len(kinds) < 2 || kinds[0] != "vanished" {
		t.Errorf("changes: %v", kinds)
	}
	// A directory takes the file's place and back.
	dir := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "a", catalog.Meta{Mode: 0o755}))(t)
	if v := must(l.db.Resolve(ctx, "/src/a"))(t); v.ID != dir || v.Kind != catalog.Directory {
		t.Errorf("directory: %+v", v)
	}
	must(l.db.EnsureDir(ctx, l.run.ID, dir, "below", catalog.Meta{Mode: 0o755}))(t)
	b, o = l.plan(t, "03", nil, "a")
	l.fetch(t, b, o)
	if _, err := l.db.Resolve(ctx, "/src/a/below"); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("what was below a replaced directory still shows: %v", err)
	}
	if files, n, err := l.db.Totals(ctx); err != nil || files != 1 || n != 5 {
		t.Errorf("totals: %d, %d, %v", files, n, err)
	}
}
