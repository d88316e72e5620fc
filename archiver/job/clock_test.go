package job

import (
	"errors"
	"testing"
	"time"
)

// TestCheckClock: which clocks are believed after which runs, in days from a moment in 2026.
func TestCheckClock(t *testing.T) {
	day := func(n float64) time.Time {
		return time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC).Add(time.Duration(n * 24 * float64(time.Hour)))
	}
	const dead = -20_000 // 1972
	for _, c := range []struct {
		name  string
		runs  []float64
		now   float64
		wrong bool
		ahead bool
		last  float64
	}{
		{name: "no run yet", now: 0},
		{name: "no run yet, and an empty battery", now: dead, wrong: true},
		{name: "each night", runs: []float64{-3, -2, -1}, now: 0},
		{name: "an hour back", runs: []float64{-1, 0}, now: -1.0 / 24},
		{name: "two days back", runs: []float64{-1, 0}, now: -2, wrong: true, last: 0},
		{name: "a month without a run", runs: []float64{-31, -30}, now: 0},
		{name: "a year without a run, or a jump", runs: []float64{-401, -400}, now: 0, wrong: true, ahead: true, last: -400},
		{name: "cron's other run by the same clock", runs: []float64{-401, -400, -0.01}, now: 0, wrong: true, ahead: true, last: -400},
		{name: "a week of runs after it", runs: []float64{-401, -400, -7, -6, -3, -1}, now: 0},
		{name: "a week with another jump in it", runs: []float64{-801, -800, -9, -8, 5000}, now: 0, wrong: true, ahead: true, last: -800},
		{name: "set right again after one run that was ahead", runs: []float64{-2, -1, 26_000}, now: 0},
		{name: "an empty battery after years of runs", runs: []float64{-2, -1}, now: dead, wrong: true, last: -1},
		{name: "it is not believed however long that lasts", runs: []float64{-2, -1, dead, dead + 5, dead + 10}, now: dead + 20, wrong: true, last: -1},
		{name: "and set right again", runs: []float64{-2, -1, dead, dead + 5, dead + 10}, now: 0},
		{name: "the first run of all had it", runs: []float64{dead, -1}, now: 0},
	} {
		var runs []time.Time
		for _, n := range c.runs {
			runs = append(runs, day(n))
		}
		err := CheckClock(runs, day(c.now))
		var clock *ClockError
		if errors.As(err, &clock) != c.wrong {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !c.wrong {
			continue
		}
		if clock.Ahead() != c.ahead {
			t.Errorf("%s: ahead: %v; want %v", c.name, clock.Ahead(), c.ahead)
		}
		if want := day(c.last); len(c.runs) > 0 && !clock.Last.Equal(want) {
			t.Errorf("%s: the last run that is believed was on %s; want %s", c.name, clock.Last, want)
		}
		if clock.Error() == "" || clock.HintText() == "" {
			t.Errorf("%s: nothing is said", c.name)
		}
	}
}

// TestSilenceIsMeasuredWithoutTheClock: what is kept is no time of the clock, so that one that jumps makes no source silent.
func TestSilenceIsMeasuredWithoutTheClock(t *testing.T) {
	var h Hearing
	defer h.Program()()
	if last := time.Duration(h.last.Load()); last < 0 || last > SinceStart() {
		t.Errorf("it was heard %s after the start of a process that runs for %s", last, SinceStart())
	}
	if silent := h.Silent(); silent < 0 || silent > SinceStart() {
		t.Errorf("silent for %s", silent)
	}
}
