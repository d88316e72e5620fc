package archiver

import (
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// TestHeld: less than a pool's MinBatch waits until MaxAge, counted from its oldest object, and no longer because of a clock that was wrong.
func TestHeld(t *testing.T) {
	owed := func(size int64, ages ...time.Duration) (all []catalog.OwedCopy) {
		for _, age := range ages {
			var c catalog.OwedCopy
			c.Object = catalog.Object{State: catalog.ObjectPlanned, PlannedSize: size, Created: time.Now().Add(-age)}
			all = append(all, c)
		}
		return all
	}
	p := Pool{Name: "main", MinBatch: 1000, MaxAge: 24 * time.Hour}
	for _, c := range []struct {
		name string
		owed []catalog.OwedCopy
		now  bool
		want bool
	}{
		{"little", owed(10, time.Hour), false, false},
		{"little, and it may not wait", owed(10, time.Hour), true, true},
		{"enough", owed(500, time.Hour, time.Minute), false, true},
		{"almost enough", owed(499, time.Hour, time.Minute), false, false},
		{"some of it has waited long enough", owed(10, time.Minute, 25*time.Hour), false, true},
		{"planned in 1970", owed(10, 500_000*time.Hour), false, true},
		{"planned by a clock that was years ahead", owed(10, -50_000*time.Hour), false, true},
		{"only some of it", owed(10, -50_000*time.Hour, time.Hour), false, false},
	} {
		l := &ledger{worthy: map[string]bool{}, held: map[string]Held{}}
		if got := l.worth(p, c.owed, c.now); got != c.want {
			t.Errorf("%s: worth a mount: %v; want %v", c.name, got, c.want)
		}
		if h, ok := l.held[p.Name]; ok == c.want || ok && (h.Copies != len(c.owed) || h.MinBatch != p.MinBatch || h.Until.After(time.Now().Add(p.MaxAge))) {
			t.Errorf("%s: held: %v %+v", c.name, ok, h)
		}
		if again := l.worth(p, owed(1, 0), false); again != (c.want && !c.now) {
			t.Errorf("%s: a little more in the same run: %v; want %v", c.name, again, c.want)
		}
	}
}
