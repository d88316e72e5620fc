package recall

import (
	"math"
	"slices"

	"github.com/tapefs/tapefs/fs/recall/motion"
)

// Once it was learned what locates take, the head makes rounds: a tour over all stretches that wait, as short as can be found. What comes
// in meanwhile is taken on the way where that is cheap, but a round is made longer by no more than maxDetours, so nothing waits for
// longer than the round under way and its own.

// maxDetours is by how many seconds a round becomes longer through what comes in while it is made.
const maxDetours = 300

// round is what is left of the head's way.
type round struct {
	left    []position
	detours float64       // seconds by which it became longer
	planned motion.Layout // for which
}

// nextOfRound returns which of the beginnings of stretches, indexes of waiting, is read next; there is at least one.
func (s *sweep) nextOfRound(waiting []position, starts []int) int {
	at := make(map[position]int, len(starts))
	for _, i := range starts {
		at[waiting[i]] = i
	}
	r := &s.round
	r.left = slices.DeleteFunc(r.left, func(p position) bool { _, waits := at[p]; return !waits })
	if len(r.left) == 0 || math.Abs(s.layout.WrapBytes/r.planned.WrapBytes-1) > 1e-5 {
		s.plan(waiting, starts)
		return at[r.left[0]]
	}
	for _, p := range r.left {
		delete(at, p)
	}
	addrs := addresses(r.left)
	for _, i := range starts {
		p := waiting[i]
		if _, isNew := at[p]; !isNew || len(addrs) >= motion.TourMax {
			continue
		}
		if before, seconds := s.model.Detour(s.at.addr, addrs, p.addr); r.detours+seconds <= maxDetours {
			r.detours += max(0, seconds)
			r.left, addrs = slices.Insert(r.left, before, p), slices.Insert(addrs, before, p.addr)
		}
	}
	return slices.Index(waiting, r.left[0])
}

// plan begins a round. Of very many stretches it takes those that come first along the length.
func (s *sweep) plan(waiting []position, starts []int) {
	if len(starts) > motion.TourMax {
		starts = slices.Clone(starts)
		slices.SortFunc(starts, func(a, b int) int {
			x, y := s.layout.Along(waiting[a].addr), s.layout.Along(waiting[b].addr)
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return waiting[a].compare(waiting[b])
		})
		starts = starts[:motion.TourMax]
	}
	var list []position
	for _, i := range starts {
		list = append(list, waiting[i])
	}
	s.round = round{planned: s.layout}
	for _, i := range s.model.Tour(s.at.addr, addresses(list)) {
		s.round.left = append(s.round.left, list[i])
	}
}

func addresses(list []position) []int64 {
	addrs := make([]int64, len(list))
	for i, p := range list {
		addrs[i] = p.addr
	}
	return addrs
}
