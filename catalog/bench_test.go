package catalog_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// benchFiles is how many files the benchmarks' catalog holds; CATALOG_BENCH_FILES=1000000 for more.
func benchFiles(b *testing.B) int {
	n := 100000
	if text := os.Getenv("CATALOG_BENCH_FILES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

// benchDir is how many files a directory of the benchmarks holds.
const benchDir = 1000

// fillTree plans and fetches n files in directories of benchDir, a batch each 50,000.
func fillTree(b *testing.B, n int) (*life, []catalog.ID) {
	ctx := context.Background()
	l := newLife(b)
	var dirs []catalog.ID
	for done := 0; done < n; {
		var objects []catalog.NewObject
		for ; done < n && len(objects) < 50; done += benchDir {
			d := must(l.db.EnsureDir(ctx, l.run.ID, l.source.Root, fmt.Sprintf("d%06d", done/benchDir), catalog.Meta{Mode: 0o755}))(b)
			dirs = append(dirs, d)
			o := catalog.NewObject{OID: fmt.Sprint(done), Key: l.key.ID, PartSize: catalog.ExtentSize, Pools: []int64{l.pools[0].ID}}
			for i := range benchDir {
				o.Members = append(o.Members, catalog.NewVersion{Parent: d, Name: fmt.Sprintf("file-%06d.jpg", i), Kind: catalog.File, Size: 1000,
					Meta: catalog.Meta{Mode: 0o644, Owner: catalog.Owner{UID: 1000}, MTime: catalog.Time{Sec: int64(i)}}})
			}
			objects = append(objects, o)
		}
		batch, planned, err := l.db.PlanBatch(ctx, catalog.Batch{Run: l.run.ID, Source: l.source.ID, Dir: fmt.Sprint(done)}, objects)
		check(b, err)
		files := make([]catalog.Fetched, 0, 50000)
		for _, o := range planned {
			for _, v := range o.Versions {
				files = append(files, catalog.Fetched{Version: v.ID, Size: v.Size, Meta: catalog.Meta{Mode: v.Mode, Owner: v.Owner, MTime: v.MTime}})
			}
		}
		check(b, l.db.MarkFetched(ctx, l.run.ID, batch.ID, files, time.Now()))
		check(b, l.db.SetBatchState(ctx, batch.ID, catalog.Synced, 1))
	}
	return l, dirs
}

// BenchmarkPlanAndFetch is a file from plan to mount: its version, its place in an object, its mark.
func BenchmarkPlanAndFetch(b *testing.B) {
	n := benchFiles(b)
	for b.Loop() {
		fillTree(b, n)
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func BenchmarkRead(b *testing.B) {
	ctx := context.Background()
	n := benchFiles(b)
	l, dirs := fillTree(b, n)
	b.Run("Lookup", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i = (i + 7919) % n
			if _, err := l.db.Lookup(ctx, dirs[i/benchDir], fmt.Sprintf("file-%06d.jpg", i%benchDir)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("List1000", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i = (i + 7) % len(dirs)
			seen := 0
			err := l.db.Children(ctx, dirs[i], 0, 0, func(*catalog.Version) error { seen++; return nil })
			if err != nil || seen != benchDir {
				b.Fatal(seen, err)
			}
		}
	})
	b.Run("Totals", func(b *testing.B) {
		for b.Loop() {
			if files, _, err := l.db.Totals(ctx); err != nil || files != int64(n) {
				b.Fatal(files, err)
			}
		}
	})
	b.Run("Locate", func(b *testing.B) {
		id := catalog.ID(0)
		check(b, l.db.Children(ctx, dirs[len(dirs)/2], 0, 1, func(v *catalog.Version) error { id = v.ID; return nil }))
		for b.Loop() {
			if loc, err := l.db.Locate(ctx, id); err != nil || loc.Batch == nil {
				b.Fatal(loc, err)
			}
		}
	})
}
