package motion

import (
	"math"
	"slices"
)

// Sample is one locate: from the byte of the tape where the head stood to the one that was read next.
type Sample struct {
	From, To int64
	Seconds  float64
}

// costs are what the parts of a locate take, in seconds.
type costs [features]float64

// The parts of a locate.
const (
	fixed    = iota // of any one
	length          // over the whole length of the tape
	wrap            // to another wrap
	turn            // to a wrap that is read in the other direction
	behind          // to what was passed already, in the direction in which the tape is read
	band            // to another data band
	features        // how many there are
)

// Model predicts locates on one tape.
type Model struct {
	Layout  Layout
	costs   costs
	typical float64 // seconds by which it is wrong
}

// parts says how much of each cost a locate has.
func parts(from, to place) (v costs) {
	v[fixed], v[length] = 1, math.Abs(from.x-to.x)
	if from.wrap != to.wrap {
		v[wrap] = 1
	}
	if from.back != to.back {
		v[turn] = 1
	} else if (to.x < from.x) != to.back {
		v[behind] = 1
	}
	if from.band != to.band {
		v[band] = 1
	}
	return v
}

// Seconds is what a locate between two bytes of the tape is expected to take.
func (m *Model) Seconds(from, to int64) float64 {
	return m.seconds(m.Layout.place(from), m.Layout.place(to))
}

func (m *Model) seconds(from, to place) (s float64) {
	for i, part := range parts(from, to) {
		s += part * m.costs[i]
	}
	return max(0, s)
}

// kept is the share of samples that a model has to explain: the rest are locates that were disturbed by retries or neighbours.
const kept = 0.8

// error is by how many seconds the costs are wrong under a layout, for the samples that they explain best.
func (c costs) error(l Layout, samples []Sample) float64 {
	m := Model{Layout: l, costs: c}
	wrong := make([]float64, len(samples))
	for i, s := range samples {
		wrong[i] = math.Abs(m.Seconds(s.From, s.To) - s.Seconds)
	}
	return trimmed(wrong)
}

// trimmed is the mean of the smaller ones.
func trimmed(wrong []float64) (mean float64) {
	slices.Sort(wrong)
	n := max(1, int(math.Ceil(kept*float64(len(wrong)))))
	for _, w := range wrong[:min(n, len(wrong))] {
		mean += w / float64(n)
	}
	return mean
}

// spread is by how many seconds a guess is wrong that is the same for all locates.
func spread(samples []Sample) float64 {
	took := make([]float64, len(samples))
	for i, s := range samples {
		took[i] = s.Seconds
	}
	slices.Sort(took)
	middle := took[len(took)/2]
	for i := range took {
		took[i] = math.Abs(took[i] - middle)
	}
	return trimmed(took)
}

// regress finds the costs that fit the samples best under a layout: least squares, once over all samples and then over those
// that the first answer explains. A small weight on each cost keeps parts that never occurred at nothing.
func regress(l Layout, samples []Sample) (c costs) {
	c = leastSquares(l, samples)
	m := Model{Layout: l, costs: c}
	wrong := func(s Sample) float64 { return math.Abs(m.Seconds(s.From, s.To) - s.Seconds) }
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = wrong(s)
	}
	slices.Sort(all)
	limit := all[min(len(all)-1, int(kept*float64(len(all))))]
	var good []Sample
	for _, s := range samples {
		if wrong(s) <= limit {
			good = append(good, s)
		}
	}
	return leastSquares(l, good)
}

func leastSquares(l Layout, samples []Sample) costs {
	var a [features][features + 1]float64
	for i := range features {
		a[i][i] = 1e-6
	}
	for _, s := range samples {
		v := parts(l.place(s.From), l.place(s.To))
		for i := range features {
			for j := range features {
				a[i][j] += v[i] * v[j]
			}
			a[i][features] += v[i] * s.Seconds
		}
	}
	return solve(a)
}

// solve finds the solution of a positive definite system, whose last column is its right side.
func solve(a [features][features + 1]float64) (x costs) {
	for i := range features {
		for k := i + 1; k < features; k++ {
			by := a[k][i] / a[i][i]
			for j := i; j <= features; j++ {
				a[k][j] -= by * a[i][j]
			}
		}
	}
	for i := features - 1; i >= 0; i-- {
		x[i] = a[i][features]
		for j := i + 1; j < features; j++ {
			x[i] -= a[i][j] * x[j]
		}
		x[i] /= a[i][i]
	}
	return x
}
