package main

import (
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	zone := time.FixedZone("here", 3*3600)
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, zone)
	for word, want := range map[string]time.Time{
		"2024-05-31":           time.Date(2024, 5, 31, 23, 59, 59, 999999999, zone),
		"2024-05-31 18:30":     time.Date(2024, 5, 31, 18, 30, 0, 0, zone),
		"2024-05-31T18:30:05":  time.Date(2024, 5, 31, 18, 30, 5, 0, zone),
		"2024-05-31T18:30:05Z": time.Date(2024, 5, 31, 18, 30, 5, 0, time.UTC),
		"10d":                  now.AddDate(0, 0, -10),
		"2w ago":               now.AddDate(0, 0, -14),
		"90m":                  now.Add(-90 * time.Minute),
	} {
		if got, err := parseMoment(word, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", word, got, err, want)
		}
	}
	for _, word := range []string{"", "yesterday", "2024-13-01", "-3d", "0d", "12", "d", "99999999999d", "2024-05-31 25:00"} {
		if got, err := parseMoment(word, now); err == nil {
			t.Errorf("%q: %v", word, got)
		}
	}
	var m moment
	if err := m.UnmarshalText([]byte("2999-01-01")); err == nil {
		t.Errorf("the future: %v", m)
	}
	if err := m.UnmarshalText([]byte(time.Now().Format(time.DateOnly))); err != nil || m.After(time.Now()) {
		t.Errorf("today: %v, %v", m, err)
	}
}
