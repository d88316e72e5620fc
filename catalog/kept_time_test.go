package catalog

import "testing"

func TestTimeKeptAs(t *testing.T) {
	for _, c := range []struct {
		name        string
		told, found Time
		want        bool
	}{
		{"the same", Time{5, 7}, Time{5, 7}, true},
		{"another second", Time{5, 7}, Time{6, 7}, false},
		{"whole seconds", Time{5, 7}, Time{5, 0}, true},
		{"units of 100 ns", Time{5, 123456789}, Time{5, 123456700}, true},
		{"other nanoseconds", Time{5, 123456789}, Time{5, 123456788}, false},
		{"every other second", Time{5, 0}, Time{4, 0}, true},
		{"1601 on ext4", Time{-11644473600, 0}, Time{-1 << 31, 0}, true},
		{"2500 on ext4", Time{16725225600, 0}, Time{15032385535, 0}, true},
		{"2500 on ext3", Time{16725225600, 5}, Time{1<<31 - 1, 0}, true},
		{"1601, and touched", Time{-11644473600, 0}, Time{1700000000, 0}, false},
		{"1601 is not after the end", Time{-11644473600, 0}, Time{-11644473601, 0}, false},
		{"today is held everywhere", Time{1700000001, 0}, Time{1<<31 - 1, 0}, false},
	} {
		if got := c.told.KeptAs(c.found); got != c.want {
			t.Errorf("%s: %v kept as %v: %v", c.name, c.told, c.found, got)
		}
	}
}
