package cache

import (
	"math/rand/v2"
	"testing"
)

func TestBits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var b Bits
	in := map[int64]bool{}
	for range 500 {
		n := r.Int64N(300)
		v := r.IntN(3) > 0
		b.Set(n, v)
		in[n] = v
		lo := r.Int64N(310)
		hi := lo + r.Int64N(100)
		var want int64
		for i := lo; i < hi; i++ {
			if in[i] != b.Get(i) {
				t.Fatalf("%d: %v", i, b.Get(i))
			}
			if in[i] {
				want++
			}
		}
		if got := b.Count(lo, hi); got != want {
			t.Fatalf("count %d to %d: %d, want %d", lo, hi, got, want)
		}
	}
}
