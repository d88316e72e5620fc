package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"
)

// ForgetRule says which versions are to be forgotten. Without VanishedBefore and KeepVersions: all of them.
type ForgetRule struct {
	VanishedBefore time.Time // paths that their source had no more before then, with all their versions; zero: none
	ByAge          bool      // VanishedBefore was counted back from what this machine's clock says
	KeepVersions   int       // of each path all versions older than so many that can be read; what the path shows stays; 0: no limit
	RemovedToo     bool      // also what this program removed at its source once it was safe: else both rules spare that
}

func (r ForgetRule) everything() bool { return r.VanishedBefore.IsZero() && r.KeepVersions <= 0 }

// spares reports whether a version that the rule selects is kept: nobody gave up what is gone from its source by our own doing. A path that
// has such a version, be it an older one, keeps all of them, but those that are too many (old) and not removed by us.
func (r ForgetRule) spares(v *Version, list []Version, old bool) bool {
	if r.everything() || r.RemovedToo {
		return false
	}
	return v.Removed || !old && slices.ContainsFunc(list, func(w Version) bool { return w.Removed })
}

// Forgettable is a version that a rule selects.
type Forgettable struct {
	ID      ID
	Path    string
	Kind    Kind
	Size    int64
	Since   time.Time
	Current bool
	There   bool // its source has it still: it would be archived again
	Waiting bool // on its way to tape, so it is not forgotten yet
	Spared  bool // not forgotten: this program removed it, or another version of its path, at the source
}

// Forgettables calls fn for what a rule selects at and below a version, contents before their directories. Directories
// are selected when nothing in them stays; the sources' own never are.
func (db *DB) Forgettables(ctx context.Context, at Version, rule ForgetRule, fn func(Forgettable) error) error {
	f := &forgetting{db: db, rule: rule, fn: fn, roots: map[ID]bool{Root: true}}
	sources, err := db.Sources(ctx)
	if err != nil {
		return err
	}
	for _, s := range sources {
		f.roots[s.Root] = true
	}
	path, err := db.Path(ctx, at.ID)
	if err != nil {
		return err
	}
	if at.Kind == Directory {
		_, err = f.directory(ctx, &at, path, rule.everything())
		return err
	}
	all, err := f.versions(ctx, `v.parent = ? AND v.name = ?`, at.Parent, []byte(at.Name))
	if err == nil {
		_, err = f.group(ctx, all, path, true)
	}
	return err
}

type forgetting struct {
	db    *DB
	rule  ForgetRule
	fn    func(Forgettable) error
	roots map[ID]bool
}

// versions lists what is not forgotten, by name and then the newest first; what a path shows comes before all.
func (f *forgetting) versions(ctx context.Context, where string, args ...any) ([]Version, error) {
	var list []Version
	err := f.db.eachVersion(ctx, func(v *Version) error {
		list = append(list, *v)
		return nil
	}, `SELECT `+versionColumns+` FROM version v WHERE `+where+` AND v.id > 1 AND v.state IN (`+sqlPresent+`, `+sqlVoid+`) ORDER BY v.name, v.current DESC, v.since DESC, v.id DESC`, args...)
	return list, err
}

// directory goes through a directory. stays: something in it is still shown.
func (f *forgetting) directory(ctx context.Context, dir *Version, path string, named bool) (stays bool, err error) {
	list, err := f.versions(ctx, `v.parent = ?`, dir.ID)
	if err != nil {
		return false, fmt.Errorf("look for versions in %s: %w", path, err)
	}
	prefix := path + "/"
	if path == "/" {
		prefix = path
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Name == list[0].Name {
			n++
		}
		group := list[:n]
		list = list[n:]
		var files []Version
		for i := range group {
			v := &group[i]
			if v.Kind != Directory {
				files = append(files, *v)
				continue
			}
			kept, err := f.directory(ctx, v, prefix+v.Name, named)
			if err != nil {
				return false, err
			}
			stays = stays || kept && v.Current
		}
		kept, err := f.group(ctx, files, prefix+group[0].Name, dir.Current)
		if err != nil {
			return false, err
		}
		stays = stays || kept
	}
	if stays || !dir.Current || f.roots[dir.ID] {
		return true, nil
	}
	gone := !dir.Vanished.IsZero() && dir.Vanished.Before(f.rule.VanishedBefore)
	if !named && !gone {
		return true, nil
	}
	return false, f.fn(Forgettable{ID: dir.ID, Path: path, Kind: Directory, Since: dir.Since, Current: true, There: dir.Vanished.IsZero()})
}

