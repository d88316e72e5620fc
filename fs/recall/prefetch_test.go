package recall

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

func (q *Queue) prefetch(t *testing.T, pin bool, ids ...catalog.ID) (PrefetchPlan, PrefetchResult) {
	t.Helper()
	var plan PrefetchPlan
	result, err := q.Prefetch(context.Background(), PrefetchRequest{IDs: ids, Pin: pin}, func(e PrefetchEvent) {
		if e.Plan != nil {
			plan = *e.Plan
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan, result
}

// files puts a file of n extents on each tape: ids from 1 on.
func (w *world) files(n int64, tapes ...string) (ids []catalog.ID) {
	for i, barcode := range tapes {
		o := w.seal(n*es-16, n*es)
		w.version(catalog.ID(i+1), o, 0, n*es-16, w.place(o, 1000*int64(i), barcode))
		ids = append(ids, catalog.ID(i+1))
	}
	return ids
}

func TestPrefetchLoadsEachTapeOnceAndGoesOn(t *testing.T) {
	w := newWorld(t, 2, "A", "B", "C")
	ids := w.files(3, "A", "B", "A", "C", "B", "A")
	q := w.queue(Options{})
	plan, result := q.prefetch(t, false, ids...)
	total := int64(len(ids)) * 3 * es
	if plan.Files != 6 || plan.Bytes != total || plan.Missing != total || plan.Room != total || len(plan.Tapes) != 3 || result.Read != total {
		t.Errorf("plan %+v, result %+v", plan, result)
	}
	if plan.Tapes[0].Barcode != "A" || plan.Tapes[0].Bytes != 9*es {
		t.Errorf("the tape with the most work does not come first: %+v", plan.Tapes)
	}
	for _, b := range []string{"A", "B", "C"} {
		if n := w.count("load " + b); n != 1 {
			t.Errorf("%d loads of %s", n, b)
		}
	}
	if got := q.CachedBytes(1); got != 3*es-16 {
		t.Errorf("%d bytes are known as cached", got)
	}
	// Some are gone: only these are read again.
	if err := os.Remove(extentName(q, w.locs[4].Object.OID, 1)); err != nil {
		t.Fatal(err)
	}
	if plan, result := q.prefetch(t, false, ids...); plan.Missing != es || result.Read != es {
		t.Errorf("second time: plan %+v, result %+v", plan, result)
	}
}

func TestPrefetchGoesOnWithoutATape(t *testing.T) {
	w := newWorld(t, 1, "A", "C")
	ids := w.files(2, "A", "B", "C")
	told := make(chan string, 10)
	q := w.queue(Options{Want: func(b string, wanted bool) { told <- b }})
	plan, result := q.prefetch(t, false, ids...)
	if result.Read != 4*es || result.Away != 2*es || !slices.Equal(result.Wanted, []string{"B"}) {
		t.Errorf("result %+v", result)
	}
	if !plan.Tapes[2].Outside || plan.Tapes[2].Barcode != "B" || <-told != "B" {
		t.Errorf("plan %+v", plan)
	}
}

// An object that cannot even be asked for costs itself alone, not what lies behind it on the tape.
func TestPrefetchGoesOnBehindABadObject(t *testing.T) {
	w := newWorld(t, 1, "A")
	ids := w.files(3, "A", "A", "A")
	w.sums[[2]int64{w.locs[ids[1]].Object.ID, 0}] = []byte("short")
	_, result := w.queue(Options{}).prefetch(t, false, ids...)
	if result.Read != 6*es || result.Failed != 3*es || !strings.Contains(result.Why, "the catalog is inconsistent") {
		t.Errorf("result %+v", result)
	}
}

func TestPrefetchStaysWithinTheCache(t *testing.T) {
	w := newWorld(t, 1, "A")
	ids := w.files(4, "A", "A", "A", "A")
	q := w.queue(Options{CacheMax: 10 * es, CacheReserve: -1})
	plan, result := q.prefetch(t, false, ids...)
	if plan.Room != 9*es || result.Read != 9*es || result.Left != 7*es {
		t.Errorf("plan %+v, result %+v", plan, result)
	}
	if n := extentsOnDisk(t, q.o.CacheDir); n != 9 {
		t.Errorf("%d extents", n)
	}
	if got := q.CachedBytes(1); got != 4*es-16 {
		t.Error("what was read first was pushed out again")
	}
	if _, err := q.Prefetch(context.Background(), PrefetchRequest{IDs: ids, Pin: true}, func(PrefetchEvent) {}); !errors.Is(err, cache.ErrPinned) {
		t.Errorf("pinning all: %v", err)
	}
	if use := q.cache.Use(); use.Pinned != 0 {
		t.Errorf("%d bytes are pinned after a refusal", use.Pinned)
	}
}

func TestPinsSurviveRestartAndEviction(t *testing.T) {
	w := newWorld(t, 1, "A")
	ids := w.files(4, "A", "A", "A", "A")
	q := w.queue(Options{CacheMax: 10 * es, CacheReserve: -1})
	q.prefetch(t, true, ids[0])
	if err := q.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	q = w.queue(Options{CacheMax: 10 * es, CacheReserve: -1})
	if use := q.cache.Use(); use.Pinned != 4*es-0 && use.Pinned != w.locs[1].Object.SealedSize {
		t.Fatalf("%d bytes pinned after the restart", use.Pinned)
	}
	for _, id := range ids[1:] { // three times what is left
		f := w.open(q, id)
		w.read(f, w.plain(id), 0, int(4*es-16))
		f.Close()
	}
	if got := q.CachedBytes(1); got != 4*es-16 {
		t.Errorf("%d bytes of a pinned file are left", got)
	}
	seen, err := cache.Inspect(q.o.CacheDir, 10*es)
	if err != nil || !seen.Of(1).Pinned || seen.Of(2).Pinned || seen.Use() != q.cache.Use() {
		t.Errorf("from outside: %+v, %+v, %v", seen.Use(), q.cache.Use(), err)
	}
	if n, err := q.Unpin(context.Background(), []catalog.ID{catalog.Root}); n != 1 || err != nil {
		t.Errorf("unpin: %d, %v", n, err)
	}
	if use := q.cache.Use(); use.Pinned != 0 {
		t.Errorf("%d bytes pinned", use.Pinned)
	}
	if left, _ := filepath.Glob(filepath.Join(q.o.CacheDir, "*", "*", "pinned")); len(left) != 0 {
		t.Errorf("noted still: %v", left)
	}
}

func (w *world) plain(id catalog.ID) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plains[w.locs[id].Object.ID]
}

func TestSocket(t *testing.T) {
	w := newWorld(t, 1, "A")
	ids := w.files(2, "A")
	// Long names of folders do not matter, nor what a killed process left.
	path := filepath.Join(w.dir, "a-rather-long-name-for-a-state-folder-as-people-have-them", "and-another-one-below-it-to-be-sure", "tapefs.sock")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := AskOwner(path); !errors.Is(err, ErrNoOwner) {
		t.Errorf("nobody: %v", err)
	}
	stale, err := listen(path, w.logger())
	if err != nil {
		t.Fatal(err)
	}
	stale.Close()
	if _, err := AskOwner(path); !errors.Is(err, ErrNoOwner) {
		t.Errorf("a stale socket: %v", err)
	}
	q := w.queue(Options{Socket: path})
	second := w.queue(Options{Socket: path})
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	owner, err := AskOwner(path)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	ctx := context.Background()
	planned := false
	result, err := owner.Prefetch(ctx, PrefetchRequest{IDs: ids, Pin: true}, func(e PrefetchEvent) { planned = planned || e.Plan != nil })
	if err != nil || result.Read != 2*es || !planned {
		t.Errorf("%+v, %v, %v", result, planned, err)
	}
	if use, err := owner.File(ctx, 1); err != nil || use != (cache.FileUse{Cached: 2*es - 16, Pinned: true}) {
		t.Errorf("%+v, %v", use, err)
	}
	if live, err := owner.Live(ctx); err != nil || live.PID != os.Getpid() || live.Cache != q.cache.Use() || !slices.Equal(live.Reading, []string{"A"}) {
		t.Errorf("%+v, %v", live, err)
	}
	if _, err := owner.do(ctx, "GET", "/v9/live", nil); !errors.Is(err, ErrOtherVersion) {
		t.Errorf("another version: %v", err)
	}
	if _, err := owner.do(ctx, "POST", "/v1/unpin", map[string]string{"nonsense": "1"}); err == nil {
		t.Error("nonsense is taken")
	}
	if _, err := owner.Prefetch(ctx, PrefetchRequest{IDs: []catalog.ID{99}}, func(PrefetchEvent) {}); err == nil {
		t.Error("a version that does not exist is prefetched")
	}
	// The first one ends: the second owns cache and socket, and knows what was read and pinned.
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second one answers", func() bool {
		next, err := AskOwner(path)
		if err != nil {
			return false
		}
		defer next.Close()
		use, err := next.File(ctx, 1)
		return err == nil && use == cache.FileUse{Cached: 2*es - 16, Pinned: true}
	})
	if !second.OwnsCache() {
		t.Error("the cache is not owned")
	}
}

func TestOthersMayNotAsk(t *testing.T) {
	for uid, want := range map[uint32]bool{0: true, uint32(os.Geteuid()): true, uint32(os.Geteuid()) + 1: false} {
		if mayAsk(uid) != want {
			t.Errorf("uid %d: %v", uid, !want)
		}
	}
}
