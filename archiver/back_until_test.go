package archiver

import (
	"strings"
	"testing"
	"time"

	"github.com/tapefs/tapefs/changer/virtual"
)

// The time of --until comes while objects are waiting to be written: none is begun any more, nothing is wrong with
// that, and the next run writes them.
func TestUntilComesInTheMiddle(t *testing.T) {
	w := newBackWorld(t, virtual.Options{TapeSize: 64 << 20})
	w.open(onlyA)
	w.write("far/first", 9, 1<<20)
	w.archive()
	until := time.Now().Add(3 * time.Second)
	first := true
	w.open(func(c *Config) {
		onlyA(c)
		c.Progress = noteFunc(func(text string) {
			if strings.HasPrefix(text, "loading ") && first {
				first = false
				for time.Now().Before(until) {
					time.Sleep(10 * time.Millisecond) // the robot takes until then
				}
			}
		})
	})
	for i, name := range []string{"far/0", "far/1", "far/2"} {
		w.write(name, byte(i), 2<<20)
	}
	s, err := w.a.Archive(t.Context(), nil, Options{Until: until})
	w.must(err)
	report, err := w.db.RunReport(t.Context(), s.Run)
	w.must(err)
	if n := len(w.durable()) - 1; first || n > 1 || report.State != "done" || len(report.Errors) > 0 {
		t.Errorf("%d parts were written after the end: %+v", n, report)
	}
	if debts, err := w.db.Debts(t.Context()); err != nil || len(debts) != 1 || debts[0].Copies < 2 {
		t.Errorf("owed: %+v, %v", debts, err)
	}
	w.archive()
	w.settled()
	w.restore("far", "a")
}
