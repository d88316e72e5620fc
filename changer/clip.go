package changer

import (
	"fmt"
	"strings"
)

// clipEnds is how much of each end of a program's output is kept when it is too long, bytes.
const clipEnds = 1 << 20

// Clip is an io.Writer that keeps the beginning and the end of what a program prints, at most 2 MiB in all, however much it is.
// The zero value is empty. It is not safe for concurrent use; exec.Cmd uses one writer for both outputs in turn.
type Clip struct {
	head, tail []byte
	cut        int64
}

func (c *Clip) Write(p []byte) (int, error) {
	n := len(p)
	take := min(n, clipEnds-len(c.head))
	c.head, p = append(c.head, p[:take]...), p[take:]
	if over := len(p) - clipEnds; over > 0 {
		c.cut, p = c.cut+int64(over), p[over:]
	}
	c.tail = append(c.tail, p...)
	if over := len(c.tail) - clipEnds; over > clipEnds { // moved seldom: what is over may be as long as what is kept
		c.cut += int64(over)
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	return n, nil
}

// String is what is kept. Where something was left out a line says how much.
func (c *Clip) String() string {
	over := max(0, len(c.tail)-clipEnds)
	cut := c.cut + int64(over)
	if cut == 0 {
		return string(c.head) + string(c.tail)
	}
	var b strings.Builder
	b.Write(c.head)
	fmt.Fprintf(&b, "\n… %d bytes are left out here …\n", cut)
	b.Write(c.tail[over:])
	return b.String()
}

// whole is the output of a program whose answer is of no use unless it is complete.
func (c *Clip) whole() (string, error) {
	if c.cut > 0 || len(c.tail) > clipEnds {
		return "", errTooMuch
	}
	return c.String(), nil
}
