package recall

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/crypto"
	"github.com/tapefs/tapefs/fs/recall/cache"
)

// Who reads the files of a directory one after the other, whole, in the order of their ids as cp -r does, will
// want the next ones: they are foreseen, whatever tapes they are on. What is foreseen loads no tape. It is read when its tape is mounted
// for somebody and no reader wants anything of it, at once when nobody waits for the drive, and else for as long as a tape that was just
// brought may keep it: coming back for each file would cost everybody more. Another process that wants the drive gets it.

// errNotNow ends requests that nobody waits for and that were not read in time.
var errNotNow = errors.New("not read ahead: the tape was not mounted")

// directoryReader is a user who reads in a directory.
type directoryReader struct {
	dir  catalog.ID
	user uint32
}

// following is where a reader is in a directory.
type following struct {
	last  catalog.ID // the last file that was read whole
	upto  catalog.ID // the last file that was foreseen
	ahead int64      // bytes of the files behind last that were
	run   int64      // bytes of the files that were read one after the other
}

// maxFollowing bounds how many directories are watched at once, and followFiles how many files are looked
// at for one step: it must cost nothing beside an open.
const (
	maxFollowing = 64
	followFiles  = 64
)

// maxForeseen bounds how many extents are foreseen at once, and foreseeFor how long each is.
const (
	maxForeseen = 8192
	foreseeFor  = time.Hour
)

// follow notes that a file was read whole, or opened with all its bytes at hand, and foresees what comes next.
func (f *File) follow(ctx context.Context) {
	q := f.q
	f.mu.Lock()
	o, parent, done := f.object, f.parent, f.followed
	f.followed = true
	f.mu.Unlock()
	if done || q.o.Ahead <= 0 || parent == 0 || o == nil || q.tapes == nil || !q.cache.Keeps() {
		return
	}
	who := directoryReader{parent, f.user}
	before, start, budget := q.step(who, f.id, f.size)
	if budget <= 0 {
		return
	}
	passed, err := q.db.Next(ctx, parent, before, followFiles)
	if err != nil {
		return
	}
	isFile := func(v catalog.Version) bool { return v.Kind == catalog.File }
	if i := slices.IndexFunc(passed, isFile); i < 0 || passed[i].ID != f.id {
		return // neither the next one nor the first
	}
	for budget > 0 {
		next, err := q.db.Next(ctx, parent, start, followFiles)
		if err != nil || len(next) == 0 {
			return
		}
		for _, v := range next {
			if !isFile(v) {
				return // what lies in it comes before the files behind it
			}
			if budget -= v.Size; budget < 0 || !q.askFile(ctx, o, &v) {
				return
			}
			start = v.ID
			q.foreseen(who, v.ID, v.Size)
		}
	}
}

// step moves a directory's reader on to a file. It returns the file before (0: none, or he went back), from
// where on files were not foreseen yet, and how many bytes may be: none while half of what may be is.
func (q *Queue) step(who directoryReader, id catalog.ID, size int64) (before, start catalog.ID, budget int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := q.following[who]
	if d == nil {
		if len(q.following) >= maxFollowing {
			clear(q.following)
		}
		q.following[who] = &following{last: id, upto: id, run: size}
		return 0, id, q.o.Ahead // if it is the directory's first
	}
	before, d.last = d.last, id
	d.run += size
	switch {
	case id <= before:
		*d = following{last: id, upto: id, run: size}
		return 0, id, q.o.Ahead
	case id <= d.upto:
		d.ahead -= size
	default:
		d.upto, d.ahead = id, 0
	}
	window := q.foresight(d.run)
	if d.ahead > window/2 {
		return before, d.upto, 0
	}
	return before, d.upto, window - d.ahead
}

// foresight is how many bytes are foreseen of a reader who read so many one after the other: twice as many, at least what
// is read ahead of any, and at most a quarter of the cache.
func (q *Queue) foresight(run int64) int64 {
	return max(q.o.Ahead, min(2*run, q.o.CacheMax/4))
}

// foreseen notes that one more file was.
func (q *Queue) foreseen(who directoryReader, id catalog.ID, size int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d := q.following[who]; d != nil {
		d.upto, d.ahead = id, d.ahead+size
	}
}

// askFile foresees all of a file. False: no more can be.
func (q *Queue) askFile(ctx context.Context, beside *object, v *catalog.Version) bool {
	if v.Size == 0 || v.Batch != 0 {
		return true
	}
	if object, data, err := q.db.BytesAt(ctx, v.Data); err == nil && object == beside.id {
		first, last := cache.Extents(data+crypto.HeaderSize, v.Size)
		if !q.cache.Missing(beside.oid, first, last) {
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
	first, last := cache.Extents(loc.Data+crypto.HeaderSize, v.Size)
	for n := first; n <= last; n++ {
		if q.cache.Has(o.oid, n) {
			continue
		}
		sum, err := o.sum(ctx, q.db, n)
		if err != nil {
			return false
		}
		if !q.joinIdle(o, n, sum) {
			return false
		}
	}
	return true
}

// joinIdle makes a request that nobody waits for. False: there is no room for it.
func (q *Queue) joinIdle(o *object, n int64, sum [32]byte) bool {
	q.mu.Lock()
	full := q.idleFetches >= maxForeseen
	q.mu.Unlock()
	if full || !q.cache.Keeps() {
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
		f.idle = true // the queue itself holds it, until it is read or its time is over
		q.idleFetches++
	} else {
		f.refs-- // somebody wants it anyhow
	}
	return true
}

// dropIdle ends the requests that nobody waits for and that no session came to in time. Called with the lock held.
func (q *Queue) dropIdle() {
	if q.idleFetches == 0 {
		return
	}
	for _, f := range q.fetches {
		if f.idle && !f.active && time.Since(f.since) > foreseeFor {
			q.finish(f, nil, errNotNow)
		}
	}
}
