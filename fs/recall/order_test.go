package recall

import (
	"slices"
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// walk lists the blocks in the order in which the head takes them.
func walk(s *sweep, patient bool, now time.Time, blocks ...int64) []int64 {
	var waiting []position
	for i, b := range blocks {
		waiting = append(waiting, position{block: b, copyPart: int64(i + 1), addr: b * tapeBlock})
	}
	var got []int64
	for len(waiting) > 0 {
		i := s.choose(waiting, patient, now)
		s.at = waiting[i]
		got = append(got, waiting[i].block)
		waiting = slices.Delete(waiting, i, i+1)
	}
	return got
}

func TestSweep(t *testing.T) {
	const gb = 1907 // blocks, about
	now := time.Now()
	lto8, _ := layoutOf(catalog.Tape{Generation: 8})
	wrap := int64(lto8.WrapBytes / tapeBlock)
	for _, c := range []struct {
		name    string
		s       sweep
		patient bool
		blocks  []int64
		want    []int64
	}{
		{"forwards from the head on, then from the beginning", sweep{at: position{block: 400, addr: 400 * tapeBlock}, turned: now}, true,
			[]int64{100, 900, 300, 700, 500}, []int64{500, 700, 900, 100, 300}},
		{"without geometry far ones forwards, too", sweep{at: position{block: 40 * gb, addr: 40 * gb * tapeBlock}, turned: now}, true,
			[]int64{10 * gb, 90 * gb, 30 * gb, 70 * gb, 50 * gb}, []int64{50 * gb, 70 * gb, 90 * gb, 10 * gb, 30 * gb}},
		{"the head stays no longer than it may", sweep{at: position{block: 400, addr: 400 * tapeBlock}, turned: now.Add(-2 * maxSweep)}, false,
			[]int64{410, 420, 10 * gb}, []int64{10 * gb, 410, 420}},
		{"but goes on when nobody waits elsewhere", sweep{at: position{block: 400, addr: 400 * tapeBlock}, turned: now.Add(-2 * maxSweep)}, true,
			[]int64{410, 420, 10 * gb}, []int64{410, 420, 10 * gb}},
		{"up the length of the tape and down again, whatever the wrap", sweep{layout: lto8, turned: now}, true,
			// 1/4 of the length in wrap 4; 3/4 in wrap 1 (there the tape runs back); 1/2 in wrap 0 and 7.
			[]int64{wrap/2 + 7*wrap, wrap + wrap/4, 4*wrap + wrap/4, wrap / 2},
			[]int64{4*wrap + wrap/4, wrap / 2, wrap/2 + 7*wrap, wrap + wrap/4}},
		{"a stretch in a wrap that runs back is read forwards", sweep{layout: lto8, turned: now}, true,
			[]int64{wrap + 300, wrap + 100, wrap + 200}, []int64{wrap + 100, wrap + 200, wrap + 300}},
		{"what lies behind is taken on the way back", sweep{layout: lto8, turned: now, at: position{block: wrap / 2, addr: wrap / 2 * tapeBlock}}, true,
			[]int64{wrap / 4, wrap * 3 / 4, wrap / 8}, []int64{wrap * 3 / 4, wrap / 4, wrap / 8}},
	} {
		if got := walk(&c.s, c.patient, now, c.blocks...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}
