package catalog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// victimEnv names the catalog in which this program, started again, plans until it is killed.
const victimEnv = "CATALOG_TEST_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(victimEnv); path != "" {
		if err := plansForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// victimFiles is how many files a batch of the victim has: enough that its transaction fills the
// WAL file long before it ends.
var victimFiles = map[bool]int{false: 40000, true: 4000}[race]

// plansForEver plans and fetches batches, and says of each when it begins and when it is recorded.
func plansForEver(path string) error {
	ctx := context.Background()
	db, err := catalog.Open(ctx, path)
	if err != nil {
		return err
	}
	run, err := db.StartRun(ctx, "archive", nil)
	if err != nil {
		return err
	}
	source, err := db.EnsureSource(ctx, "src", "/src")
	if err != nil {
		return err
	}
	key, err := db.EnsureKey(ctx, "k", "aes-256-ctr", 10000)
	if err != nil {
		return err
	}
	pool, err := db.EnsurePool(ctx, "main")
	if err != nil {
		return err
	}
	for {
		dir := strconv.FormatInt(time.Now().UnixNano(), 10)
		var objects []catalog.NewObject
		for i := range 4 {
			o := catalog.NewObject{OID: fmt.Sprint(dir, "-", i), Key: key.ID, PartSize: catalog.ExtentSize, Pools: []int64{pool.ID}}
			for n := range victimFiles / 4 {
				o.Members = append(o.Members, catalog.NewVersion{Parent: source.Root, Name: fmt.Sprint(dir, "-", i, "-", n), Kind: catalog.File, Size: 1})
			}
			objects = append(objects, o)
		}
		fmt.Println("begin")
		b, planned, err := db.PlanBatch(ctx, catalog.Batch{Run: run.ID, Source: source.ID, Dir: dir}, objects)
		if err != nil {
			return err
		}
		fmt.Println("planned", b.ID)
		var files []catalog.Fetched
		for _, o := range planned {
			for _, v := range o.Versions {
				files = append(files, catalog.Fetched{Version: v.ID, Size: 1})
			}
		}
		if err := db.MarkFetched(ctx, run.ID, b.ID, files, time.Now()); err != nil {
			return err
		}
		if err := db.SetBatchState(ctx, b.ID, catalog.Synced, int64(victimFiles)); err != nil {
			return err
		}
		fmt.Println("fetched", b.ID)
	}
}

// A process that dies while it writes leaves whole transactions: a batch is there with all its
// objects, versions and copies, or not at all, and what was reported stays.
func TestKillWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	db, err := catalog.Create(context.Background(), path)
	check(t, err)
	check(t, db.Close())
	cut := map[string]int{} // by what was under way
	for round := 0; (cut["begin"] < 2 || cut["planned"] < 1) && !t.Failed(); round++ {
		if round == 12 {
			t.Fatalf("the process could not be killed while it worked: %v", cut)
		}
		in := "begin"
		if cut[in] == 2 {
			in = "planned"
		}
		cut[killIn(t, path, in)]++
		t.Logf("killed in: %v", cut)
	}
}

// killIn starts the victim, kills it in the middle of a step, and checks what it left. It returns
// the step that the kill met.
func killIn(t *testing.T, path, step string) string {
	t.Helper()
	exe, err := os.Executable()
	check(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), victimEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	killed := false
	defer func() {
		if !killed {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	lines := bufio.NewScanner(out)
	reported := map[int64]string{}
	last := ""
	read := func() bool {
		if !lines.Scan() {
			return false
		}
		var id int64
		last = ""
		fmt.Sscan(lines.Text(), &last, &id)
		if id != 0 {
			reported[id] = last
		}
		return true
	}
	for last != step {
		if !read() {
			t.Fatalf("the process ended by itself: %v", lines.Err())
		}
	}
	// The transaction is under way when its pages spill into the WAL file, or a later one was.
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if errors.Is(err, os.ErrNotExist) {
			return 0
		}
		check(t, err)
		return info.Size()
	}
	for from, tries := size(), 0; size() < from+1<<18 && tries < 400; tries++ {
		time.Sleep(time.Millisecond) // a poll: the kill may come at any time
	}
	check(t, cmd.Process.Kill())
	for read() { // what it said until then
	}
	cmd.Wait()
	killed = true

	ctx := context.Background()
	db, err := catalog.Open(ctx, path)
	check(t, err)
	seen := map[int64]bool{}
	for _, b := range must(db.OpenBatches(ctx))(t) {
		seen[b.ID] = true
		objects := must(db.BatchObjects(ctx, b.ID))(t)
		if len(objects) != 4 {
			t.Errorf("batch %d has %d objects", b.ID, len(objects))
		}
		for _, o := range objects {
			if len(o.Versions) != victimFiles/4 || len(must(db.ObjectCopies(ctx, o.ID))(t)) != 1 {
				t.Errorf("object %s has %d versions", o.OID, len(o.Versions))
			}
			for _, v := range o.Versions {
				if b.State == catalog.Synced && (v.State != catalog.Present || !v.Current) || v.Current != (v.State == catalog.Present) {
					t.Fatalf("batch %d in state %d: %+v", b.ID, b.State, v)
				}
			}
		}
		if reported[b.ID] == "fetched" && b.State != catalog.Synced {
			t.Errorf("batch %d was reported fetched and is in state %d", b.ID, b.State)
		}
	}
	for id := range reported {
		if !seen[id] {
			t.Errorf("batch %d was reported and is gone", id)
		}
	}
	check(t, db.Close())
	sound(t, path)
	return last
}
