package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// View is the tree as it is, or as it was at a time. Directories are changed in place: one that was there
// then has the metadata that it has now. Of a file whose newest state cannot be read a View shows the newest
// one that can (Version.InsteadOf).
type View struct {
	db       *DB
	at       int64 // Unix ns; 0: now
	hide     bool
	recorded bool // also what cannot be read is shown
	text     *viewTexts

	counted      sync.Once // Totals of the past: it does not change
	files, bytes int64
	countErr     error
}

// viewTexts are the queries of a view. Those of the past take the time as ?4.
type viewTexts struct {
	lookup, children, byName string
	damaged                  *viewTexts // the same, for a catalog with damaged copies: lost files are Void
}

func newTexts(lookup, children, byName string) *viewTexts {
	return &viewTexts{lookup, children, byName, &viewTexts{lookup: markLost(lookup), children: markLost(children), byName: markLost(byName)}}
}

const (
	wasThen     = ` AND v.since <= ?4 AND v.until > ?4 AND v.state IN (` + sqlPresent + `, ` + sqlVoid + `)`
	isSince     = ` AND v.since <= ?4`
	notGone     = ` AND (v.vanished = 0 OR ` + textRemoved + `)`
	notGoneThen = ` AND (v.vanished = 0 OR v.vanished > ?4 OR ` + textRemoved + `)`
)

var (
	nowTexts    = newTexts(textLookup, textChildren, textChildrenByName)
	nowHiding   = newTexts(textLookup+notGone, strings.Replace(textChildren, " ORDER", notGone+" ORDER", 1), strings.Replace(textChildrenByName, " ORDER", notGone+" ORDER", 1))
	thenTexts   = textsThen("")
	thenHiding  = textsThen(notGoneThen)
	textThenSum = `SELECT count(*), coalesce(sum(v.size), 0) FROM version v WHERE v.kind = ` + sqlFile + ` AND v.since <= ?1
		AND (v.current = 1 OR v.until > ?1 AND v.state IN (` + sqlPresent + `, ` + sqlVoid + `))`
)

// textsThen joins what is current and what was, each in the order of its index.
func textsThen(hide string) *viewTexts {
	both := func(index, past, where, order string) string {
		one := `SELECT ` + versionColumns + ` FROM version v INDEXED BY %s WHERE v.parent = ?1 AND ` + where + ` AND v.current = %d%s`
		return fmt.Sprintf(one, index, 1, isSince+hide) + ` UNION ALL ` + fmt.Sprintf(one, past, 0, wasThen+hide) + ` ORDER BY ` + order + ` LIMIT ?3`
	}
	return newTexts(both("version_path", "version_past", "v.name = ?2 AND v.id <> 1", "1 DESC"),
		both("version_children", "version_children", "v.id > max(?2, 1)", "1"),
		both("version_path", "version_past", "v.name > ?2", "3"))
}

// Now is the tree as it is shown.
func (db *DB) Now() *View { return &View{db: db, text: nowTexts} }

// Recorded is the newest state of each path, whether it can be read or not: what a source is compared with.
func (db *DB) Recorded() *View { return &View{db: db, text: nowTexts, recorded: true} }

// View is the tree at a time (zero: now), with or without what had vanished from its source by then. What this
// program removed there is always in it.
func (db *DB) View(at time.Time, hideVanished bool) *View {
	v := &View{db: db, at: nsOf(at), hide: hideVanished}
	switch {
	case v.at == 0 && !hideVanished:
		v.text = nowTexts
	case v.at == 0:
		v.text = nowHiding
	case !hideVanished:
		v.text = thenTexts
	default:
		v.text = thenHiding
	}
	return v
}

// Get returns a version by its id, whatever the view's time.
func (w *View) Get(ctx context.Context, id ID) (Version, error) {
	return only(func() string { return fmt.Sprintf("version %d", id) }, func(fn func(*Version) error) error {
		return w.db.rowReader.each(ctx, w.db, fn, textGet, id)
	})
}

// Lookup returns what a name in a directory showed.
func (w *View) Lookup(ctx context.Context, parent ID, name string) (Version, error) {
	text, err := w.texts(ctx)
	if err != nil {
		return Version{}, fmt.Errorf("read %q: %w", name, err)
	}
	v, err := only(func() string { return fmt.Sprintf("%q", name) }, func(fn func(*Version) error) error {
		if w.at == 0 {
			return w.db.rowReader.each(ctx, w.db, fn, text.lookup, parent, []byte(name))
		}
		return w.db.rowReader.each(ctx, w.db, fn, text.lookup, parent, []byte(name), 1, w.at)
	})
	if err == nil && v.State == Void && !w.recorded {
		return w.standIn(ctx, v.ID)
	}
	return v, err
}

