package diff

import "testing"

func TestTooManyLost(t *testing.T) {
	for _, c := range []struct {
		lost, known int64
		held        bool
	}{
		{0, 0, false}, {0, 10, false}, {1, 1, true}, {1, 9, true}, {1, 10, false}, {2, 19, true}, {10, 100, false}, {11, 100, true},
		{100000, 1000000, false}, {100001, 1000000, true},
	} {
		if got := tooManyLost(c.lost, c.known); got != c.held {
			t.Errorf("%d of %d lost: held %v", c.lost, c.known, got)
		}
	}
}
