package archiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tapefs/archiver/job"
	"tapefs/archiver/volume"
	"tapefs/catalog"
)

// frozenRecords are the records of a manifest that was written once, without its first.
func frozenRecords(t testing.TB) [][]byte {
	t.Helper()
	text, err := os.ReadFile("../testdata/manifest/records.jsonl")
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
	b := &rebuilder{Archiver: &Archiver{env: &job.Env{DB: db, Log: slog.New(slog.DiscardHandler)}}, rows: db.Rebuild(run.ID)}
	tape, err := b.rows.SeenTape(ctx, catalog.Tape{Barcode: "VT0001L8", UUID: volumeA, PoolName: "main", Number: 1, Generation: 8, Capacity: 1e12, Seen: time.Unix(1e9, 0)})
	must(t, err)
	must(t, b.rows.StartManifest(ctx, catalog.Manifest{Tape: tape.ID, Seq: 1, Name: "manifest", MAC: make([]byte, 32), Previous: make([]byte, 32), Upto: 3, Written: time.Unix(1e9, 0)}))
	take := &manifestTaker{b: b, barcode: "VT0001L8", name: "manifest", skip: map[string]bool{}}
	for _, raw := range records {
		record, err := parseRecord(raw)
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
	records := frozenRecords(t)
	db, err := takeRecords(t, records)
	must(t, err)
	if v, err := db.Resolve(t.Context(), "/src/d\xff/deep/f\n<&>"); err != nil || v.Size != 3 {
		t.Fatalf("the records as they were written: %+v, %v", v, err)
	}
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
	for _, c := range all[:150] {
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

// FuzzParseRecord: a record is read or refused, and what was read is a version that the catalog could have.
func FuzzParseRecord(f *testing.F) {
	for _, raw := range frozenRecords(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := json.NewDecoder(bytes.NewReader(raw))
		for {
			var one json.RawMessage
			if err := d.Decode(&one); err != nil {
				if err != io.EOF {
					return
				}
				break
			}
			record, err := parseRecord(one)
			if err != nil {
				return
			}
			n := &node{}
			switch r := record.(type) {
			case *dirRecord:
				n = &r.node
			case *memberRecord:
				n = &r.node
			case *changeRecord:
				if n = r.Now; n == nil {
					return
				}
			default:
				return
			}
			v, err := n.version()
			if err != nil {
				return
			}
			if v.Mode > 0o7777 || v.Kind < catalog.File || v.Kind > catalog.Symlink || v.Inode == 0 && v.ID != 0 || len(v.SHA256) != 0 && len(v.SHA256) != 32 {
				t.Fatalf("%s is taken as %+v", one, v)
			}
		}
	})
}

func FuzzParseTapeLabel(f *testing.F) {
	f.Add([]byte("tapefs-format 1 catalog=cccccccc-0000-0000-0000-000000000000 volume=11111111-2222-3333-4444-555555555555 pool=main number=1\nmore\n"))
	f.Add([]byte("tapefs-format 2 x=y\n"))
	f.Add([]byte("tapefs-format 1 catalog=a catalog=b\n"))
	f.Add([]byte("hello\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := volume.ParseLabel(bytes.NewReader(text))
		if err != nil {
			return
		}
		if again, err := volume.ParseLabel(bytes.NewReader([]byte(l.FirstLine() + "\n"))); err != nil || again != l {
			t.Fatalf("%q is %+v, which is written %q and read as %+v, %v", text, l, l.FirstLine(), again, err)
		}
	})
}

func FuzzParseMAC(f *testing.F) {
	m := macText{Catalog: "cccccccc-0000-0000-0000-000000000000", Volume: volumeA, Seq: 1, Previous: make([]byte, 32), MAC: make([]byte, 32)}
	f.Add(m.text())
	f.Add(bytes.ToUpper(m.text()))
	f.Add([]byte("mac=00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := parseMAC(text); err == nil && !bytes.Equal(m.text(), text) {
			t.Fatalf("%q is taken as %+v", text, m)
		}
	})
}
