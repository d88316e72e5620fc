package catalog_test

import (
	"context"
	"strings"
	"testing"
)

// A catalog is counted, and no name of anything in it is told.
func TestStatistics(t *testing.T) {
	ctx := context.Background()
	l := newLife(t)
	l.plan(t, "01", []int64{l.pools[0].ID}, "holiday", "b")
	got := map[string]int64{}
	for _, s := range must(l.db.Statistics(ctx))(t) {
		got[s.What] = s.N
		if strings.Contains(s.What, "holiday") {
			t.Error(s)
		}
	}
	for what, want := range map[string]int64{"tape": int64(len(l.tapes)), "object": 1, "object in state 0": 1, "copy in state 0": 1} {
		if got[what] != want {
			t.Errorf("%s: %d, want %d", what, got[what], want)
		}
	}
	if got["schema"] < 15 || got["version"] < 3 {
		t.Errorf("%v", got)
	}
}
