package ui

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	at := time.Unix(1e9, 0)
	if p.add(at, 0); p.rate() != 0 {
		t.Errorf("one sample gives %v", p.rate())
	}
	for i := range 100 {
		p.add(at.Add(time.Duration(i)*100*time.Millisecond), int64(i)*1000)
	}
	if r := p.rate(); r < 9500 || r > 10500 {
		t.Errorf("rate %v", r)
	}
	for i := range 600 { // a minute at another rate: the one before is forgotten
		p.add(at.Add(10*time.Second+time.Duration(i)*100*time.Millisecond), 100_000+int64(i)*100)
	}
	if r := p.rate(); r < 950 || r > 1050 || len(p.samples) > 40 {
		t.Errorf("rate %v of %d samples", r, len(p.samples))
	}
	if p.add(at.Add(71*time.Second), 5); p.rate() != 0 {
		t.Errorf("begun anew: %v", p.rate())
	}
	for _, c := range []struct {
		stage       string
		done, total int64
		rate        float64
		want        string
	}{
		{"list", 12345, 0, 1000, "12,345 files, 1,000/s"},
		{"fetch", 1 << 30, 3 << 30, 1 << 20, "1.0 GiB of 3.0 GiB, 1.0 MiB/s, ETA 34m8s"},
		{"write", 3 << 30, 3 << 30, 1 << 20, "3.0 GiB of 3.0 GiB"},
		{"tapes", 1, 4, 0.5, "1 of 4, 0/s, ETA 6s"},
	} {
		if got := stageText(c.stage, c.done, c.total, c.rate); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