// texts are the queries that fit the catalog as it is.
func (w *View) texts(ctx context.Context) (*viewTexts, error) {
	if w.recorded {
		return w.text, nil
	}
	damaged, err := w.db.anyDamaged(ctx)
	if damaged {
		return w.text.damaged, err
	}
	return w.text, err
}

// Children is DB.Children of the view; Version.ListedAs is what to go on after.
func (w *View) Children(ctx context.Context, parent, after ID, limit int, fn func(*Version) error) error {
	text, err := w.texts(ctx)
	if err != nil {
		return err
	}
	return w.each(ctx, fn, text.children, parent, after, limit, func(v *Version) any { return v.ID })
}

// ChildrenByName is DB.ChildrenByName of the view.
func (w *View) ChildrenByName(ctx context.Context, parent ID, after string, limit int, fn func(*Version) error) error {
	text, err := w.texts(ctx)
	if err != nil {
		return err
	}
	return w.each(ctx, fn, text.byName, parent, []byte(after), limit, func(v *Version) any { return []byte(v.Name) })
}

// errUnread ends a query at a version that cannot be read: what stands in for it is looked for when no query is under way,
// since that could wait for ever for a second connection.
var errUnread = errors.New("version cannot be read")

// each lists one directory; behind says where a listing goes on after a version.
func (w *View) each(ctx context.Context, fn func(*Version) error, text string, parent ID, after any, limit int, behind func(*Version) any) error {
	for left := limitOf(limit); left != 0; {
		var unread Version
		shown := func(v *Version) error {
			left--
			if v.State == Void && v.Kind == File && !w.recorded {
				unread = *v
				return errUnread
			}
			return fn(v)
		}
		args := []any{parent, after, left, w.at}
		if w.at == 0 {
			args = args[:3]
		}
		err := w.db.rowReader.each(ctx, w.db, shown, text, args...)
		if !errors.Is(err, errUnread) {
			return err
		}
		after = behind(&unread)
		v, err := w.standIn(ctx, unread.ID)
		if err == nil {
			err = fn(&v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Resolve finds what was at "/source/dir/name"; "/" is Root.
func (w *View) Resolve(ctx context.Context, path string) (Version, error) {
	v, err := w.Get(ctx, Root)
	if err != nil {
		return v, err
	}
	for _, name := range strings.Split(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if v, err = w.Lookup(ctx, v.ID, name); err != nil {
			return v, err
		}
	}
	return v, nil
}

// walkPage is how many entries Walk reads at once.
const walkPage = 512

// Walk is DB.Walk of the view. What lies below a directory is left out when fn returns fs.SkipDir for it.
func (w *View) Walk(ctx context.Context, id ID, fn func(path string, v *Version) error) error {
	return w.walk(ctx, id, "", fn)
}

func (w *View) walk(ctx context.Context, dir ID, prefix string, fn func(string, *Version) error) error {
	var page []Version
	for after := ""; ; {
		page = page[:0]
		err := w.ChildrenByName(ctx, dir, after, walkPage, func(v *Version) error {
			page = append(page, *v)
			return nil
		})
		if err != nil {
			return err
		}
		for i := range page {
			v := &page[i]
			err := fn(prefix+v.Name, v)
			if errors.Is(err, fs.SkipDir) && v.Kind == Directory {
				continue
			}
			if err != nil {
				return err
			}
			if v.Kind == Directory {
				if err := w.walk(ctx, v.ID, prefix+v.Name+"/", fn); err != nil {
					return err
				}
			}
		}
		if len(page) < walkPage {
			return nil
		}
		after = page[len(page)-1].Name
	}
}

// Totals counts files and their bytes, vanished ones included. For the past every row is looked at, once for each View.
func (w *View) Totals(ctx context.Context) (files, bytes int64, err error) {
	if w.at == 0 {
		return w.db.Totals(ctx)
	}
	w.counted.Do(func() {
		w.countErr = w.db.reader.QueryRowContext(ctx, textThenSum, w.at).Scan(&w.files, &w.bytes)
	})
	if w.countErr != nil {
		return 0, 0, fmt.Errorf("count files: %w", w.countErr)
	}
	return w.files, w.bytes, nil
}
