package recall

import (
	"slices"
	"time"
)

// Users share the drives. Whoever waits while none of his reads is under way anywhere goes before those who are served, and a tape that
// was read for a slice of time makes room for him: so one user with many threads on many tapes keeps another one's first byte away for no
// longer than the slice, the tape in hand, and a load.

// defaultUserSlice is Options.UserSlice unless it is given: a few changes of tapes, which take a minute or two each.
const defaultUserSlice = 2 * time.Minute

// hungry is since when each user waits without having been given anything. Called with the queue's lock held, as all below.
func (q *Queue) hungry() map[uint32]time.Time {
	since := map[uint32]time.Time{}
	for _, f := range q.fetches {
		for u := range f.users {
			if t, ok := since[u]; !ok || f.since.Before(t) {
				since[u] = f.since
			}
		}
	}
	for u, t := range since {
		since[u] = later(t, q.served[u])
	}
	return since
}

// servedUsers bounds what is remembered of users.
const servedUsers = 1000

// gave notes that a fetch's users were given something.
func (q *Queue) gave(f *fetch) {
	if len(q.served) > servedUsers {
		clear(q.served)
	}
	for u := range f.users {
		q.served[u] = time.Now()
	}
}

// unserved are the users of hungry for whom no session reads or will read anything.
func (q *Queue) unserved() map[uint32]time.Time {
	since := q.hungry()
	if len(since) < 2 {
		return nil // nobody is in anybody's way
	}
	for _, f := range q.fetches {
		if len(f.users) > 0 && (f.active || q.covered(f)) {
			for u := range f.users {
				delete(since, u)
			}
		}
	}
	return since
}

// hungriest is since when the one of a fetch's users waits that has waited longest; zero: none of them is in the list.
func hungriest(f *fetch, since map[uint32]time.Time) time.Time {
	var oldest time.Time
	for u := range f.users {
		if t, ok := since[u]; ok && (oldest.IsZero() || t.Before(oldest)) {
			oldest = t
		}
	}
	return oldest
}

// compareHunger puts whoever waits for his first bytes before all others, the longest wait first.
func compareHunger(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}

// makesRoom reports whether a session is the one that gives its drive up to an unserved user: its slice is over, and of all whose slice is
// over it has had its drive longest. No more sessions do than there are tapes that such users wait for.
func (q *Queue) makesRoom(s *session) bool {
	if time.Since(s.mounted) < q.o.UserSlice || len(q.sessions) < q.drives {
		return false
	}
	since := q.unserved()
	tapes := map[string]bool{}
	for _, f := range q.fetches {
		if f.tape != "" && !q.taken(f.tape) && !hungriest(f, since).IsZero() {
			tapes[f.tape] = true
		}
	}
	room := len(tapes)
	for other := range q.sessions {
		if other.ending || other != s && !other.mounted.IsZero() && other.mounted.Before(s.mounted) && time.Since(other.mounted) >= q.o.UserSlice {
			room--
		}
	}
	return room > 0
}

// firstForHungry leaves of what waits on one tape only what is for the user who has been given nothing for a slice, if there is one among
// others: elsewhere on the tape somebody else may read on and on.
func (q *Queue) firstForHungry(list []*fetch) []*fetch {
	users := map[uint32]bool{}
	for _, f := range list {
		for u := range f.users {
			users[u] = true
		}
	}
	if len(users) < 2 {
		return list
	}
	since := q.hungry()
	var first time.Time
	for u := range users {
		if t := since[u]; time.Since(t) >= q.o.UserSlice && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if first.IsZero() {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(f *fetch) bool { return !hungriest(f, since).Equal(first) })
}
