package archiver

import (
	"slices"
	"strings"
	"time"

	"tapefs/catalog"
)

// defaultMaxAge is how long less than a pool's MinBatch waits in the spool at most.
const defaultMaxAge = 7 * 24 * time.Hour

// worth says whether what a pool is owed is worth the mount of a tape. Once it was, all the rest of
// the run is: the tape is mounted.
func (w *writer) worth(p Pool, owed []catalog.OwedCopy) bool {
	if p.MinBatch <= 0 || w.now || w.worthy[p.Name] || w.volume != nil && w.pool.Name == p.Name {
		delete(w.held, p.Name)
		return true
	}
	h := Held{Pool: p.Name, Copies: len(owed), MinBatch: p.MinBatch}
	age := p.MaxAge
	if age <= 0 {
		age = defaultMaxAge
	}
	for _, c := range owed {
		h.Bytes += objectSize(&c.Object)
		if until := c.Object.Created.Add(age); h.Until.IsZero() || until.Before(h.Until) {
			h.Until = until
		}
	}
	if h.Bytes >= p.MinBatch || !time.Now().Before(h.Until) {
		w.worthy[p.Name] = true
		delete(w.held, p.Name)
		return true
	}
	w.held[p.Name] = h
	return false
}

// objectSize is about how many bytes an object takes on tape.
func objectSize(o *catalog.Object) int64 {
	if o.State == catalog.ObjectPlanned {
		return o.PlannedSize
	}
	return o.SealedSize
}

// collected is what the run leaves in the spool, by pool.
func (w *writer) collected() []Held {
	var all []Held
	for _, h := range w.held {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b Held) int { return strings.Compare(a.Pool, b.Pool) })
	return all
}
