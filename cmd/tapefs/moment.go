package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// moment is a point in time of the command line: a time of this machine's zone, one with a zone, or how long
// ago. A day alone means its end: what was archived on it counts.
type moment struct{ time.Time }

const momentHelp = "2024-05-31, 2024-05-31 18:30, 2024-05-31T18:30:00Z, or 2y, 90d, 12h ago"

// UnmarshalText reads a moment. One in the future is a mistake.
func (m *moment) UnmarshalText(text []byte) error {
	now := time.Now()
	t, err := parseMoment(strings.TrimSpace(string(text)), now)
	if err != nil {
		return err
	}
	if t.After(now) {
		if t.Sub(now) > 24*time.Hour {
			return fmt.Errorf("%s is in the future", t.Format(time.DateTime))
		}
		t = now // the end of today
	}
	m.Time = t
	return nil
}

func parseMoment(word string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, word); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.ParseInLocation(layout, word, now.Location()); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, word, now.Location()); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	word = strings.TrimSpace(strings.TrimSuffix(word, "ago"))
	for unit, days := range map[string]int{"d": 1, "w": 7, "y": 365} {
		if n, err := strconv.Atoi(strings.TrimSuffix(word, unit)); strings.HasSuffix(word, unit) && err == nil && n > 0 && n < 100_000 {
			return now.AddDate(0, 0, -n*days), nil
		}
	}
	if d, err := time.ParseDuration(word); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write %s", word, momentHelp)
}
