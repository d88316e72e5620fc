package motion

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// walked is what a way over places takes.
func walked(m *Model, at int64, places []int64, order []int) (s float64) {
	for _, i := range order {
		s += m.Seconds(at, places[i])
		at = places[i]
	}
	return s
}

// shortest tries all orders.
func shortest(m *Model, at int64, places []int64) float64 {
	best := math.Inf(1)
	order := make([]int, 0, len(places))
	var try func(at int64, so float64)
	try = func(at int64, so float64) {
		if so >= best {
			return
		}
		if len(order) == len(places) {
			best = so
			return
		}
		for i, p := range places {
			if !slices.Contains(order, i) {
				order = append(order, i)
				try(p, so+m.Seconds(at, p))
				order = order[:len(order)-1]
			}
		}
	}
	try(at, 0)
	return best
}

// cern has the costs of the published LTO-9 but for the one that the model does not know.
func cern() *Model {
	return &Model{Layout: drives[1].nominal, costs: costs{fixed: 4.3, length: 89, wrap: 6.7, turn: 5.2, behind: 11.3, band: 3.2}}
}

func TestTourIsNearlyTheShortest(t *testing.T) {
	m := cern()
	r := rand.New(rand.NewPCG(3, 3))
	over := 0.0
	const rounds = 30
	for range rounds {
		places := make([]int64, 8)
		for i := range places {
			places[i] = r.Int64N(17e12)
		}
		at := r.Int64N(17e12)
		order := m.Tour(at, places)
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Fatalf("not each place once: %v", order)
		}
		over += walked(m, at, places, order)/shortest(m, at, places)/rounds - 1.0/rounds
	}
	if t.Logf("%.1f %% longer than the shortest", 100*over); over > 0.04 {
		t.Errorf("tours are %.1f %% longer than the shortest", 100*over)
	}
}

// Against what a lift does, which goes up the length and down again, a tour of many places saves a fifth.
func TestTourBeatsTheLift(t *testing.T) {
	m := cern()
	r := rand.New(rand.NewPCG(5, 5))
	places := make([]int64, TourMax)
	lift := make([]int, TourMax)
	for i := range places {
		places[i], lift[i] = r.Int64N(17e12), i
	}
	slices.SortFunc(lift, func(a, b int) int { return int(1e9 * (m.Layout.Along(places[a]) - m.Layout.Along(places[b]))) })
	tour, up := walked(m, 0, places, m.Tour(0, places)), walked(m, 0, places, lift)
	if t.Logf("tour %.0f s, lift %.0f s", tour, up); tour > 0.8*up {
		t.Errorf("a tour of %.0f s is no better than the lift's %.0f s", tour, up)
	}
}

func TestDetour(t *testing.T) {
	m := &Model{Layout: Layout{WrapBytes: 1000}, costs: costs{fixed: 1, length: 1000}}
	for _, c := range []struct {
		way    []int64
		more   int64
		before int
		extra  float64
	}{
		{nil, 100, 0, 101},
		{[]int64{200, 400}, 300, 1, 1},
		{[]int64{200, 400}, 50, 0, 1},
		{[]int64{200, 400}, 500, 2, 101},
	} {
		if before, extra := m.Detour(0, c.way, c.more); before != c.before || math.Abs(extra-c.extra) > 1e-6 {
			t.Errorf("%d on the way over %v: before %d, %f s longer", c.more, c.way, before, extra)
		}
	}
	if got := m.Tour(0, nil); len(got) != 0 {
		t.Errorf("a tour of nothing: %v", got)
	}
}

func BenchmarkTour(b *testing.B) {
	m := cern()
	r := rand.New(rand.NewPCG(5, 5))
	places := make([]int64, TourMax)
	for i := range places {
		places[i] = r.Int64N(17e12)
	}
	for b.Loop() {
		m.Tour(0, places)
	}
}
