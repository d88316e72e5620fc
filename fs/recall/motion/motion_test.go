package motion

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tapefs/tapefs/changer/virtual"
)

// drive is what a test's tapes really do. Its seconds come from the virtual library's clock, which shares no line with this package.
type drive struct {
	bytes   float64 // capacity
	seconds func(from, to float64) float64
	noise   float64 // seconds, of a normal distribution
	retries float64 // share of locates that take a minute longer
}

var drives = []struct {
	name    string
	nominal Layout
	drive
}{
	{"round figures", Layout{WrapBytes: 12e12 / 204, BandWraps: 52}, drive{bytes: 12e12, seconds: virtual.SeekSeconds}},
	{"LTO-9", Layout{WrapBytes: 18e12 / 276, BandWraps: 70}, drive{bytes: 18e12, seconds: virtual.PublishedLTO9.Seconds}},
}

// locates gives the learner so many random locates on a tape that holds skew times as much as it should.
func (d drive) locates(l *Learner, barcode string, nominal Layout, skew float64, n int, seed uint64) {
	r := rand.New(rand.NewPCG(7, seed))
	at := int64(0)
	for range n {
		to := r.Int64N(int64(d.bytes * min(skew, 1)))
		s := d.seconds(float64(at)/(d.bytes*skew), float64(to)/(d.bytes*skew)) + r.NormFloat64()*d.noise
		if r.Float64() < d.retries {
			s += 60
		}
		l.Add(barcode, "a format", nominal, Sample{at, to, max(0, s)})
		at = to
	}
}

// error is by how many seconds a model is wrong on the mean, over locates that it has not seen.
func (d drive) error(m *Model, skew float64) (mean float64) {
	r := rand.New(rand.NewPCG(8, 8))
	const n = 500
	for range n {
		from, to := r.Int64N(int64(d.bytes*min(skew, 1))), r.Int64N(int64(d.bytes*min(skew, 1)))
		mean += math.Abs(m.Seconds(from, to)-d.seconds(float64(from)/(d.bytes*skew), float64(to)/(d.bytes*skew))) / n
	}
	return mean
}

func TestLayoutAndTimesAreLearned(t *testing.T) {
	for _, d := range drives {
		for _, skew := range []float64{1, 0.99, 1.013, 0.975} {
			for _, disturbed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s,holds %g,disturbed %v", d.name, skew, disturbed), func(t *testing.T) {
					real, n := d.drive, 40
					if disturbed {
						real.noise, real.retries, n = 1.5, 0.1, 120
					}
					var l Learner
					real.locates(&l, "A", d.nominal, skew, n, 1)
					m := l.Model("A", "a format", d.nominal)
					if m == nil {
						t.Fatal("nothing was learned")
					}
					if e := d.error(m, skew); e > 4 {
						t.Errorf("wrong by %.1f s on the mean", e)
					}
					if e := math.Abs(m.Layout.WrapBytes/d.nominal.WrapBytes/skew - 1); e > 3e-4 {
						t.Errorf("a wrap is wrong by %.5f of it", e)
					}
				})
			}
		}
	}
}

// What one tape teaches makes another one of its format known after a handful of locates, though it holds more or less.
func TestCostsServeAllTapesOfAFormat(t *testing.T) {
	d := drives[0]
	var l Learner
	d.locates(&l, "A", d.nominal, 1.01, 60, 1)
	l.Model("A", "a format", d.nominal)
	if m := l.Model("B", "a format", d.nominal); m == nil || d.error(m, 1.01) > 1 {
		t.Error("a tape that was never read is not taken to be like the one that was")
	}
	d.locates(&l, "B", d.nominal, 0.985, 8, 2)
	m := l.Model("B", "a format", d.nominal)
	if m == nil {
		t.Fatal("nothing is known of the second tape")
	}
	if e := d.error(m, 0.985); e > 2 {
		t.Errorf("the second tape is wrong by %.1f s on the mean", e)
	}
	if m := l.Model("C", "another format", d.nominal); m != nil {
		t.Error("a tape of another format is taken to be like it")
	}
}

// Times that follow from no layout teach nothing.
func TestNoiseTeachesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	d := drives[0]
	var l Learner
	for range 100 {
		l.Add("A", "f", d.nominal, Sample{r.Int64N(12e12), r.Int64N(12e12), 5 + 60*r.Float64()})
	}
	if m := l.Model("A", "f", d.nominal); m != nil {
		t.Errorf("a layout was learned from noise: %+v", m)
	}
	l.Add("A", "f", d.nominal, Sample{-1, 5, 1})
	l.Add("A", "f", d.nominal, Sample{1, 5, math.NaN()})
	l.Add("A", "f", d.nominal, Sample{1, 5, math.Inf(1)})
	if n := len(l.tapes["A"].samples); n != 100 {
		t.Errorf("%d samples, not 100", n)
	}
	if m := l.Model("A", "f", Layout{}); m != nil {
		t.Error("a tape without a layout has a model")
	}
}
