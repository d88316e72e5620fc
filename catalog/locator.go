package catalog

import (
	"context"
	"sync"
)

// Locator is Locate for a reader of many files. Most of them lie in bundles, one behind the other, and are opened in that order: when
// two opens in a row go forward in one object, the members that follow are read in one query, and their opens need none. What is
// remembered holds only as long as no connection changes the catalog, which each call finds out. Safe for concurrent use.
type Locator struct {
	db *DB

	mu    sync.Mutex // guards the fields below
	stamp int64      // of the catalog, when what follows was read
	near  map[ID]neighbour
	last  ID    // the version that was asked for last
	in    int64 // the object that has it
	ahead int   // how many members were read ahead last
}

// neighbour is a member that was read ahead.
type neighbour struct {
	version Version
	data    int64
	where   *Location // of the member that was asked for: object and places are the same
}

const (
	// maxNear bounds the members that are remembered, some 300 bytes each.
	maxNear = 4096
	// firstAhead and maxAhead bound how many members one query reads: fewer than were asked for without it, as long as the reader goes on.
	firstAhead, maxAhead = 8, 512
	// stepNear is how far the number of the next file may lie behind the last one: folders have numbers too.
	stepNear = 64
)

// textNeighbours lists the members of an object behind one of them whose bytes lie there and nowhere else.
const textNeighbours = `SELECT ` + versionColumns + `, m.data FROM member m CROSS JOIN version v ON v.id = m.version
	WHERE m.object = ? AND m.version > ? AND v.kind = ` + sqlFile + ` AND v.state = ` + sqlPresent + ` AND v.data = v.id AND v.batch IS NULL
	AND NOT EXISTS (SELECT 1 FROM member n WHERE n.version = m.version AND n.object <> m.object) ORDER BY m.version LIMIT ?`

// Locator returns a new one.
func (db *DB) Locator() *Locator { return &Locator{db: db, near: map[ID]neighbour{}} }

// Locate is DB.Locate. Object and Places of several answers may share memory: they must not be changed.
func (l *Locator) Locate(ctx context.Context, id ID) (Location, error) {
	stamp, err := l.db.rowReader.stamp()
	if err != nil { // nothing that is remembered can be trusted
		return l.db.Locate(ctx, id)
	}
	l.mu.Lock()
	if stamp != l.stamp {
		clear(l.near)
		l.stamp, l.last, l.ahead = stamp, 0, 0
	}
	before := l.last
	l.last = id
	if n, ok := l.near[id]; ok {
		l.mu.Unlock()
		loc := *n.where
		loc.Version, loc.Data = n.version, n.data
		return loc, nil
	}
	l.mu.Unlock()

	loc, err := l.db.Locate(ctx, id)
	if err != nil || loc.Object.ID == 0 || loc.Batch != nil || loc.Version.ID != id {
		return loc, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stamp != stamp {
		return loc, nil
	}
	if goesOn := l.in == loc.Object.ID && before < id && id-before <= stepNear; !goesOn {
		l.in, l.ahead = loc.Object.ID, 0
		return loc, nil
	}
	l.ahead = min(max(firstAhead, 4*l.ahead), maxAhead)
	if len(l.near)+l.ahead > maxNear {
		clear(l.near)
	}
	where := loc
	// What could not be read ahead is asked for when it is opened, and then the error is told.
	_ = l.db.rowReader.eachAnd(ctx, l.db, func(v *Version, data int64) error {
		l.near[v.ID] = neighbour{*v, data, &where}
		return nil
	}, textNeighbours, loc.Object.ID, id, l.ahead)
	return loc, nil
}
