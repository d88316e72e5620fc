package recall

import (
	"time"

	"github.com/tapefs/tapefs/catalog"
)

// readClock sums up how long a tape's reads took: those that went on where the last one ended, and those for which the tape had to run.
type readClock struct {
	part   int64 // that was read last, and where that ended
	end    int64
	locate catalog.Timed
	stream catalog.Timed
}

// read counts one read of a part.
func (c *readClock) read(part, offset, size int64, took time.Duration) {
	if part == c.part && offset == c.end {
		c.stream.Times++
		c.stream.Bytes += size
		c.stream.Took += took
	} else {
		c.locate.Times++
		c.locate.Took += took
	}
	c.part, c.end = part, offset+size
}

// tell hands the sums to whoever keeps them.
func (c *readClock) tell(f func(...catalog.Timed)) {
	c.locate.What, c.stream.What = catalog.TimedLocate, catalog.TimedStream
	if f != nil && c.locate.Times+c.stream.Times > 0 {
		f(c.locate, c.stream)
	}
	*c = readClock{}
}
