package recall

import (
	"cmp"
	"slices"
	"time"

	"github.com/tapefs/tapefs/catalog"
	"github.com/tapefs/tapefs/changer"
	"github.com/tapefs/tapefs/changer/lto"
	"github.com/tapefs/tapefs/fs/recall/motion"
)

// The order in which a mounted tape is read. What follows closely along the tape is read forwards, as it
// streams by. Beyond that, bytes that are far apart may be near: a tape is written in wraps, there and back
// along its whole length, and a locate costs the way along the length. So the head goes up and down the
// length as a lift does, and takes the beginning of each stretch that waits on its way.

// tapeBlock is the block of LTFS volumes, in which start blocks count: mkltfs makes 512 KiB.
const tapeBlock = 512 << 10

// nearTape is how far ahead on the tape (bytes) something is taken in streaming: a second of a drive at full
// speed, and less than a locate takes.
const nearTape = 256 << 20

// layoutOf is how a tape should be laid out by its format and capacity, and the name of what is laid out like it. It only
// orders: with one that is wrong, far reads take as long as in the order of bytes.
func layoutOf(t catalog.Tape) (motion.Layout, string) {
	format, ok := changer.Barcode(t.Barcode).Format()
	if !ok || format.Generation != t.Generation {
		format, _ = lto.ByGeneration(t.Generation)
	}
	native, wraps := format.DataPartition() // what we write does not compress
	if wraps == 0 {
		return motion.Layout{}, ""
	}
	capacity := t.Capacity
	if capacity <= 0 {
		capacity = native
	}
	return motion.Layout{WrapBytes: float64(capacity) / float64(wraps), BandWraps: int64(format.Wraps / lto.Bands)}, format.Name
}

// position is where something lies on a tape.
type position struct {
	block, copyPart, extent int64
	addr                    int64 // bytes of the tape before it
}

// compare orders as the tape was written.
func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.block, o.block), cmp.Compare(p.copyPart, o.copyPart), cmp.Compare(p.extent, o.extent))
}

// positionOf is where a copy of extent n lies.
func (q *Queue) positionOf(o *object, cp catalog.CopyPart, n int64) position {
	_, offset, _ := o.extent(n)
	return position{cp.StartBlock, cp.ID, n, max(0, cp.StartBlock)*tapeBlock + max(0, offset)}
}

// sweep is the head's way over a mounted tape.
type sweep struct {
	layout motion.Layout
	model  *motion.Model // nil: nothing was learned yet
	round  round
	at     position // of what was read last
	back   bool     // on the way to the tape's beginning
	turned time.Time
}

// near tells whether p comes so soon behind o that the drive streams on.
func near(o, p position) bool {
	return p.compare(o) >= 0 && p.addr-o.addr <= nearTape
}

// choose returns which of the waiting positions is read next; there is at least one. patient tells whether
// all that wait elsewhere on this tape can wait on.
func (s *sweep) choose(waiting []position, patient bool, now time.Time) int {
	if best := s.streamOn(waiting); best >= 0 && (patient || now.Sub(s.turned) < maxSweep) {
		return best
	}
	s.turned = now
	order := make([]int, len(waiting))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return waiting[a].compare(waiting[b]) })
	here := s.layout.Along(s.at.addr)
	up, down, first, ahead := -1, -1, -1, -1 // the next one on either way; of all; when nothing else is left
	var starts []int                         // of stretches
	var upAt, downAt, firstAt float64
	for k, i := range order {
		if k > 0 && near(waiting[order[k-1]], waiting[i]) {
			continue // in the middle of a stretch
		}
		if near(s.at, waiting[i]) {
			ahead = i // it had its turn
			continue
		}
		starts = append(starts, i)
		x := s.layout.Along(waiting[i].addr)
		if x >= here && (up < 0 || x < upAt) {
			up, upAt = i, x
		}
		if x <= here && (down < 0 || x > downAt) {
			down, downAt = i, x
		}
		if first < 0 || x < firstAt {
			first, firstAt = i, x
		}
	}
	switch {
	case first < 0:
		return max(ahead, 0)
	case s.model != nil:
		return s.nextOfRound(waiting, starts)
	case !s.layout.Known(): // bytes are all that is known: forwards, and again from the beginning
		if up < 0 {
			return first
		}
		return up
	case s.back && down >= 0:
		return down
	case up >= 0:
		s.back = false
		return up
	}
	s.back = true
	return down
}

// streamOn finds what comes next as the tape goes on, -1 when that is far.
func (s *sweep) streamOn(waiting []position) int {
	best := -1
	for i, p := range waiting {
		if near(s.at, p) && (best < 0 || p.compare(waiting[best]) < 0) {
			best = i
		}
	}
	return best
}

// cheapDetour is by how many seconds a reader's way may become longer for each thing that is only foreseen.
const cheapDetour = 10

// onTheWay returns which of some positions the head passes first on its way to another one, or -1. It is known only once locates were
// learned.
func (s *sweep) onTheWay(to position, positions []position) int {
	if s.model == nil {
		return -1
	}
	first, least := -1, 0.0
	for i, p := range positions {
		before, longer := s.model.Detour(s.at.addr, []int64{to.addr}, p.addr)
		if before != 0 || longer > cheapDetour {
			continue
		}
		if seconds := s.model.Seconds(s.at.addr, p.addr); first < 0 || seconds < least {
			first, least = i, seconds
		}
	}
	return first
}