// group decides on the versions of one path that are no directories. stays: the path still shows one.
func (f *forgetting) group(ctx context.Context, list []Version, path string, shown bool) (stays bool, err error) {
	if len(list) == 0 {
		return false, nil
	}
	newest := &list[0]
	gone := newest.Vanished
	if !shown && gone.IsZero() { // its directory is no more
		gone = newest.Until
	}
	vanished := !gone.IsZero() && gone.Before(f.rule.VanishedBefore) && (newest.Current || !shown)
	readable := 0 // of those newer than v. Those on their way to tape do not count: they may turn out void.
	for i := range list {
		v := &list[i]
		old := f.rule.KeepVersions > 0 && readable >= f.rule.KeepVersions && !v.Current
		if f.rule.KeepVersions > 0 && len(list) > f.rule.KeepVersions && !old {
			ok, err := f.db.OnTape(ctx, v.ID)
			if err != nil {
				return stays, err
			}
			if ok {
				readable++
			}
		}
		if !f.rule.everything() && !vanished && !old {
			stays = stays || v.Current
			continue
		}
		spared := f.rule.spares(v, list, old)
		waiting := v.Batch != 0
		stays = stays || v.Current && (waiting || spared)
		err := f.fn(Forgettable{ID: v.ID, Path: path, Kind: v.Kind, Size: v.Size, Since: v.Since, Current: v.Current,
			There: v.Current && v.Vanished.IsZero(), Waiting: waiting, Spared: spared})
		if err != nil {
			return stays, err
		}
	}
	return stays, nil
}

// Forget forgets versions, in the order of Forgettables, and journals it. What is on its way to tape, or forgotten
// already, is passed over. Their bytes stay on tape, and other paths that have the same bytes keep them.
func (db *DB) Forget(ctx context.Context, run int64, ids []ID, at time.Time) (forgotten int64, err error) {
	for page := range slices.Chunk(ids, changePage) {
		err := db.update(ctx, func(tx *sql.Tx) error {
			for _, id := range page {
				res, err := tx.ExecContext(ctx, `UPDATE version SET state = `+sqlForgotten+`, current = 0, until = CASE until WHEN 0 THEN ? ELSE until END
					WHERE id = ? AND id > 1 AND state IN (`+sqlPresent+`, `+sqlVoid+`) AND batch IS NULL AND id NOT IN (SELECT root FROM source)
					AND NOT EXISTS (SELECT 1 FROM version c WHERE c.parent = version.id AND c.current = 1 AND c.id > 1)`, nsOf(at), id)
				if err != nil {
					return err
				}
				n, err := res.RowsAffected()
				if err != nil {
					return err
				}
				if n == 0 {
					continue
				}
				forgotten++
				if err := journal(ctx, tx, run, "forget", id, at, ""); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return forgotten, fmt.Errorf("forget versions: %w", err)
		}
	}
	return forgotten, nil
}

// DataWanted tells whether a version that is not forgotten has its bytes from another one.
func (db *DB) DataWanted(ctx context.Context, data ID) (wanted bool, err error) {
	err = db.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM version WHERE data = ?1 AND data <> id AND state IN (`+sqlPlanned+`, `+sqlPresent+`))`, data).Scan(&wanted)
	if err != nil {
		err = fmt.Errorf("look who has the bytes of version %d: %w", data, err)
	}
	return wanted, err
}

// ObjectNames lists the ids, as on tape, of the objects that hold a version.
func (db *DB) ObjectNames(ctx context.Context, id ID) ([]string, error) {
	return query(ctx, db.reader, "objects of a version", func(rows *sql.Rows) (s string, err error) {
		return s, rows.Scan(&s)
	}, `SELECT o.oid FROM member m JOIN object o ON o.id = m.object WHERE m.version = ? AND o.state < `+sqlObjectDropped+` ORDER BY o.oid`, id)
}
