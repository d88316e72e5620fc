package recall

import (
	"context"
	"errors"
	"slices"

	"tapefs/catalog"
	"tapefs/crypto"
)

// Who reads the files of a directory one after the other, whole, in the order of their ids as cp -r does, will
// want the next one: it is read from the tape that is mounted, as it streams by. Such requests come after
// all others, load no tape and keep no drive, and go when somebody else wants it.

// errNotNow ends requests that nobody waits for and that are in the way.
var errNotNow = errors.New("not read ahead: others want the drive")

// following is where a reader is in a directory.
type following struct {
	last  catalog.ID // the last file that was read whole
	upto  catalog.ID // the last file that was asked for ahead
	ahead int64      // bytes of the files behind last that were
}

// maxFollowing bounds how many directories are watched at once, and followFiles how many files are looked
// at for one step: it must cost nothing beside an open.
const (
	maxFollowing = 64
	followFiles  = 64
)

// follow notes that a file was read whole, or opened with all its bytes at hand, and asks for what comes next
// on the mounted tape.
func (f *File) follow(ctx context.Context) {
	q := f.q
	f.mu.Lock()
	o, parent, done := f.object, f.parent, f.followed
	f.followed = true
	f.mu.Unlock()
	if done || q.o.Ahead <= 0 || parent == 0 || o == nil || q.tapes == nil || !q.cache.keeps() {
		return
	}
	before, start, budget := q.step(parent, f.id, f.size)
	if before == 0 || budget < q.o.Ahead/2 {
		return
	}
	_, last := f.extents()
	at, barcode := position{}, ""
	copies := o.copies(last)
	q.mu.Lock()
	for _, cp := range copies {
		if q.taken(cp.Barcode) {
			at, barcode = q.positionOf(o, cp, last), cp.Barcode
		}
	}
	q.mu.Unlock()
	if barcode == "" {
		return
	}
	passed, err := q.db.Next(ctx, parent, before, followFiles)
	if err != nil {
		return
	}
	isFile := func(v catalog.Version) bool { return v.Kind == catalog.File }
	if i := slices.IndexFunc(passed, isFile); i < 0 || passed[i].ID != f.id {
		return // others lie between: not one after the other
	}
	next, err := q.db.Next(ctx, parent, start, followFiles)
	if err != nil {
		return
	}
	for _, v := range next {
		if !isFile(v) {
			return // what lies in it comes before the files behind it, on tape too
		}
		if budget -= v.Size; budget < 0 || !q.askFile(ctx, o, &v, at, barcode) {
			return
		}
		q.mu.Lock()
		if d := q.following[parent]; d != nil {
			d.upto, d.ahead = v.ID, d.ahead+v.Size
		}
		q.mu.Unlock()
	}
}

// step moves a directory's reader on to a file. It returns the file before (0: none, or it lies behind), from
// where on files were not asked for yet, and how many bytes may be.
func (q *Queue) step(parent, id catalog.ID, size int64) (before, start catalog.ID, budget int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.following[parent]
	if d == nil {
		if len(q.following) >= maxFollowing {
			clear(q.following)
		}
		q.following[parent] = &following{last: id, upto: id}
		return 0, 0, 0
	}
	before, d.last = d.last, id
	switch {
	case id <= before:
		d.upto, d.ahead = id, 0
		return 0, 0, 0
	case id <= d.upto:
		d.ahead -= size
	default:
		d.upto, d.ahead = id, 0
	}
	return before, d.upto, q.o.Ahead - d.ahead
}

// askFile asks for all of a file ahead, if it comes next on the same tape. False: it does not.
func (q *Queue) askFile(ctx context.Context, beside *object, v *catalog.Version, after position, barcode string) bool {
	if v.Size == 0 || v.Batch != 0 {
		return true
	}
	if object, data, err := q.db.BytesAt(ctx, v.Data); err == nil && object == beside.id {
		first, last := span{start: data + crypto.HeaderSize, size: v.Size}.extents()
		if !q.cache.missing(beside.oid, first, last) {
			return true // the rule in a bundle, and cheap
		}
	}
	loc, err := q.db.Locate(ctx, v.ID)
	if err != nil || loc.Batch != nil {
		return err == nil
	}
	o, err := q.openObject(loc)
	if err != nil {
		return false
	}
	defer q.closeObject(o)
	first, last := span{start: loc.Data + crypto.HeaderSize, size: v.Size}.extents()
	for n := first; n <= last; n++ {
		if q.cache.has(o.oid, n) {
			continue
		}
		sum, err := o.sum(ctx, q.db, n)
		if err != nil {
			return false
		}
		near := false
		for _, cp := range o.copies(n) {
			at := q.positionOf(o, cp, n)
			near = near || cp.Barcode == barcode && at.compare(after) >= 0 && at.addr-after.addr <= q.o.Ahead+nearTape
		}
		if !near {
			return false
		}
		if !q.joinIdle(o, n, sum) {
			return false
		}
	}
	return true
}

// joinIdle makes a request that nobody waits for. False: there is no room for it, or other work waits.
func (q *Queue) joinIdle(o *object, n int64, sum [32]byte) bool {
	if !q.cache.keeps() {
		return false
	}
	f, err := q.join(o, n, sum, background, 0)
	if err != nil {
		return false
	}
	if f == nil {
		return true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if f.refs == 1 && f.background && f.prefer == "" {
		f.idle = true // the queue itself holds it, until it is read or in the way
	} else {
		f.refs-- // somebody wants it anyhow
	}
	return true
}

// dropIdle ends the requests that nobody waits for, all of them or those that no session answers. Called with
// the lock held.
func (q *Queue) dropIdle(all bool) {
	for _, f := range q.fetches {
		if f.idle && !f.active && (all || !q.covered(f)) {
			q.finish(f, nil, errNotNow)
		}
	}
}
