package catalog

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oddTree is a catalog of three directories whose rows have all values that the columns can hold. Rows are written
// past the methods, which refuse some of them.
func oddTree(t testing.TB) (db *DB, dirs []ID) {
	t.Helper()
	db, err := Open(context.Background(), newFile(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := rand.New(rand.NewPCG(7, 7))
	numbers := []int64{0, 1, -1, 127, 128, 1 << 31, 1<<53 + 1, math.MaxInt64, math.MinInt64, 1_600_000_000_000_000_000}
	number := func() int64 { return numbers[r.IntN(len(numbers))] }
	names := []string{"", "\x00", "a\x00b", "\xff\xfe", "new\nline", "'", `"`, "é", "e\u0301", strings.Repeat("n", 255), strings.Repeat("\xff", 5_000)}
	err = db.update(context.Background(), func(tx *sql.Tx) error {
		owners := make([]int64, 3)
		for i := range owners {
			if owners[i], err = ownerID(context.Background(), tx, Owner{UID: uint32(i), GID: math.MaxUint32, User: "\xff" + fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		insert := func(id, parent ID, name string, kind Kind, current bool) error {
			blob := func() any {
				if r.IntN(2) == 0 {
					return nil
				}
				return []byte(names[r.IntN(len(names))])
			}
			size := number()
			if kind == File {
				size = int64(r.IntN(1e9)) // a trigger adds them up
			}
			_, err := tx.Exec(`INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data, target, sha256,
				state, current, since, until, vanished) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				id, parent, []byte(name), kind, r.IntN(0o10000), owners[r.IntN(3)], size, number(), r.IntN(1e9), id, r.IntN(9), id,
				blob(), blob(), 1+r.IntN(2), boolInt(current), number(), number(), number()*int64(r.IntN(2)))
			return err
		}
		next := ID(10)
		for i := range 3 {
			dirs = append(dirs, next)
			if err := insert(next, Root, fmt.Sprint("dir", i), Directory, true); err != nil {
				return err
			}
			next++
		}
		for _, dir := range dirs[:2] { // the third stays empty
			for _, name := range names {
				for _, current := range []bool{false, true, false} {
					if err := insert(next, dir, name, Kind(1+2*r.IntN(2)), current); err != nil {
						return err
					}
					next++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db, dirs
}

// rowsOf collects what a query gives, by either way.
func rowsOf(each func(fn func(*Version) error) error) (list []Version, err error) {
	err = each(func(v *Version) error {
		list = append(list, *v)
		return nil
	})
	return list, err
}

// A row reader gives the same rows in the same order as database/sql, for each query of each view, whatever they hold.
func TestRowReaderEqualsPlain(t *testing.T) {
	ctx := context.Background()
	db, dirs := oddTree(t)
	limits, step := []int{-1, 1, 3}, ID(17)
	if testing.Short() { // under the race detector each statement takes milliseconds
		limits, step = []int{3}, 40
	}
	rows := 0
	compare := func(text string, args ...any) {
		t.Helper()
		plain, err1 := rowsOf(func(fn func(*Version) error) error { return db.eachVersion(ctx, fn, text, args...) })
		read, err2 := rowsOf(func(fn func(*Version) error) error { return db.rowReader.each(ctx, db, fn, text, args...) })
		if err1 != nil || err2 != nil {
			t.Fatalf("%s %v: %v, %v", text, args, err1, err2)
		}
		if !reflect.DeepEqual(plain, read) {
			t.Errorf("%s %v: plain is -, read is +\n%s", text, args, cmp.Diff(plain, read))
		}
		rows += len(plain)
	}
	for id := ID(0); id < 100; id++ {
		compare(textGet, id)
	}
	for _, parent := range append([]ID{Root, 9999}, dirs...) {
		for _, texts := range []struct {
			*viewTexts
			times []any
		}{{nowTexts, []any{0}}, {nowHiding, []any{0}}, {thenTexts, []any{int64(1), int64(1 << 40), int64(math.MaxInt64)}}, {thenHiding, []any{int64(2)}}} {
			for _, at := range texts.times {
				var more []any
				if texts.viewTexts == thenTexts || texts.viewTexts == thenHiding {
					more = []any{at}
				}
				for _, limit := range limits {
					for after := ID(0); after < 90; after += step {
						compare(texts.children, append([]any{parent, after, limit}, more...)...)
					}
					for _, after := range []string{"", "\x00", "m", "\xff"} {
						compare(texts.byName, append([]any{parent, []byte(after), limit}, more...)...)
					}
				}
				for _, name := range []string{"", "\x00", "a\x00b", "\xff\xfe", "é", "nothing", "dir1", strings.Repeat("\xff", 5_000)} {
					args := []any{parent, []byte(name)}
					if more != nil {
						args = append(args, 1, at)
					}
					compare(texts.lookup, args...)
				}
			}
		}
	}
	if rows < 300 {
		t.Errorf("only %d rows were compared", rows)
	}
}

// A query sees one state, also when the catalog changes while it runs, and the next one sees the change. Tables that
// are added meanwhile disturb no statement.
func TestRowReaderSeesOneState(t *testing.T) {
	ctx := context.Background()
	db, dirs := oddTree(t)
	other, err := Open(ctx, db.FilePath()) // as another process
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	view := db.Now()
	list := func(during func(n int)) (names []string) {
		t.Helper()
		if err := view.Children(ctx, dirs[2], 0, 0, func(v *Version) error {
			names = append(names, v.Name)
			if during != nil {
				during(len(names))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return names
	}
	add := func(name string) {
		t.Helper()
		if _, err := other.EnsureDir(ctx, 0, dirs[2], name, Meta{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO run (id, kind, args, pid, started, state) VALUES (0, 'archive', '[]', 1, 1, 'done')`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	add("a")
	add("b")
	during := list(func(n int) {
		if n == 1 {
			add("c")
			if _, err := other.writer.Exec(`CREATE TABLE later (x)`); err != nil {
				t.Error(err)
			}
		}
	})
	if got := strings.Join(during, ""); got != "ab" {
		t.Errorf("a listing saw %q while c was added", got)
	}
	if got := strings.Join(list(nil), ""); got != "abc" {
		t.Errorf("the next listing saw %q", got)
	}
	if v, err := view.Lookup(ctx, dirs[2], "c"); err != nil || v.Name != "c" {
		t.Errorf("lookup: %+v, %v", v, err)
	}
}

// What goes wrong is an error, costs at most its own connection, and leaves nothing locked.
func TestRowReaderErrors(t *testing.T) {
	ctx := context.Background()
	db, dirs := oddTree(t)
	view := db.Now()
	all := func() error { return view.Children(ctx, dirs[0], 0, 0, func(*Version) error { return nil }) }
	mine := errors.New("enough")
	for range 2 * maxReaders {
		if err := view.Children(ctx, dirs[0], 0, 0, func(*Version) error { return mine }); !errors.Is(err, mine) {
			t.Errorf("the callback's error became %v", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the callback's panic was swallowed")
				}
			}()
			view.Children(ctx, dirs[0], 0, 0, func(*Version) error { panic(mine) })
		}()
		if err := db.rowReader.each(ctx, db, nil, `SELECT nonsense`); err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("a query that is none: %v", err)
		}
		if err := db.rowReader.each(ctx, db, nil, `SELECT 1 WHERE 1 = ?`, 1.5); err == nil {
			t.Error("a parameter of another type was taken")
		}
		if err := db.rowReader.each(ctx, db, nil, `DELETE FROM version`); err == nil || !strings.Contains(err.Error(), "readonly") {
			t.Errorf("writing: %v", err)
		}
	}
	stopped, stop := context.WithCancel(ctx)
	n := 0
	err := view.Children(stopped, dirs[0], 0, 0, func(*Version) error { n++; stop(); return nil })
	if !errors.Is(err, context.Canceled) || n != 1 {
		t.Errorf("interrupted after %d rows: %v", n, err)
	}
	if _, err := view.Get(ctx, 9999); !errors.Is(err, ErrNotFound) {
		t.Errorf("a version that is not there: %v", err)
	}
	if err := all(); err != nil {
		t.Errorf("afterwards: %v", err)
	}

	// All connections are in use: another query waits, and stops when it is told to.
	var enter func(depth int) error
	recorded := db.Recorded() // its callback runs within the query, also for the void file here
	enter = func(depth int) error {
		return recorded.Children(ctx, dirs[0], 0, 1, func(*Version) error {
			if depth < maxReaders {
				return enter(depth + 1)
			}
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return recorded.Children(short, dirs[0], 0, 1, func(*Version) error { return errors.New("one too many") })
		})
	}
	if err := enter(1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one query more than connections: %v", err)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := all(); !errors.Is(err, errRowReaderClosed) {
		t.Errorf("a closed catalog: %v", err)
	}
	if _, err := os.Stat(db.FilePath() + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is left: a connection was not closed: %v", err)
	}
	if _, err := newRowReader(db.FilePath() + ".not").take(ctx); err == nil {
		t.Error("a file that does not exist was opened")
	}
	if _, err := os.Stat(db.FilePath() + ".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
}

// Damaged pages are reported, not served and no panic.
func TestRowReaderDamagedFile(t *testing.T) {
	ctx := context.Background()
	db, dirs := oddTree(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(db.FilePath())
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for at := 4096; at < len(text); at += 3 * 4096 {
		bad := bytes.Clone(text)
		for i := at; i < min(at+4096, len(bad)); i++ {
			bad[i] ^= 0x5a
		}
		path := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		q := newRowReader(path)
		damaged := &DB{rowReader: q, side: db.side, owners: map[int64]Owner{1: {}, 2: {}, 3: {}, 4: {}}}
		for _, dir := range dirs {
			if err := damaged.Now().Children(ctx, dir, 0, 0, func(*Version) error { return nil }); err != nil {
				failed++
			}
		}
		if err := q.close(); err != nil {
			t.Errorf("page at %d: %v", at, err)
		}
	}
	if failed == 0 {
		t.Error("no damage was noticed")
	}
}

// Many goroutines read while one writes; the race detector looks on.
func TestRowReaderParallel(t *testing.T) {
	ctx := context.Background()
	db, dirs := oddTree(t)
	want, err := rowsOf(func(fn func(*Version) error) error { return db.Now().Children(ctx, dirs[1], 0, 0, fn) })
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 * maxReaders {
		wg.Go(func() {
			for range 5 {
				got, err := rowsOf(func(fn func(*Version) error) error { return db.Now().Children(ctx, dirs[1], 0, 0, fn) })
				if err != nil || !cmp.Equal(got, want) {
					t.Errorf("%d rows, want %d: %v", len(got), len(want), err)
				}
			}
		})
	}
	for i := range 10 {
		if _, err := db.EnsureSource(ctx, fmt.Sprint("s", i), "/x"); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

// BenchmarkRowReader lists a directory, and looks up a name in it, with a row reader and with database/sql.
func BenchmarkRowReader(b *testing.B) {
	ctx := context.Background()
	db, dirs := oddTree(b)
	err := db.update(ctx, func(tx *sql.Tx) error {
		for i := range 1000 {
			if _, err := tx.Exec(`INSERT INTO version (id, parent, name, kind, mode, owner, size, mtime, mtime_ns, inode, nlink, data, state, current, since, until, vanished)
				SELECT ?1, id, ?2, kind, mode, owner, size, mtime, mtime_ns, ?1, nlink, data, state, 1, 1, until, 0 FROM version WHERE id = ?3`,
				1000+i, fmt.Appendf(nil, "picture %04d.jpg", i), dirs[2]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		each func(fn func(*Version) error, text string, args ...any) error
	}{
		{"RowReader", func(fn func(*Version) error, text string, args ...any) error {
			return db.rowReader.each(ctx, db, fn, text, args...)
		}},
		{"DatabaseSQL", func(fn func(*Version) error, text string, args ...any) error {
			return db.eachVersion(ctx, fn, text, args...)
		}},
	} {
		for _, query := range []struct {
			name, text string
			args       []any
		}{
			{"Children", nowTexts.children, []any{dirs[2], ID(0), -1}},
			{"Lookup", nowTexts.lookup, []any{dirs[2], []byte("picture 0500.jpg")}},
		} {
			b.Run(query.name+"/"+way.name, func(b *testing.B) {
				rows := 0
				for b.Loop() {
					if err := way.each(func(*Version) error { rows++; return nil }, query.text, query.args...); err != nil || rows == 0 {
						b.Fatal(rows, err)
					}
				}
				b.ReportMetric(float64(rows)/float64(b.N), "rows/op")
			})
		}
	}
}
