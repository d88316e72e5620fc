package recall

import (
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// choice is requests that a mounted tape answers, and where on it.
type choice struct {
	fetches []*fetch
	copies  []catalog.CopyPart
	at      []position
}

func (c *choice) add(f *fetch, cp catalog.CopyPart, at position) {
	c.fetches, c.copies, c.at = append(c.fetches, f), append(c.copies, cp), append(c.at, at)
}

// keep leaves only some of the requests.
func (c *choice) keep(fetches []*fetch) {
	var kept choice
	for i, f := range c.fetches {
		if slices.Contains(fetches, f) {
			kept.add(f, c.copies[i], c.at[i])
		}
	}
	*c = kept
}

// next takes the request that the head comes to next: those of readers first, then those of Prefetch, and what is only foreseen, if
// at all, when there are none, or on the way to a reader's where it costs hardly any time. It also returns what waits for a drive that
// none has.
func (s *session) next(foreseen bool) (*fetch, catalog.CopyPart, elsewhere) {
	q := s.q
	q.mu.Lock()
	defer q.mu.Unlock()
	wanted, idle := s.waiting(foreseen)
	others := q.waitingElsewhere()
	others.room = q.makesRoom(s)
	if len(wanted.fetches) == 0 {
		wanted, idle = idle, choice{}
	}
	if len(wanted.fetches) == 0 {
		return nil, catalog.CopyPart{}, others
	}
	if first := q.firstForHungry(wanted.fetches); len(first) < len(wanted.fetches) {
		wanted.keep(first)
		idle = choice{}
	}
	patient := !slices.ContainsFunc(wanted.fetches, func(f *fetch) bool { return f.waiters > 0 && time.Since(f.since) >= maxSweep })
	i := s.way.choose(wanted.at, patient, time.Now())
	if k := s.way.onTheWay(wanted.at[i], idle.at); k >= 0 && s.foreseen < q.o.MaxWait/2 {
		wanted, i = idle, k
	}
	f := wanted.fetches[i]
	f.active = true
	s.aside, s.idle = f.background, f.idle
	s.way.at = wanted.at[i]
	return f, wanted.copies[i], others
}

// waiting are the most urgent requests that the tape answers, and those that are only foreseen. Called with the queue's lock held.
func (s *session) waiting(foreseen bool) (wanted, idle choice) {
	q := s.q
	background := true // so far there are none of readers
	for _, f := range q.fetches {
		if f.active || f.idle && !foreseen || f.background && !f.idle && !background {
			continue
		}
		for _, cp := range q.usable(f, q.inventory) {
			if cp.Barcode != s.barcode {
				continue
			}
			at := q.positionOf(f.o, cp, f.key.extent)
			if f.idle {
				idle.add(f, cp, at)
				break
			}
			if background && !f.background {
				background, wanted = false, choice{}
			}
			wanted.add(f, cp, at)
			break
		}
	}
	return wanted, idle
}
