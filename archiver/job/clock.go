package job

import (
	"context"
	"fmt"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// The clock of a machine may be wrong: with an empty battery it begins in 1970, or years from now, until somebody sets it. What is
// noted with such a time can be put up with; what is deleted because of one cannot. So whatever depends on the age of things asks here
// whether the clock agrees with the times at which earlier runs began, in the order of the runs.

const (
	clockBack  = 24 * time.Hour      // by which the clock may go back from one run to the next
	clockAhead = 90 * 24 * time.Hour // after which without a run nobody knows whether time has passed or the clock has jumped
	clockProof = 7 * 24 * time.Hour  // for so long runs must have agreed with each other before a clock that jumped is believed
)

// firstRelease is before any run of this program.
var firstRelease = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// ClockError says that this machine's clock does not agree with the runs before.
type ClockError struct {
	Now  time.Time
	Last time.Time // the newest run whose time is believed; zero: none, and Now is before this program was written
}

func (e *ClockError) Error() string {
	const layout = "2006-01-02 15:04 MST"
	if e.Last.IsZero() {
		return fmt.Sprintf("this machine's clock says %s, which cannot be", e.Now.UTC().Format(layout))
	}
	if e.Ahead() {
		return fmt.Sprintf("this machine's clock says %s, and the run before was on %s: nobody knows whether the clock has jumped", e.Now.UTC().Format(layout), e.Last.UTC().Format(layout))
	}
	return fmt.Sprintf("this machine's clock says %s, which is before the run of %s", e.Now.UTC().Format(layout), e.Last.UTC().Format(layout))
}

// Ahead reports whether the clock is ahead of what can be believed, and not behind it.
func (e *ClockError) Ahead() bool { return e.Now.After(e.Last) && !e.Last.IsZero() }

// HintText is what to do about it.
func (e *ClockError) HintText() string {
	return "look at it with date, and set it if it is wrong: timedatectl set-ntp true. A clock that is right is believed once runs have agreed with it for a week"
}

// CheckClock compares now with the times at which runs began, the oldest run first. The error is a *ClockError.
func CheckClock(runs []time.Time, now time.Time) error {
	if now.Before(firstRelease) {
		return &ClockError{Now: now, Last: newestBelieved(runs)}
	}
	last := newestBelieved(append(runs[:len(runs):len(runs)], now))
	if !last.Equal(now) && !agrees(last, now) {
		return &ClockError{Now: now, Last: last}
	}
	return nil
}

// agrees reports whether a run at t may follow one at last.
func agrees(last, t time.Time) bool {
	return t.After(last.Add(-clockBack)) && t.Before(last.Add(clockAhead))
}

// newestBelieved returns the newest time of those that can be believed.
func newestBelieved(runs []time.Time) time.Time {
	var last time.Time         // believed
	var first, other time.Time // of runs that disagree with last and agree with each other
	for _, t := range runs {
		switch {
		case t.Before(firstRelease):
			continue
		case last.IsZero(), agrees(last, t):
			if t.After(last) {
				last = t
			}
			first, other = time.Time{}, time.Time{}
			continue
		case first.IsZero(), !agrees(other, t):
			first, other = t, t
		case t.After(other):
			other = t
		}
		if other.Sub(first) >= clockProof {
			last, first, other = other, time.Time{}, time.Time{}
		}
	}
	return last
}

// CheckMachineClock compares this machine's clock with the runs of a catalog before run; 0: with all.
func CheckMachineClock(ctx context.Context, db *catalog.DB, run int64) error {
	runs, err := db.RunsStarted(ctx, run)
	if err != nil {
		return err
	}
	return CheckClock(runs, time.Now())
}
