package motion

// Tours are open: from where the head stands over all places to whichever is the last. Going to the nearest next one makes one that is
// long at its end, when what was left aside is gathered; then runs of up to three places are moved to where they cost less.

// TourMax is the most places that a tour is made of: its time grows with their square, and is a few milliseconds then.
const TourMax = 150

// tourPasses bounds how often all places are looked at.
const tourPasses = 8

// Tour orders places (bytes of the tape, at most TourMax) so that a head that stands at one byte comes to all of them in little time.
// It returns their indexes.
func (m *Model) Tour(at int64, places []int64) []int {
	cost := m.matrix(at, places)
	order := nearest(cost)
	for range tourPasses {
		if !shorten(order, cost) {
			break
		}
	}
	for i := range order {
		order[i]-- // without the head
	}
	return order[1:]
}

// Detour finds where on the way from a byte over others one more is reached in the least time: before which of them, and how much longer the
// way becomes.
func (m *Model) Detour(at int64, way []int64, more int64) (before int, seconds float64) {
	place := m.Layout.place(more)
	from := m.Layout.place(at)
	for i, w := range way {
		to := m.Layout.place(w)
		extra := m.seconds(from, place) + m.seconds(place, to) - m.seconds(from, to)
		if i == 0 || extra < seconds {
			before, seconds = i, extra
		}
		from = to
	}
	if extra := m.seconds(from, place); len(way) == 0 || extra < seconds {
		before, seconds = len(way), extra
	}
	return before, seconds
}

// matrix holds what a locate takes from each to each; the first row is the head's.
func (m *Model) matrix(at int64, places []int64) [][]float64 {
	where := []place{m.Layout.place(at)}
	for _, addr := range places {
		where = append(where, m.Layout.place(addr))
	}
	cost := make([][]float64, len(where))
	for i, from := range where {
		cost[i] = make([]float64, len(where))
		for k, to := range where {
			cost[i][k] = m.seconds(from, to)
		}
	}
	return cost
}

func nearest(cost [][]float64) []int {
	order := make([]int, len(cost))
	for i := range order {
		order[i] = i
	}
	for i := 1; i < len(order); i++ {
		best := i
		for k := i; k < len(order); k++ {
			if cost[order[i-1]][order[k]] < cost[order[i-1]][order[best]] {
				best = k
			}
		}
		order[i], order[best] = order[best], order[i]
	}
	return order
}

// shorten moves runs of places once, wherever that makes the way shorter, and reports whether any did.
func shorten(order []int, cost [][]float64) bool {
	edge := func(i, k int) float64 { // from the i-th to the k-th; behind the last one the way is over
		if k >= len(order) {
			return 0
		}
		return cost[order[i]][order[k]]
	}
	found := false
	for run := 1; run <= 3; run++ {
		for i := 1; i+run <= len(order); i++ {
			last := i + run - 1
			taken := edge(i-1, i) + edge(last, last+1)
			if last+1 < len(order) {
				taken -= edge(i-1, last+1)
			}
			best, gain := -1, 1e-9
			for k := range order { // put it behind the k-th
				if k >= i-1 && k <= last {
					continue
				}
				put := cost[order[k]][order[i]]
				if k+1 < len(order) {
					put += cost[order[last]][order[k+1]] - edge(k, k+1)
				}
				if taken-put > gain {
					best, gain = k, taken-put
				}
			}
			if best >= 0 {
				moveRun(order, i, run, best)
				found = true
			}
		}
	}
	return found
}

// moveRun puts the run of places that begins at i behind the k-th place.
func moveRun(order []int, i, run, k int) {
	moved := append([]int(nil), order[i:i+run]...)
	if k > i {
		copy(order[i:], order[i+run:k+1])
		copy(order[k+1-run:], moved)
		return
	}
	copy(order[k+1+run:], order[k+1:i])
	copy(order[k+1:], moved)
}
