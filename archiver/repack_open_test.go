package archiver

import "testing"

// An id that follows another is greater, of the same time, and never hard to find, however often an object was repacked.
func TestFollowingOID(t *testing.T) {
	const time = "01a2080c327c"
	for _, oid := range []string{time + "00000000000000000000", time + "fff6f751eee8f093f2ac", time + "fffffffffffffffffffe"} {
		last := oid
		for range 1000 {
			next, err := followingOID(last)
			if last == time+"ffffffffffffffffffff" {
				if err == nil {
					t.Errorf("%s follows the last one", next)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(next) != len(oid) || next[:12] != time || next <= last {
				t.Fatalf("%s follows %s", next, last)
			}
			last = next
		}
	}
	for _, bad := range []string{"", time, time + "0000000000000000000g"} {
		if next, err := followingOID(bad); err == nil {
			t.Errorf("%s follows %q", next, bad)
		}
	}
}
