package recall

import (
	"testing"
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// A read that goes on where the last one ended is streaming; another part, or a gap, is a locate.
func TestReadClock(t *testing.T) {
	var c readClock
	var told []catalog.Timed
	keep := func(list ...catalog.Timed) { told = append(told, list...) }
	c.tell(keep)
	if len(told) > 0 {
		t.Errorf("told %v of no reads", told)
	}
	c.read(7, 0, 4, time.Minute)
	c.read(7, 4, 4, time.Second)
	c.read(7, 8, 2, time.Second)
	c.read(7, 100, 4, time.Minute) // a gap
	c.read(8, 104, 4, time.Minute) // another part at the offset that came next
	c.tell(keep)
	c.tell(keep)
	want := []catalog.Timed{{What: catalog.TimedLocate, Times: 3, Took: 3 * time.Minute}, {What: catalog.TimedStream, Times: 2, Bytes: 6, Took: 2 * time.Second}}
	if len(told) != 2 || told[0] != want[0] || told[1] != want[1] {
		t.Errorf("told %+v, want %+v", told, want)
	}
}
