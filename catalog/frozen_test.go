package catalog_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

var freeze = flag.Bool("freeze", false, "make the frozen catalog of schema 1 anew; only while no catalog of it is in use anywhere")

const frozenFile = "../testdata/catalogs/0001.db"

// TestFreeze made the frozen catalog: two files, of which one was changed and one vanished, on a
// tape with a manifest, and one batch that waits.
func TestFreeze(t *testing.T) {
	if !*freeze {
		t.Skip("the frozen catalog stays as it is")
	}
	ctx := context.Background()
	l := newLife(t)
	odd := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, "odd\n\xff", catalog.Meta{Mode: 0o750, Owner: catalog.Owner{UID: 7, User: "u"}}))(t)
	must(l.db.EnsureDir(ctx, l.run.ID, odd, "below", catalog.Meta{Mode: 0o700}))(t)
	b, o := l.plan(t, "01", []int64{l.pools[0].ID}, "a", "b\xff")
	l.fetch(t, b, o)
	salt := must(l.db.DrawSalt(ctx, l.key.ID, "object"))(t)
	p := l.begin(t, 0, 0)
	check(t, l.db.PartClosed(ctx, catalog.ClosedPart{CopyPart: p.ID, StartBlock: 5, Part: part(0, 5000, 3)}, packingOf(o, salt, 5000)))
	_, err := l.manifest(t, 0, 1, 2, p.ID)
	check(t, err)
	check(t, l.db.MarkDurable(ctx, l.tapes[0].ID, 4, 1<<40, time.Unix(1e9, 5)))
	check(t, l.db.ReleaseBatch(ctx, b.ID))
	check(t, l.db.MarkVanished(ctx, l.run.ID, []catalog.ID{o.Versions[2].ID}, time.Unix(1e9, 6)))
	b, o = l.plan(t, "02", []int64{l.pools[0].ID, l.pools[1].ID}, "a")
	l.fetch(t, b, o)
	check(t, l.db.AddRunError(ctx, l.run.ID, "src", "x\xff", "no"))
	check(t, l.db.FinishRun(ctx, l.run.ID, "partial", ""))
	check(t, os.MkdirAll(filepath.Dir(frozenFile), 0o755))
	os.Remove(frozenFile)
	check(t, l.db.Snapshot(ctx, frozenFile))
	check(t, os.Chmod(frozenFile, 0o644))
}

// A catalog that the first release wrote opens, says what it said, and goes on.
func TestFrozenCatalog(t *testing.T) {
	ctx := context.Background()
	data, err := os.ReadFile(frozenFile)
	check(t, err)
	path := filepath.Join(t.TempDir(), "catalog.db")
	check(t, os.WriteFile(path, data, 0o600))
	db, err := catalog.Open(ctx, path)
	check(t, err)
	defer db.Close()
	var paths []string
	check(t, db.Walk(ctx, catalog.Root, func(p string, v *catalog.Version) error { paths = append(paths, p); return nil }))
	if got, want := paths, []string{"src", "src/a", "src/b\xff", "src/odd\n\xff", "src/odd\n\xff/below"}; len(got) != len(want) || got[2] != want[2] || got[4] != want[4] {
		t.Errorf("paths %q, want %q", got, want)
	}
	b := must(db.Resolve(ctx, "/src/b\xff"))(t)
	if b.Vanished.IsZero() || b.Size != 5 || b.Owner.User != "u\xff" || b.MTime != (catalog.Time{Sec: 10, Nsec: 7}) || !bytes.Equal(b.SHA256, sum) {
		t.Errorf("file: %+v", b)
	}
	loc := must(db.Locate(ctx, b.ID))(t)
	if loc.Batch != nil || len(loc.Places) != 1 || loc.Places[0].State != catalog.Durable || loc.Places[0].Parts[0].StartBlock != 5 ||
		loc.Object.SealedSize != 5000 || len(loc.Object.Salt) != 8 || loc.Data != 2*1024+512 {
		t.Errorf("location: %+v", loc)
	}
	if got := must(db.PartSums(ctx, loc.Object.ID, 0))(t); !bytes.Equal(got, bytes.Repeat([]byte{3}, 32)) {
		t.Errorf("sums: %x", got)
	}
	versions := must(db.Versions(ctx, b.Parent, "a"))(t)
	if len(versions) != 2 || versions[0].Current || !versions[1].Current || versions[1].Batch == 0 {
		t.Errorf("versions: %+v", versions)
	}
	tape := must(db.TapeByBarcode(ctx, "A00001L8"))(t)
	if tape.UUID != "main" || tape.IndexGeneration != 4 || tape.Free != 1<<40 || tape.Used != 5000 || tape.PoolName != "main" {
		t.Errorf("tape: %+v", tape)
	}
	if m := must(db.LastManifest(ctx, tape.ID))(t); m.Seq != 1 || m.State != 2 || m.Upto != 2 {
		t.Errorf("manifest: %+v", m)
	}
	if pools := must(db.Pools(ctx))(t); pools[0].Journalled != 2 || pools[0].Unsnapped != 5000 {
		t.Errorf("pools: %+v", pools)
	}
	if debts := must(db.Debts(ctx))(t); len(debts) != 2 || debts[0].Bytes != 100 {
		t.Errorf("debts: %+v", debts)
	}
	runs := must(db.Runs(ctx, 0))(t)
	if r := must(db.RunReport(ctx, runs[0].ID))(t); r.State != "partial" || len(r.Errors) != 1 || r.Errors[0].Path != "x\xff" {
		t.Errorf("run: %+v", r)
	}
	// It goes on: the batch that waits is written to both pools, with the known key.
	l := &life{db: db, run: must(db.StartRun(ctx, "archive", nil))(t), key: must(db.Keys(ctx))(t)[0], source: must(db.Sources(ctx))(t)[0],
		pools: must(db.Pools(ctx))(t), tapes: must(db.Tapes(ctx))(t)}
	salt := must(db.DrawSalt(ctx, l.key.ID, "object"))(t)
	_, err = l.write(t, l.owed(t, 0), l.tapes[0], salt)
	check(t, err)
	_, err = l.write(t, l.owed(t, 1), l.tapes[1], nil)
	check(t, err)
	for i := range l.tapes {
		l.synced(t, i, 9, 0)
	}
	for _, b := range must(db.ReleasableBatches(ctx))(t) {
		check(t, db.ReleaseBatch(ctx, b.ID))
	}
	if open := must(db.OpenBatches(ctx))(t); len(open) != 0 {
		t.Errorf("open: %+v", open)
	}
	check(t, db.Close())
	sound(t, path)
}
