package catalog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bulkRecords are records of one manifest in an order that a manifest may have: members of objects, in directories whose own records come
// before or behind them, with paths that others have, numbers that come twice, and states of all kinds.
func bulkRecords(seed uint64) (records []Version) {
	r := rand.New(rand.NewPCG(seed, 1))
	id := ID(10)
	dirs := []ID{2}
	for range 400 {
		id += ID(1 + r.IntN(3))
		v := Version{ID: id, Inode: id, Data: id, Parent: dirs[r.IntN(len(dirs))], Name: fmt.Sprintf("name %d", r.IntN(60)), Kind: File, Mode: 0o644, Size: r.Int64N(1000),
			Owner: Owner{UID: uint32(r.IntN(3))}, MTime: Time{Sec: r.Int64N(100)}, State: Present, Since: time.Unix(1000+r.Int64N(100), 0)}
		switch r.IntN(12) {
		case 0:
			v.Kind, v.Name, v.Size = Directory, fmt.Sprint("dir ", id), 0
			dirs = append(dirs, id)
		case 1:
			v.Kind, v.Target = Symlink, "elsewhere"
		case 2:
			v.Until = v.Since.Add(time.Second)
		case 3:
			v.State = Void
		case 4:
			v.Parent = id + ID(r.IntN(5)) // one whose record comes later, or itself, or a file
		case 5:
			if len(records) > 0 {
				v = records[r.IntN(len(records))] // told twice
			}
		case 6:
			v.Vanished = v.Since.Add(time.Minute)
		case 7:
			if len(records) > 0 && records[len(records)-1].Kind == File {
				v.Data, v.Inode = records[len(records)-1].ID, records[len(records)-1].ID
			}
		}
		records = append(records, v)
	}
	return records
}

// Members that are held and written together make the catalog that they make one by one.
func TestRebuildInBulkIsTheSame(t *testing.T) {
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// rebuilt returns all that two manifests make, the second of which tells things again, and what was refused.
	rebuilt := func(seed uint64, bulk bool) (rows []string) {
		db, err := Create(ctx, filepath.Join(t.TempDir(), "catalog.db"))
		must(err)
		defer db.Close()
		run, err := db.StartRun(ctx, "rebuild", nil)
		must(err)
		tape, err := db.AddTape(ctx, Tape{Barcode: "A00001L8", UUID: "main"})
		must(err)
		r := db.Rebuild(run.ID)
		held := 0
		for seq := 1; seq <= 2; seq++ {
			must(r.StartManifest(ctx, Manifest{Tape: tape.ID, Seq: seq, Upto: int64(seq), Name: "m", MAC: make([]byte, 32), Previous: make([]byte, 32), Written: time.Unix(int64(seq), 0)}))
			if !bulk {
				r.top = 1 << 60
			}
			must(r.Source(ctx, Source{Name: "src", Root: 2}))
			must(r.Node(ctx, &Version{ID: 2, Inode: 2, Data: 2, Parent: Root, Name: "src", Kind: Directory, Mode: 0o755, State: Present, Since: time.Unix(1, 0)}))
			for i, v := range bulkRecords(seed + uint64(seq)/2) {
				oid := fmt.Sprintf("0123456789ab%08d%012d", seq, i/150)
				if i%150 == 0 {
					must(r.Sealing(ctx, &Object{OID: oid, Fingerprint: "0123456789abcdef", Salt: []byte{byte(seed), byte(seq), byte(i / 150), 0, 0, 0, 0, 0}, PartSize: ExtentSize,
						PlainSize: 100, SealedSize: 116, State: ObjectPacked, Created: time.Unix(5, 0)}, "src", nil))
				}
				var err error
				if v.Kind == Directory {
					err = r.Node(ctx, &v)
				} else {
					err = r.Member(ctx, oid, Member{Version: v.ID, Header: int64(i) * 1024, Data: int64(i)*1024 + 512}, &v)
				}
				held = max(held, len(r.held))
				if err != nil {
					if !Refusable(err) {
						t.Fatal(err)
					}
					rows = append(rows, err.Error())
				}
			}
			must(r.EndManifest(ctx))
		}
		if bulk != (held > 0) {
			t.Fatalf("bulk %v: %d members were held", bulk, held)
		}
		must(r.Finish(ctx))
		for _, text := range []string{
			`SELECT concat_ws('|', id, parent, CAST(name AS TEXT), kind, mode, owner, size, mtime, inode, nlink, data, coalesce(target, 'none'), state, current, since, until, vanished) FROM version WHERE id <> 1 ORDER BY id`,
			`SELECT concat_ws('|', object, version, header, data) FROM member ORDER BY object, version`,
			`SELECT concat_ws('|', files, bytes) FROM total`,
		} {
			got, err := db.reader.QueryContext(ctx, text)
			must(err)
			for got.Next() {
				var row string
				must(got.Scan(&row))
				rows = append(rows, row)
			}
			must(got.Err())
		}
		return rows
	}
	for seed := range uint64(8) {
		one, many := rebuilt(2*seed, false), rebuilt(2*seed, true)
		if diff := cmp.Diff(one, many); diff != "" {
			t.Errorf("seed %d: -one by one +many at a time\n%s", seed, diff)
		}
	}
}
