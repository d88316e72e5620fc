package rebuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/archiver/job"
	"github.com/tapefs/tapefs/archiver/manifest"
	"github.com/tapefs/tapefs/catalog"
)

// frozenRecords are the records of manifests that were written once, without their first: "records", or "journal", in which nearly
// all kinds of changes are.
func frozenRecords(t testing.TB, name string) [][]byte {
	t.Helper()
	text, err := os.ReadFile("../../testdata/manifest/" + name + ".jsonl")
	must(t, err)
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
}

// takeRecords takes records over into a new catalog, as a rebuild does with a manifest whose MAC holds.
func takeRecords(t *testing.T, records [][]byte) (*catalog.DB, error) {
	t.Helper()
	ctx := t.Context()
	db, err := catalog.Create(ctx, filepath.Join(t.TempDir(), "catalog.db"))
	must(t, err)
	t.Cleanup(func() { db.Close() })
	run, err := db.StartRun(ctx, "rebuild", nil)
	must(t, err)
	b := &rebuilder{env: &job.Env{DB: db, Log: slog.New(slog.DiscardHandler)}, rows: db.Rebuild(run.ID)}
	tape, err := b.rows.SeenTape(ctx, catalog.Tape{Barcode: "VT0001L8", UUID: volumeA, PoolName: "main", Number: 1, Generation: 8, Capacity: 1e12, Seen: time.Unix(1e9, 0)})
	must(t, err)
	must(t, b.rows.StartManifest(ctx, catalog.Manifest{Tape: tape.ID, Seq: 1, Name: "manifest", MAC: make([]byte, 32), Previous: make([]byte, 32), Upto: 100, Written: time.Unix(1e9, 0)}))
	take := &manifestTaker{b: b, barcode: "VT0001L8", name: "manifest", skip: map[string]bool{}}
	for _, raw := range records {
		record, err := manifest.ParseRecord(raw)
		if err == nil && record != nil {
			err = take.record(ctx, record)
		}
		if err != nil {
			must(t, b.rows.Abandon())
			return db, err
		}
	}
	if err := errors.Join(take.end(ctx), b.rows.EndManifest(ctx)); err != nil {
		must(t, b.rows.Abandon())
		return db, err
	}
	return db, b.rows.Finish(ctx)
}

// A manifest that says what no run of ours would is taken over or refused. The catalog stays whole, what it shows has
// an end, and nothing panics.
func TestRecordsThatNobodyWrote(t *testing.T) {
	if testing.Short() {
		t.Skip("rebuilds many catalogs")
	}
	for _, name := range []string{"records", "journal"} {
		t.Run(name, func(t *testing.T) { oddRecords(t, frozenRecords(t, name)) })
	}
}

func TestRecordsAsTheyWere(t *testing.T) {
	db, err := takeRecords(t, frozenRecords(t, "records"))
	must(t, err)
	if v, err := db.Resolve(t.Context(), "/src/d\xff/deep/f\n<&>"); err != nil || v.Size != 3 {
		t.Fatalf("the records as they were written: %+v, %v", v, err)
	}
}

// oddRecords takes records in which one value is another one, for some such changes drawn at random.
func oddRecords(t *testing.T, records [][]byte) {
	t.Helper()
	type change struct {
		record int
		field  string
		value  any // nil: without the field
	}
	var all []change
	values := []any{nil, "", "x", "../../etc", "\x00", -1, 0, 1, 2, 3, int64(1) << 62, 1e300, []any{}, map[string]any{}, map[string]any{"base64": "Li4v"}, true,
		"0001-01-01T00:00:00Z", "00", "durable", "vanished", "forgotten"}
	for i, raw := range records {
		var fields map[string]any
		must(t, json.Unmarshal(raw, &fields))
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			for _, v := range values {
				all = append(all, change{i, name, v})
			}
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, %d changes", seed, len(all))
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var taken int
	for _, c := range all[:100] {
		t.Run(fmt.Sprintf("record %d %s %v", c.record, c.field, c.value), func(t *testing.T) {
			var fields map[string]any
			must(t, json.Unmarshal(records[c.record], &fields))
			if fields[c.field] = c.value; c.value == nil {
				delete(fields, c.field)
			}
			odd := slices.Clone(records)
			var err error
			odd[c.record], err = json.Marshal(fields)
			must(t, err)
			db, err := takeRecords(t, odd)
			if err == nil {
				taken++
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			must(t, db.QuickCheck(ctx))
			must(t, db.Walk(ctx, catalog.Root, func(string, *catalog.Version) error { return nil }))
		})
	}
	if taken == 0 {
		t.Error("not one was taken: the changes show nothing")
	}
}
